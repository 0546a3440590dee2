"""The whole network, from a canvas of pictures to masks, in two halves.

``detect`` has outputs of fixed shape, whatever it finds; ``segment`` runs on the boxes that somebody wants. ``explain``
is ``detect`` with what its answers came from.
"""

import torch
from torch import Tensor, nn

from export.agreement import check_conventions
from export.conventions import Conventions
from export.model.body import Body, residual_stage
from export.model.box_head import BoxHead, Selection, of_detections
from export.model.cascade import Cascade
from export.model.layers import Layers, Weights
from export.model.mask_head import MaskHead
from export.model.mobilenet import MobileNet
from export.model.proposals import ProposalNetwork
from export.model.pyramid import Pyramid
from export.model.regions import PARTS_OF_C4, Pooling, in_parts, join_parts
from export.network.architecture import Architecture, MobileNetBody


class MaskRCNN(nn.Module):
    """Mask R-CNN for inference, or Faster R-CNN: one whose masks are empty.

    Args:
        weights: Canonical name to tensor (``export.network.weights``), of any float dtype.
        architecture: What the shapes say.
        conventions: What they cannot say.

    Attributes:
        region_parts: Parts in which a C4's regions go through its last stage, one after the other.

    Raises:
        ExportError: The conventions do not fit the checkpoint.
    """

    region_parts = PARTS_OF_C4

    def __init__(self, weights: Weights, architecture: Architecture, conventions: Conventions) -> None:
        super().__init__()
        check_conventions(architecture, conventions)
        layers = Layers(weights, conventions.body)
        self.kind, self.levels = architecture.kind, architecture.pooled_levels
        self.body = _body(layers, architecture, conventions)
        self.pyramid = Pyramid(layers, architecture.pyramid) if architecture.pyramid else None
        self.proposals = ProposalNetwork(layers, architecture, conventions)
        self.region_stage = _region_stage(layers, architecture, conventions)
        heads = [BoxHead(layers, f"box.{number}", architecture.box) for number in range(architecture.box.cascade)]
        self.box_head = heads[0] if len(heads) == 1 else Cascade(heads, conventions)
        self.is_cascade = len(heads) > 1  # its scores are probabilities already: each head's, averaged
        self.select = Selection(conventions)
        self.mask_head = MaskHead(layers, architecture.mask) if architecture.mask else None
        self.pool_boxes = Pooling(architecture, conventions, architecture.box.side or conventions.pooling.mask_pool)
        self.pool_masks = Pooling(architecture, conventions, conventions.pooling.mask_pool)
        self.eval()

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> maps (B, C, h, w), finest first; of a pyramid the last one is for proposals only."""
        # type_as, not to(dtype): the trace then follows the weights wherever they are moved and cast.
        canvas = images.type_as(self.proposals.predictor.weight).contiguous(memory_format=torch.channels_last)
        maps: tuple[Tensor, ...] = self.body(canvas)
        return self.pyramid(maps) if self.pyramid is not None else maps[-1:]

    def detect(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        """Find objects.

        Args:
            images: (B, 3, H, W), what ``ops.resize_normalize`` gives: normalised, zero right and below each picture.
            sizes: (B, 2) int64, (height, width) of each picture on the canvas.

        Returns:
            boxes (B, D, 4) float32 in canvas pixels, scores (B, D) float32 in descending order, labels (B, D) int64,
            rows of their proposals (B, D) int64, counts (B) int64; rows past the counts are zero. Then the maps that
            ``segment`` wants.
        """
        levels = self.features(images)
        proposals, counts = self.proposals(levels, sizes)
        found = self.select(*self._scored(proposals, counts, sizes, levels), counts, sizes, self.is_cascade)
        return (*found, *levels[: self.levels])

    def explain(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        """Find objects, and say what each was found by.

        Args:
            images: As in ``detect``.
            sizes: As in ``detect``.

        Returns:
            The first five of ``detect``. Then of each detection the proposal that it came from (B, D, 4) float32 in
            canvas pixels, its objectness (B, D) float32 in [0, 1], and the probabilities of all classes (B, D, C)
            float32, a label's at its number, the background's as ``Selection.class_scores`` has it; a cascade's are
            averaged. Rows past the counts are zero. Then the maps that ``segment`` wants.
        """
        levels = self.features(images)
        proposals, objectness, counts = self.proposals.with_objectness(levels, sizes)
        scores, deltas, boxes = self._scored(proposals, counts, sizes, levels)
        found = self.select(scores, deltas, boxes, counts, sizes, self.is_cascade)
        classes = self.select.class_scores(scores, self.is_cascade)
        of_picture = torch.unflatten(classes, 0, (proposals.shape[0], proposals.shape[1]))  # (B, P, C)
        reasons = (of_detections(part, found[3], found[4]) for part in (proposals, objectness[..., None], of_picture))
        proposal, objectness, classes = reasons
        return (*found, proposal, objectness.squeeze(2), classes, *levels[: self.levels])

    def _scored(
        self, proposals: Tensor, counts: Tensor, sizes: Tensor, levels: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Class scores (B P, C) and deltas (B P, 4 or more) of the boxes (B, P, 4) that these move."""
        pooled = levels[: self.levels]
        if isinstance(self.box_head, Cascade):
            return self.box_head.scored(proposals, counts, sizes, pooled, self.pool_boxes)
        return (*self.box_logits(proposals, counts, pooled), proposals)

    def box_logits(self, proposals: Tensor, counts: Tensor, levels: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Proposals (B, P, 4) -> class scores (B P, C) and box deltas (B P, 4 or more), float32."""
        if self.region_stage is None:
            return self.box_head(self.pool_boxes(proposals, counts, levels))  # type: ignore[no-any-return]
        parts = in_parts(proposals, counts, self.region_parts)
        logits = [self.box_head(self.region_stage(self.pool_boxes(part, inside, levels))) for part, inside in parts]
        boxes = [part for part, _ in parts]
        return join_parts([each[0] for each in logits], boxes), join_parts([each[1] for each in logits], boxes)

    def segment(self, boxes: Tensor, labels: Tensor, counts: Tensor, *levels: Tensor) -> Tensor:
        """Find the masks of some detections.

        Args:
            boxes: (K, 4) float32 in canvas pixels, in the order of the pictures.
            labels: (K) int64.
            counts: (B) int64, how many of the boxes are in each picture; rows past their sum are padding.
            levels: What ``detect`` gave.

        Returns:
            (K, M, M) float32 probabilities over each box; those of padding mean nothing. (K, 0, 0) of a model without
            masks.
        """
        if self.mask_head is None:
            return boxes[:, :0, None].expand(-1, -1, 0)
        regions = self.pool_masks(boxes, counts, levels)
        if self.region_stage is not None:
            regions = self.region_stage(regions)
        masks: Tensor = self.mask_head(regions, labels)
        return masks

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Find objects and their masks.

        Args:
            images: As in ``detect``.
            sizes: As in ``detect``.

        Returns:
            boxes (K, 4), scores (K), labels (K), masks (K, M, M), counts (B): in the order of the pictures, within
            one by descending score. M is 0 in a model without masks.
        """
        boxes, scores, labels, _, counts, *levels = self.detect(images, sizes)
        place = torch.ones_like(labels).cumsum(1)  # 1, 2, 3 ... in every row, without asking for the row's length
        kept = (place <= counts.unsqueeze(1)).flatten().nonzero().squeeze(1)
        boxes, labels = boxes.flatten(0, 1).index_select(0, kept), labels.flatten().index_select(0, kept)
        masks = self.segment(boxes, labels, counts, *levels)
        return boxes, scores.flatten().index_select(0, kept), labels, masks, counts


def _body(layers: Layers, architecture: Architecture, conventions: Conventions) -> nn.Module:
    if isinstance(architecture.body, MobileNetBody):
        return MobileNet(layers)
    return Body(layers, architecture, architecture.body, conventions.body)


def _region_stage(layers: Layers, architecture: Architecture, conventions: Conventions) -> nn.Module | None:
    """The last stage of the body, where box and mask head share it."""
    if architecture.kind != "c4" or isinstance(architecture.body, MobileNetBody):
        return None
    return residual_stage(layers, architecture, architecture.body, conventions.body, stage=3)
