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
from handler.explanations import Explanations
from handler.lane import Lane, Wait
from handler.metrics import Observe, timed
from handler.network import Found, Network
from handler.selection import Selection, kept_rows

Encodable = tuple[Tensor, Tensor, Tensor, Tensor]
"""What ``Network.encode`` takes, on the device: small masks, boxes, picture sizes and thresholds."""


@dataclass(frozen=True)
class Prepared:
    """Pictures on the device; those past the length of ``image_sizes`` are padding."""

    canvas: Size
    image_sizes: Tensor  # (N, 2) int64 on the CPU, of the real pictures
    sizes_on_canvas: Tensor  # (B, 2) int64 on the CPU
    images: Sequence[Tensor]  # B of them
    selections: Sequence[Selection]  # N of them
    tables: Tensor  # (2, B, 2) int64: sizes on the canvas, sizes of the pictures


@dataclass(frozen=True)
class Started:
    """A pass whose boxes are under way. ``found`` holds until the next pass is started."""

    image_sizes: Tensor
    selections: Sequence[Selection]
    found: Found
    host: Wait  # boxes, scores, labels, valid


@dataclass(frozen=True)
class Segmented:
    """A pass whose masks are under way. Only detections that are answered, no padding."""

    image_sizes: Tensor  # (N, 2)
    counts: Tensor  # (N,)
    masked: Tensor  # (N,) bool, the pictures whose masks are wanted
    boxes: Tensor  # (K, 4), and so on, on the CPU
    scores: Tensor
    labels: Tensor
    masks: Encodable | None  # None: none to be found
    beside: AbstractContextManager[None]  # where to encode them


