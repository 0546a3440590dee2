"""What differs between the CPU and a GPU on the way of a pass: how it travels, what is padded, what may overlap."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from handler.buckets import batch_bucket, batch_buckets, batch_parts, row_bucket, row_buckets
from handler.capture import PassCapture
from handler.device import torch_dtype
from handler.graphs import GraphSet, Key
from handler.metrics import Observe
from handler.network import Found, Network
from handler.settings import Settings
from handler.staging import download, upload

Wait = Callable[[], Sequence[Tensor]]
"""Waits for tensors that are on their way to the CPU, and gives them."""


class Lane:
    """The CPU's: nothing travels, nothing is padded, nothing overlaps."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def current(self) -> AbstractContextManager[object]:
        """Where all of this is to be called."""
        return nullcontext()

    def parts(self, count: int) -> list[int]:
        """How to cut a pass of so many pictures."""
        return [count]

    def batch(self, count: int) -> int:
        """Rows of the canvas for a part of so many pictures."""
        return count

    def rows(self, count: int) -> int:
        """Rows of the mask head for so many detections."""
        return count

    def warm_up_plan(self, detections: int) -> list[tuple[int, list[int]]]:
        """What to compute before the first request: batches, and with each one counts of rows of the mask head.

        Args:
            detections: Most detections of a picture.
        """
        return [(1, [1])]

    def upload(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Bring tensors to the device."""
        return tensors

    def find(self, canvas: Tensor, tables: Tensor, observe: Observe, expected: bool) -> Found:
        """``Network.find``; what it gives holds until the next call of this.

        Args:
            canvas: The pictures.
            tables: Their sizes.
            observe: Takes the metrics.
            expected: Many passes of this size will come.
        """
        return self._network.find(canvas, tables)

    def download(self, tensors: Sequence[Tensor]) -> Wait:
        """Begin to bring tensors to the CPU."""
        return lambda: tensors

    def beside(self) -> AbstractContextManager[None]:
        """Where to work on what is under way now, while the device goes on with what is begun after it."""
        return nullcontext()

    def free_memory(self) -> None:
        """Give back what is only there to be faster."""


class CudaLane(Lane):
    """A GPU's: one copy each way, sizes that repeat, graphs of them, and a second stream for the run lengths."""

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
