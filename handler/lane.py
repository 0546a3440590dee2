"""What differs between the CPU and a GPU on the way of a pass: how it travels, what is padded, what may overlap.

This is the CPU's; a GPU's is ``handler/gpu/lane.py``.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor

from handler.metrics import Observe
from handler.network import Found, Network

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
