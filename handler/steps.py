"""The steps of one pass in their order: prepare, start, segment, finish.

On a GPU only ``segment`` and ``finish`` wait, each for what was begun before; between them belongs the work on another
pass (``handler/detector.py``).
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from handler.canvas import Size
from handler.detections import Detections, split, unpack_masks
from handler.lane import Lane, Wait
from handler.metrics import Observe, timed
from handler.network import Found, Network


@dataclass(frozen=True)
class Prepared:
    """Pictures on the device; those past the length of ``image_sizes`` are padding."""

    canvas: Size
    image_sizes: Tensor  # (N, 2) int64 on the CPU, of the real pictures
    sizes_on_canvas: Tensor  # (B, 2) int64 on the CPU
    images: Sequence[Tensor]  # B of them
    tables: Tensor  # (2, B, 2) int64: sizes on the canvas, sizes of the pictures


@dataclass(frozen=True)
class Started:
    """A pass whose boxes are under way. ``found`` holds until the next pass is started."""

    image_sizes: Tensor
    found: Found
    host: Wait  # boxes, scores, labels, kept


@dataclass(frozen=True)
class Segmented:
    """A pass whose masks are under way. Only real detections, no padding."""

    image_sizes: Tensor  # (N, 2)
    counts: Tensor  # (N,)
    boxes: Tensor  # (K, 4), and so on, on the CPU
    scores: Tensor
    labels: Tensor
    masks: tuple[Tensor, Tensor, Tensor] | None  # what ``Network.encode`` takes, on the device; None: none to be found
    beside: AbstractContextManager[None]  # where to encode them


class Steps:
    """The steps of every pass with one network on one device."""

    def __init__(self, network: Network, lane: Lane) -> None:
        self._network, self._lane = network, lane

    def prepare(
        self,
        canvas: Size,
        images: Sequence[Tensor],
        sizes: Sequence[Size],
        image_sizes: Sequence[Size],
        observe: Observe,
    ) -> Prepared:
        """Send pictures to the device.

        Args:
            canvas: Height and width of the canvas that all of them have.
            images: (H, W, 3) uint8 each.
            sizes: Height and width of each on the canvas.
            image_sizes: Height and width that the answer is in.
            observe: Takes the metrics.
        """
        padding = self._lane.batch(len(images)) - len(images)
        blanks = [torch.zeros(1, 1, 3, dtype=torch.uint8)] * padding
        tables = torch.tensor([[*sizes, *[(1, 1)] * padding], [*image_sizes, *[(1, 1)] * padding]])  # (2, B, 2)
        with timed(observe, "maskrcnn_upload_seconds"):
            *pictures, tables_there = self._lane.upload([*images, *blanks, tables])
        return Prepared(canvas, tables[1, : len(images)], tables[0], pictures, tables_there)

    def start(self, prepared: Prepared, observe: Observe, expected: bool = False) -> Started:
        """Find the boxes; waits for nothing.

        Args:
            prepared: The pictures.
            observe: Takes the metrics.
            expected: Many passes of this size will come.
        """
        with timed(observe, "maskrcnn_place_seconds"):
            canvas = self._network.place(prepared.images, prepared.sizes_on_canvas, prepared.canvas)
        with timed(observe, "maskrcnn_detect_seconds"):
            found = self._lane.find(canvas, prepared.tables, observe, expected)
        host = self._lane.download([found.boxes, found.scores, found.labels, found.kept])
        return Started(prepared.image_sizes, found, host)

    def segment(self, started: Started, observe: Observe, kept: Tensor | None = None) -> Segmented:
        """Wait for the boxes and begin the masks of those that are answered.

        Args:
            started: The boxes.
            observe: Takes the metrics.
            kept: (N, D) bool on the CPU, takes the place of what the network kept.
        """
        with timed(observe, "maskrcnn_wait_seconds"):
            boxes, scores, labels, found_kept = started.host()
        kept = found_kept[: len(started.image_sizes)] if kept is None else kept
        rows, counts = kept.flatten().nonzero().flatten(), kept.sum(1)  # (K,), (N,)
        masks = None
        if len(rows) and self._network.finds_masks:
            with timed(observe, "maskrcnn_segment_seconds"):
                masks = self._masks(started, rows, counts)
        boxes, scores, labels = (each.flatten(0, 1).index_select(0, rows) for each in (boxes, scores, labels))
        return Segmented(started.image_sizes, counts, boxes, scores, labels, masks, self._lane.beside())

    def _masks(self, started: Started, rows: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Small masks, boxes and picture sizes of K rows, on the device."""
        count, found = len(rows), started.found
        padded = torch.nn.functional.pad(rows, (0, self._lane.rows(count) - count))
        padded_counts = torch.nn.functional.pad(counts, (0, len(found.kept) - len(counts)))
        sizes = started.image_sizes.repeat_interleave(counts, dim=0)  # (K, 2)
        rows_there, counts_there, sizes_there = self._lane.upload([padded, padded_counts, sizes])
        probs = self._network.segment(found, rows_there, counts_there)
        boxes = found.boxes.flatten(0, 1).index_select(0, rows_there[:count])
        return probs[:count], boxes, sizes_there

    def finish(self, segmented: Segmented, observe: Observe) -> list[Detections]:
        """Wait for the masks; one answer a picture."""
        masks: list[str] | None = [] if self._network.finds_masks else None
        if segmented.masks is not None:
            with timed(observe, "maskrcnn_encode_seconds"), segmented.beside:
                masks = unpack_masks(*self._lane.download(self._network.encode(*segmented.masks))())
        return split(
            segmented.image_sizes, segmented.counts, segmented.boxes, segmented.scores, segmented.labels, masks
        )
