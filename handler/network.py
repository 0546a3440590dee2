"""The steps of one pass, each a few calls of ops: from pictures to a canvas, boxes, small masks and run lengths.

Nothing here waits for a GPU, so that ``find`` can become a CUDA graph; only ``encode`` must, because nobody knows the
length of its result before.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

import ops
from handler.canvas import Size, boxes_on_image
from handler.compiled import CompiledModel
from handler.device import torch_dtype
from handler.model_card import ModelCard
from handler.settings import Settings


class Found(NamedTuple):
    """What the first half finds in B pictures: D rows each, best first; ``valid`` marks those that are detections."""

    boxes_on_canvas: Tensor  # (B, D, 4) float32
    boxes: Tensor  # (B, D, 4) float32, in pixels of the picture
    scores: Tensor  # (B, D) float32
    labels: Tensor  # (B, D) int64
    valid: Tensor  # (B, D) bool
    levels: tuple[Tensor, ...]  # of the pyramid: what the second half reads


class Reasons(NamedTuple):
    """What each row of ``Found`` came from."""

    proposals: Tensor  # (B, D, 4) float32, in pixels of the picture
    objectness: Tensor  # (B, D) float32, of the proposal
    class_scores: Tensor  # (B, D, C) float32, a label's at its number


class Network:
    """A loaded model with the rules of its card."""

    def __init__(self, model: torch.jit.ScriptModule | CompiledModel, card: ModelCard, settings: Settings) -> None:
        self._model, self._pre, self._post = model, card.preprocessing, card.postprocessing
        self._dtype = torch_dtype(settings)

    def place(self, images: Sequence[Tensor], sizes: Tensor, canvas: Size) -> Tensor:
        """Lay pictures on a canvas.

        Args:
            images: (H, W, 3) uint8 each, on one device.
            sizes: (B, 2) int64 on the CPU, height and width of each after resizing.
            canvas: Height and width of the canvas.

        Returns:
            (B, 3, height, width) in the dtype of the network.
        """
        return ops.resize_normalize(
            images,
            sizes,
            *canvas,
            mean=list(self._pre.mean),
            std=list(self._pre.std),
            divisor=self._pre.pixel_divisor,
            filter=self._pre.resize_filter,
            bgr=self._pre.bgr,
            dtype=self._dtype,
        )

    def find(self, canvas: Tensor, tables: Tensor) -> Found:
        """Find the boxes of every picture.

        Args:
            canvas: (B, 3, H, W), what ``place`` gave.
            tables: (2, B, 2) int64 on its device: sizes on the canvas, then sizes of the pictures.
        """
        boxes, scores, labels, _, counts, *levels = self._model.detect(canvas, tables[0])
        return self._found(tables, boxes, scores, labels, counts, levels)

    @property
    def explains(self) -> bool:
        """Whether it can ``explain``: archives of older versions cannot."""
        return hasattr(self._model, "explain")

    def explain(self, canvas: Tensor, tables: Tensor) -> tuple[Found, Reasons]:
        """Find the boxes of every picture, and what they came from; the arguments are those of ``find``."""
        boxes, scores, labels, _, counts, *reasons = self._model.explain(canvas, tables[0])
        proposals, objectness, class_scores, *levels = reasons
        found = self._found(tables, boxes, scores, labels, counts, levels)
        return found, Reasons(self._on_image(proposals, tables), objectness, class_scores)

    def _found(
        self,
        tables: Tensor,
        boxes_on_canvas: Tensor,
        scores: Tensor,
        labels: Tensor,
        counts: Tensor,
        levels: Sequence[Tensor],
    ) -> Found:
        boxes = self._on_image(boxes_on_canvas, tables)
        valid = self._valid(boxes, scores, counts)
        return Found(boxes_on_canvas, boxes, scores, labels, valid, tuple(levels))

    def _on_image(self, boxes_on_canvas: Tensor, tables: Tensor) -> Tensor:
        sizes_on_canvas, image_sizes = tables.unbind()
        return boxes_on_image(boxes_on_canvas, sizes_on_canvas, image_sizes, self._post.clip_boxes)

    def _valid(self, boxes: Tensor, scores: Tensor, counts: Tensor) -> Tensor:
        rows = torch.arange(scores.shape[1], device=scores.device)
        valid = (rows < counts[:, None]) & (scores > self._post.score_threshold)
        if self._post.clip_boxes:  # who clips also drops what clipping left without an inside
            valid &= ((boxes[..., 2:] - boxes[..., :2]) > 0).all(-1)
        return valid

    def segment(self, found: Found, rows: Tensor, counts: Tensor) -> Tensor:
        """Compute the small masks of some rows.

        Args:
            found: What ``find`` gave.
            rows: (K,) int64 on its device, numbers of rows among all B * D, ascending; after those any, as padding.
            counts: (B,) int64 on its device, how many of them are each picture's, without the padding.

        Returns:
            (K, M, M) float32 probabilities.
        """
        boxes = found.boxes_on_canvas.flatten(0, 1).index_select(0, rows)
        labels = found.labels.flatten().index_select(0, rows)
        masks: Tensor = self._model.segment(boxes, labels, counts, *found.levels)
        return masks

    def encode(self, probs: Tensor, boxes: Tensor, image_sizes: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
        """Encode masks as run lengths; waits for the device.

        Args:
            probs: (K, M, M), what ``segment`` gave, without padding.
            boxes: (K, 4) float32, in pixels of each one's picture.
            image_sizes: (K, 2) int64, height and width of each one's picture.
            thresholds: (K,) float32, probability that makes a pixel part of the instance.

        Returns:
            (T,) uint8 bytes and (K + 1,) int64 offsets, as ``unpack_masks`` takes them.
        """
        return ops.encode_rle(
            probs, boxes, image_sizes, thresholds, rule=self._post.paste_rule, inclusive=self._post.paste_inclusive
        )
