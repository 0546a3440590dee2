"""The least time that work can take: its operations over the rate of products, or its bytes over the bandwidth.

Both rates are measured on the device at hand, by a large product and a large copy.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import median_ms

# What reads its inputs and writes its output once even where bias, ReLU and the like come for free.
_COUNTED = {"convolution", "mm", "addmm", "bmm", "max_pool2d_with_indices", "upsample_nearest2d"}


@dataclass(frozen=True)
class Ceilings:
    """Rates of a device in one dtype: 10^12 operations a second, 10^12 bytes a second (read and written)."""

    tflops: float
    terabytes: float


@dataclass(frozen=True)
class Demand:
    """What one piece of work must do at the least: 10^9 operations, 10^9 bytes layer by layer."""

    gflop: float
    gigabytes: float

    def floor_ms(self, ceilings: Ceilings) -> float:
        """Milliseconds below which it cannot take, unless layers are computed together."""
        return max(self.gflop / ceilings.tflops, self.gigabytes / ceilings.terabytes)


def ceilings(device: torch.device, dtype: torch.dtype) -> Ceilings:
    """Measure both; on random numbers, since a product of zeros is faster."""
    side, count = (8192, 2**30) if device.type == "cuda" else (512, 2**24)
    matrix = torch.randn(side, side, device=device).to(dtype)
    product = median_ms(lambda: matrix @ matrix, 10, device)
    source = torch.empty(count, dtype=torch.uint8, device=device).random_()
    target = torch.empty_like(source)
    copy = median_ms(lambda: target.copy_(source), 10, device)
    return Ceilings(2 * side**3 / product / 1e9, 2 * count / copy / 1e9)


@torch.no_grad()
def demand_of(work: Callable[..., object], *inputs: Tensor) -> Demand:
    """Count while the work runs, on any device, ``meta`` included."""
    with FlopCounterMode(display=False) as flops, Traffic() as traffic:
        work(*inputs)
    return Demand(flops.get_total_flops() / 1e9, traffic.total / 1e9)


class Traffic(TorchDispatchMode):
    """Adds up the bytes of layers, of our ops, and of the second term of each sum."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace != "maskrcnn":
            with self:  # under inference_mode a layer arrives whole, not as the calls that it is made of
                if (parts := func.decompose(*args, **(kwargs or {}))) is not NotImplemented:
                    return parts
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if func.namespace == "maskrcnn" or name in _COUNTED:
            results = result if func.namespace == "maskrcnn" else _first(result)
            self.total += sum(map(_bytes, _tensors([args, kwargs or {}, results])))
        elif name == "add" and isinstance(args[1], Tensor):
            self.total += _bytes(args[1])
        return result


def _first(result: Any) -> Any:
    """The output of an op that has others which nobody wants, such as the places of a maximum."""
    return result[0] if isinstance(result, tuple) else result


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))
    elif isinstance(values, list | tuple):
        for each in values:
            yield from _tensors(each)
