"""The exported model, from pictures to detections. Needs no server: any program may load an archive's folder."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

import ops  # first: a trace that names ops which are not registered does not load
from handler.canvas import Pass, boxes_on_image, canvas_size, plan_passes, resized_size
from handler.detections import Detections, unpack_masks
from handler.metrics import Observe, ignore, timed
from handler.model_card import FILE_NAME, ModelCard
from handler.settings import Settings

MODEL_FILE = "model.pt"


class Detector:
    """Finds and segments the instances of pictures.

    Attributes:
        card: What was fixed at export.
        settings: What this deployment chose.
    """

    def __init__(self, model: torch.jit.ScriptModule, card: ModelCard, settings: Settings) -> None:
        """Take a loaded trace; most callers want ``Detector.load``.

        Raises:
            ValueError: The settings ask for scores that the trace never gives.
        """
        floor = card.postprocessing.score_threshold
        if settings.score_threshold is not None and settings.score_threshold < floor:
            raise ValueError(
                f"model-config.yaml: score_threshold must be at least {floor}, the limit that the model was exported "
                f"with, got {settings.score_threshold}; export it again with a lower one"
            )
        self.card, self.settings = card, settings
        self._model = model
        self._score_threshold = floor if settings.score_threshold is None else settings.score_threshold
        self._mask_threshold = (
            card.postprocessing.mask_threshold if settings.mask_threshold is None else settings.mask_threshold
        )

    @classmethod
    def load(cls, folder: Path, settings: Settings | None = None) -> "Detector":
        """Load the model of an unpacked archive and warm it up.

        Args:
            folder: Holds ``model.pt`` and ``model_card.json``.
            settings: Choices of the deployment; None: the defaults.

        Raises:
            ValueError: The card is of another version, or the settings do not fit it.
        """
        card = ModelCard.load(folder / FILE_NAME)
        model = torch.jit.load(str(folder / MODEL_FILE), map_location="cpu").eval()  # type: ignore[no-untyped-call]
        detector = cls(model.to(memory_format=torch.channels_last), card, settings or Settings())
        detector.warm_up()
        return detector

    def warm_up(self) -> None:
        """Compute blank pictures: the first call of a process costs up to three times the second.

        They have the sizes of the settings, or are one square of the size that the network wants.
        """
        side = self.card.preprocessing.min_size
        for height, width in self.settings.warm_up_sizes or ((side, side),):
            self.detect([torch.zeros(height, width, 3, dtype=torch.uint8)])

    @torch.inference_mode()
    def detect(self, images: Sequence[Tensor], observe: Observe = ignore) -> list[Detections]:
        """Find the instances of each picture; its answer does not depend on the other pictures.

        Args:
            images: (H, W, 3) uint8 each, RGB, of any sizes.
            observe: Takes the metrics of each pass.

        Returns:
            One per picture, in the order of the pictures.
        """
        preprocessing = self.card.preprocessing
        sizes = [resized_size(image.shape[0], image.shape[1], preprocessing) for image in images]
        canvases = [canvas_size(*size, preprocessing) for size in sizes]
        found: dict[int, Detections] = {}
        for each in plan_passes(canvases, self.settings.max_pass_size):
            chosen = [images[index] for index in each.indices]
            resized = torch.tensor([sizes[index] for index in each.indices])
            found |= zip(each.indices, self._run(each, chosen, resized, observe), strict=True)
        return [found[index] for index in range(len(images))]

    def _run(self, each: Pass, images: list[Tensor], sizes_on_canvas: Tensor, observe: Observe) -> list[Detections]:
        """Compute one pass."""
        observe("maskrcnn_pass_size", len(images))
        with timed(observe, "maskrcnn_place_seconds"):
            canvas = self._place(images, sizes_on_canvas, each.canvas)
        with timed(observe, "maskrcnn_detect_seconds"):
            boxes_on_canvas, scores, labels, _, counts, *levels = self._model.detect(canvas, sizes_on_canvas)
        image_sizes = torch.tensor([image.shape[:2] for image in images])  # (B, 2)
        post = self.card.postprocessing
        boxes = boxes_on_image(boxes_on_canvas, sizes_on_canvas, image_sizes, post.clip_boxes)  # (B, D, 4)
        kept = self._kept(boxes, scores, counts)  # (B, D) bool
        counts = kept.sum(1)
        boxes, scores, labels = boxes[kept], scores[kept], labels[kept]  # (K, 4), (K), (K), in image order
        with timed(observe, "maskrcnn_segment_seconds"):
            probs = self._model.segment(boxes_on_canvas[kept], labels, counts, *levels)  # (K, M, M)
        with timed(observe, "maskrcnn_encode_seconds"):
            masks = self._encode(probs, boxes, image_sizes.repeat_interleave(counts, dim=0))
        return _split(image_sizes, counts, boxes, scores, labels, masks)

    def _place(self, images: list[Tensor], sizes: Tensor, canvas: tuple[int, int]) -> Tensor:
        preprocessing = self.card.preprocessing
        return ops.resize_normalize(
            images,
            sizes,
            *canvas,
            mean=list(preprocessing.mean),
            std=list(preprocessing.std),
            divisor=preprocessing.pixel_divisor,
            filter=preprocessing.resize_filter,
            bgr=preprocessing.bgr,
        )

    def _kept(self, boxes: Tensor, scores: Tensor, counts: Tensor) -> Tensor:
        """Mark the rows that are answered; only their masks are computed."""
        kept = (torch.arange(scores.shape[1]) < counts[:, None]) & (scores > self._score_threshold)
        if self.card.postprocessing.clip_boxes:  # who clips also drops what clipping left without an inside
            kept &= ((boxes[..., 2:] - boxes[..., :2]) > 0).all(-1)
        return kept

    def _encode(self, probs: Tensor, boxes: Tensor, image_sizes: Tensor) -> list[str]:
        post = self.card.postprocessing
        thresholds = torch.full((len(probs),), self._mask_threshold)
        counts, offsets = ops.encode_rle(
            probs, boxes, image_sizes, thresholds, rule=post.paste_rule, inclusive=post.paste_inclusive
        )
        return unpack_masks(counts, offsets)


def _split(
    image_sizes: Tensor, counts: Tensor, boxes: Tensor, scores: Tensor, labels: Tensor, masks: list[str]
) -> list[Detections]:
    """Cut the packed rows of a pass into one answer a picture."""
    ends = counts.cumsum(0)
    spans = [slice(end - count, end) for end, count in zip(ends.tolist(), counts.tolist(), strict=True)]
    return [
        Detections(height, width, boxes[span], scores[span], labels[span], tuple(masks[span]))
        for (height, width), span in zip(image_sizes.tolist(), spans, strict=True)
    ]