class Steps:
    """The steps of every pass with one network on one device."""

    def __init__(self, network: Network, lane: Lane) -> None:
        self._network, self._lane = network, lane

    @property
    def explains(self) -> bool:
        """Whether the archive can ``explain``."""
        return self._network.explains

    def prepare(
        self,
        canvas: Size,
        images: Sequence[Tensor],
        sizes: Sequence[Size],
        image_sizes: Sequence[Size],
        selections: Sequence[Selection],
        observe: Observe,
    ) -> Prepared:
        """Send pictures to the device.

        Args:
            canvas: Height and width of the canvas that all of them have.
            images: (H, W, 3) uint8 each.
            sizes: Height and width of each on the canvas.
            image_sizes: Height and width that the answer is in.
            selections: What is answered of each.
            observe: Takes the metrics.
        """
        padding = self._lane.batch(len(images)) - len(images)
        blanks = [torch.zeros(1, 1, 3, dtype=torch.uint8)] * padding
        tables = torch.tensor([[*sizes, *[(1, 1)] * padding], [*image_sizes, *[(1, 1)] * padding]])  # (2, B, 2)
        with timed(observe, "maskrcnn_upload_seconds"):
            *pictures, tables_there = self._lane.upload([*images, *blanks, tables])
        return Prepared(canvas, tables[1, : len(images)], tables[0], pictures, selections, tables_there)

    def start(self, prepared: Prepared, observe: Observe, expected: bool = False) -> Started:
        """Find the boxes; waits for nothing.

        Args:
            prepared: The pictures.
            observe: Takes the metrics.
            expected: Many passes of this size will come.
        """
        canvas = self._placed(prepared, observe)
        with timed(observe, "maskrcnn_detect_seconds"):
            found = self._lane.find(canvas, prepared.tables, observe, expected)
        host = self._lane.download([found.boxes, found.scores, found.labels, found.valid])
        return Started(prepared.image_sizes, prepared.selections, found, host)

    def _placed(self, prepared: Prepared, observe: Observe) -> Tensor:
        with timed(observe, "maskrcnn_place_seconds"):
            return self._network.place(prepared.images, prepared.sizes_on_canvas, prepared.canvas)

    def segment(self, started: Started, observe: Observe, kept: Tensor | None = None) -> Segmented:
        """Wait for the boxes and begin the masks of those that are answered with one.

        Args:
            started: The boxes.
            observe: Takes the metrics.
            kept: (N, D) bool on the CPU, takes the place of what the selections keep.
        """
        with timed(observe, "maskrcnn_wait_seconds"):
            parts = started.host()
        kept = _kept(started, parts) if kept is None else kept
        masked = torch.tensor([each.masks for each in started.selections])  # (N,)
        masks = self._masks(started, kept & masked[:, None], observe)
        rows = _numbers(kept)
        boxes, scores, labels = (part.flatten(0, 1).index_select(0, rows) for part in parts[:3])
        beside = self._lane.beside()
        return Segmented(started.image_sizes, kept.sum(1), masked, boxes, scores, labels, masks, beside)

    def _masks(self, started: Started, kept: Tensor, observe: Observe) -> Encodable | None:
        """The masks of the K rows that (N, D) marks; None where it marks none."""
        rows, counts = _numbers(kept), kept.sum(1)  # (K,), (N,)
        count, found = len(rows), started.found
        if count == 0:
            return None
        padded = torch.nn.functional.pad(rows, (0, self._lane.rows(count) - count))
        padded_counts = torch.nn.functional.pad(counts, (0, len(found.valid) - len(counts)))
        sizes = started.image_sizes.repeat_interleave(counts, dim=0)  # (K, 2)
        thresholds = torch.tensor([each.mask_threshold for each in started.selections]).repeat_interleave(counts)
        with timed(observe, "maskrcnn_segment_seconds"):
            rows_there, counts_there, *rules = self._lane.upload([padded, padded_counts, sizes, thresholds])
            probs = self._network.segment(found, rows_there, counts_there)
            boxes = found.boxes.flatten(0, 1).index_select(0, rows_there[:count])
        return probs[:count], boxes, rules[0], rules[1]

    def finish(self, segmented: Segmented, observe: Observe) -> list[Detections]:
        """Wait for the masks; one answer a picture."""
        masks: list[str] = []
        if segmented.masks is not None:
            with timed(observe, "maskrcnn_encode_seconds"), segmented.beside:
                masks = unpack_masks(*self._lane.download(self._network.encode(*segmented.masks))())
        found = (segmented.boxes, segmented.scores, segmented.labels)
        return split(segmented.image_sizes, segmented.counts, *found, segmented.masked, masks)

    def explain(self, prepared: Prepared, observe: Observe) -> Explanations:
        """All steps of the explanations of one picture, one after the other."""
        canvas = self._placed(prepared, observe)
        with timed(observe, "maskrcnn_detect_seconds"):
            found, reasons = self._network.explain(canvas, prepared.tables)
        wanted = [found.boxes, found.scores, found.labels, found.valid, *reasons]
        started = Started(prepared.image_sizes, prepared.selections, found, self._lane.download(wanted))
        with timed(observe, "maskrcnn_wait_seconds"):
            parts = started.host()
        kept = _kept(started, parts)
        rows = _numbers(kept)
        boxes, scores, labels, _, *others = (part.flatten(0, 1).index_select(0, rows) for part in parts)
        proposals, objectness, class_scores = others
        (selection,), ((height, width),) = started.selections, started.image_sizes.tolist()
        masks = self._masks(started, kept, observe) if selection.masks else None
        probs = None if masks is None else self._lane.download(masks[:1])()[0]
        detections = Detections(height, width, boxes, scores, labels, None)
        return Explanations(detections, proposals, objectness, class_scores, probs)


def _kept(started: Started, parts: Sequence[Tensor]) -> Tensor:
    """(N, D) bool, the rows that are answered; the first four parts are those of ``Started.host``."""
    count = len(started.selections)
    _, scores, labels, valid = (part[:count] for part in parts[:4])
    return kept_rows(started.selections, scores, labels, valid)


def _numbers(kept: Tensor) -> Tensor:
    """(N, D) bool -> (K,) int64, numbers of the marked rows among all."""
    return kept.flatten().nonzero().flatten()
