"""How a pass travels to a GPU, what is padded for it and what overlaps there."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

from handler.device import torch_dtype
from handler.gpu.buckets import batch_bucket, batch_buckets, batch_parts, row_bucket, row_buckets
from handler.gpu.capture import PassCapture
from handler.gpu.graphs import GraphSet, Key
from handler.gpu.staging import download, upload
from handler.lane import Lane, Wait
from handler.metrics import Observe
from handler.network import Found, Network
from handler.settings import Settings


class CudaLane(Lane):
    """One copy each way, sizes that repeat, graphs of them, and a second stream for the run lengths."""

    def __init__(self, network: Network, settings: Settings, device: torch.device) -> None:
        super().__init__(network)
        self._most, self._device, self._padded = settings.max_pass_size, device, settings.graphs.most > 0
        self._side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        capture = PassCapture(network.find, torch_dtype(settings), device, settings.graphs.search)
        self.graphs = GraphSet(settings.graphs, capture)

    def current(self) -> AbstractContextManager[object]:
        """With its GPU as the current one, which each thread has its own of: events and streams go by it."""
        return torch.cuda.device(self._device)

    def parts(self, count: int) -> list[int]:
        """Parts that waste little when they are padded."""
        return batch_parts(count, self._most) if self._padded else [count]

    def batch(self, count: int) -> int:
        """Padded to a size that has a graph."""
        return batch_bucket(count, self._most) if self._padded else count

    def rows(self, count: int) -> int:
        """Padded, so that the convolutions of the mask head are of few sizes."""
        return row_bucket(count)

    def warm_up_plan(self, detections: int) -> list[tuple[int, list[int]]]:
        """All sizes that occur, the largest batch first: it lays out the memory of the other graphs.

        Then the batches again: making a graph empties the caches of pinned and of device memory.
        """
        batches = sorted(batch_buckets(self._most) if self._padded else {1, self._most}, reverse=True)
        rows = row_buckets(self._most * detections)
        return [(batch, rows if batch == batches[0] else rows[:1]) for batch in batches] + [
            (batch, rows[-1:]) for batch in batches
        ]

    def upload(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """One copy, which the host does not wait for."""
        return upload(tensors, self._device)

    def find(self, canvas: Tensor, tables: Tensor, observe: Observe, expected: bool) -> Found:
        """By a graph where there is one."""
        batch, _, height, width = canvas.shape
        graph = self.graphs.of(Key(batch, height, width), observe, expected)
        return self._network.find(canvas, tables) if graph is None else graph.replay(canvas, tables)

    def download(self, tensors: Sequence[Tensor]) -> Wait:
        """One copy, begun now."""
        return download(tensors)

    def beside(self) -> AbstractContextManager[None]:
        """A second stream. Keep what it reads alive until its results were waited for."""
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record()
        return self._beside(done)

    @contextmanager
    def _beside(self, done: torch.cuda.Event) -> Iterator[None]:
        self._side.wait_event(done)
        with torch.cuda.stream(self._side):
            yield

    def free_memory(self) -> None:
        """Drop the graphs and the allocator's cache."""
        with self.current():
            torch.cuda.synchronize()
            self.graphs.clear()
            torch.cuda.empty_cache()
