"""The ways to run one network on a device, and the same network made ready for each."""

import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.made_up import Network
from export import trace
from handler.convolutions import obey_switches
from handler.device import use_device
from handler.gpu.fusion import fuse, works_joined
from handler.gpu.settings import DTYPES, FUSIONS, Dtype, Fusion
from handler.loading import load_trace
from handler.onednn import join_layers
from handler.settings import Settings

Call = Callable[..., Any]


@dataclass(frozen=True)
class Variant:
    """One way.

    Attributes:
        dtype: What the network computes in; float32 without TF32.
        fusion: See ``handler.settings``.
        graph: The first half is one CUDA graph.
    """

    dtype: Dtype
    fusion: Fusion
    graph: bool

    @property
    def torch_dtype(self) -> torch.dtype:
        return DTYPES[self.dtype]

    def __str__(self) -> str:
        return f"{self.dtype}, {self.fusion}, {'graph' if self.graph else 'eager'}"


def variants(device: torch.device) -> list[Variant]:
    """All that a device can do."""
    if device.type == "cpu":
        return [Variant("float32", fusion, False) for fusion in FUSIONS]
    return [Variant(dtype, fusion, graph) for dtype in DTYPES for fusion in FUSIONS for graph in (False, True)]


_TRACES: list[tuple[Network, bytes]] = []


def trace_of(network: Network) -> bytes:
    """The saved trace of a network; made once, since that takes longer than most of what is measured."""
    for known, saved in _TRACES:
        if known is network:
            return saved
    with tempfile.TemporaryDirectory() as folder:
        trace.save(trace.trace(network.model()), Path(folder) / "model.pt")
        _TRACES.append((network, (Path(folder) / "model.pt").read_bytes()))
    return _TRACES[-1][1]


def loaded(network: Network, variant: Variant, device: torch.device) -> torch.jit.ScriptModule:
    """The network as a worker loads it: traced, saved, read again and prepared."""
    settings = replace(Settings(), dtype=variant.dtype, fusion=variant.fusion)
    use_device(device, settings)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        path.write_bytes(trace_of(network))
        return load_trace(path, settings, device)


def prepared_alone(stage: nn.Module, inputs: Sequence[Tensor], fusion: Fusion) -> Call:
    """A stage made ready as ``load_trace`` does with a whole trace."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(stage.eval(), tuple(inputs), check_trace=False)
        if fusion == "none":
            return traced
        frozen = torch.jit.freeze(traced)
    torch._C._jit_pass_inline(frozen.graph)
    obey_switches(frozen.graph)
    if fusion == "optimized" and inputs[0].device.type == "cuda":
        fuse(frozen.graph, works_joined)
    elif fusion == "optimized":
        join_layers(frozen.graph)
    return frozen


class Graphed:
    """A call recorded as a CUDA graph: each replay reads and writes the same memory."""

    def __init__(self, call: Call, inputs: Sequence[Tensor]) -> None:
        self._inputs = [tensor.clone(memory_format=torch.preserve_format) for tensor in inputs]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # what is set up at a first call must not end up in the graph
            for _ in range(3):
                call(*self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._outputs = call(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Any:
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._graph.replay()
        return self._outputs

    def replay(self) -> Any:
        """Run it on the inputs of the last call."""
        self._graph.replay()
        return self._outputs
