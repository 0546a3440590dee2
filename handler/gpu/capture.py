"""CUDA graphs of the first half of the network. Only for a GPU; ``handler/gpu/graphs.py`` says when."""

from collections.abc import Callable

import torch
from torch import Tensor

from handler.gpu.graphs import Key
from handler.network import Found

Find = Callable[[Tensor, Tensor], Found]

# The second call runs as a replay will: the first one loads kernels and chooses algorithms.
_WARM_UP_CALLS = 2


class CapturedPass:
    """One graph with the memory of its inputs and outputs.

    Its outputs are overwritten by the next replay of any graph: what reads them must be on the stream before.
    """

    def __init__(self, graph: torch.cuda.CUDAGraph, canvas: Tensor, tables: Tensor, found: Found) -> None:
        self._graph, self._canvas, self._tables, self._found = graph, canvas, tables, found

    def replay(self, canvas: Tensor, tables: Tensor) -> Found:
        """Compute what ``Network.find`` does, on the current stream."""
        self._canvas.copy_(canvas)
        self._tables.copy_(tables)
        self._graph.replay()
        return self._found

    def reset(self) -> None:
        """Give its memory back; it cannot run any more."""
        torch.cuda.synchronize()  # it may be running
        self._graph.reset()


class PassCapture:
    """Captures passes one after the other into one memory pool, with one canvas that all of them read."""

    def __init__(self, find: Find, dtype: torch.dtype, device: torch.device, search: bool) -> None:
        self._find, self._dtype, self._device, self._search = find, dtype, device, search
        # One for all: the memory of a pool is shared stream by stream.
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def start_over(self, largest: Key) -> None:
        """Take a new pool, and a canvas for the largest pass that it will hold."""
        self._pool = torch.cuda.graph_pool_handle()
        self._pixels = torch.zeros(3 * largest.pixels(), dtype=self._dtype, device=self._device)

    def make(self, key: Key) -> CapturedPass:
        """Capture one size, of at most as many pixels as ``start_over`` was told.

        Raises:
            RuntimeError: Something in it cannot be captured, or memory ran out.
        """
        canvas = self._pixels[: 3 * key.pixels()].view(key.batch, key.height, key.width, 3).permute(0, 3, 1, 2)
        sides = torch.tensor([key.height, key.width], device=self._device)
        tables = sides.repeat(2, key.batch, 1)  # blank pictures as large as the canvas: numbers that make sense
        self._warm_up(canvas, tables)
        graph = torch.cuda.CUDAGraph()
        # The outer context puts the stream back also where the end of the capture raises.
        with (
            torch.cuda.stream(self._stream),
            torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"),
        ):
            found = self._find(canvas, tables)
        return CapturedPass(graph, canvas, tables, _without_claim(found))

    def _warm_up(self, canvas: Tensor, tables: Tensor) -> None:
        """Let what happens once (kernels loaded, algorithms chosen, workspaces allocated) happen outside a graph."""
        searched = torch.backends.cudnn.benchmark
        self._stream.wait_stream(torch.cuda.current_stream())
        try:
            torch.backends.cudnn.benchmark = self._search
            with torch.cuda.stream(self._stream):
                for _ in range(_WARM_UP_CALLS):
                    self._find(canvas, tables)
        finally:
            torch.backends.cudnn.benchmark = searched
        torch.cuda.current_stream().wait_stream(self._stream)


def _without_claim(found: Found) -> Found:
    return Found._make([*map(_borrowed, found[:-1]), tuple(map(_borrowed, found.levels))])


class _Address:
    """Device memory that somebody else keeps, as ``torch.as_tensor`` takes it."""

    def __init__(self, tensor: Tensor) -> None:
        size = tensor.element_size()
        self.__cuda_array_interface__ = {
            "data": (tensor.data_ptr(), False),
            "shape": tuple(tensor.shape),
            "strides": tuple(stride * size for stride in tensor.stride()),
            "typestr": f"<i{size}" if size > 1 else "|u1",  # it knows no bfloat16: integers of the same size
            "version": 2,
        }


def _borrowed(tensor: Tensor) -> Tensor:
    """The same memory without a claim on it.

    As long as somebody owns an output, the next capture cannot use its memory, and the pyramid levels of 8 pictures
    take 370 MB a graph. The pool keeps the memory of what was captured mapped as long as one of its graphs lives.
    """
    borrowed = torch.as_tensor(_Address(tensor), device=tensor.device).view(tensor.dtype)
    if borrowed.data_ptr() != tensor.data_ptr():
        raise RuntimeError("PyTorch copied an output of a CUDA graph instead of borrowing its memory")
    return borrowed
