"""Tensors between the host and a GPU, many in one copy, and without waiting.

A copy is asynchronous only from and to pinned memory, and each copy costs some microseconds whatever its size. So
tensors travel as one run of bytes. The pinned memory comes from PyTorch's own allocator, which gives a block out again
only after the copies that use it are done: none is overwritten while it is in flight.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
from torch import Tensor

ALIGNMENT = 16  # bytes; no dtype needs more


def pinned_bytes(count: int) -> Tensor:
    """Page-locked host memory, (count,) uint8."""
    return torch.empty(count, dtype=torch.uint8, pin_memory=True)


def upload(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Send tensors to a GPU in one copy on the current stream.

    Args:
        tensors: On the CPU, of any shapes, strides and dtypes.
        device: Where to.

    Returns:
        Contiguous views of one block, in the same order. They hold the values as of now, whatever becomes of the
        originals.
    """
    starts = _starts(tensors)
    staged = pinned_bytes(starts[-1])
    for view, tensor in zip(_views(staged, tensors, starts), tensors, strict=True):
        view.copy_(tensor)
    block = torch.empty(starts[-1], dtype=torch.uint8, device=device)
    block.copy_(staged, non_blocking=True)
    return _views(block, tensors, starts)


def download(tensors: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
    """Begin to fetch tensors from a GPU in one copy on the current stream.

    Args:
        tensors: On one GPU, contiguous, of any shapes and dtypes; at least one.

    Returns:
        Waits until they are there and gives them, on the CPU, in memory of their own.
    """
    starts = _starts(tensors)
    pieces = []
    for tensor, start, after in zip(tensors, starts, starts[1:], strict=False):
        piece = tensor.reshape(-1).view(torch.uint8)
        pieces.append(piece)
        if gap := after - start - len(piece):
            pieces.append(piece.new_empty(gap))  # never read
    block = torch.cat(pieces)
    staged = pinned_bytes(starts[-1])
    staged.copy_(block, non_blocking=True)
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]
    done.record()

    def wait() -> list[Tensor]:
        done.synchronize()
        return _views(staged.clone(), tensors, starts)  # a copy: pinned memory is dear

    return wait


def _starts(tensors: Sequence[Tensor]) -> list[int]:
    """Where each tensor begins in a run of bytes, and where the last one ends."""
    lengths = (-(-tensor.numel() * tensor.element_size() // ALIGNMENT) * ALIGNMENT for tensor in tensors)
    return list(accumulate(lengths, initial=0))


def _views(block: Tensor, tensors: Sequence[Tensor], starts: Sequence[int]) -> list[Tensor]:
    """A run of bytes as tensors of the same shapes and dtypes as the given ones."""
    return [
        block[start : start + tensor.numel() * tensor.element_size()].view(tensor.dtype).view(tensor.shape)
        for tensor, start in zip(tensors, starts, strict=False)
    ]
