"""The whole network, from a canvas of pictures to masks, in two halves.

``detect`` has outputs of fixed shape, whatever it finds; ``segment`` runs on the boxes that somebody wants.
"""

import torch
from torch import Tensor, nn

from export.architecture import Architecture
from export.conventions import Conventions
from export.model.body import Body
from export.model.box_head import BoxHead
from export.model.layers import Weights
from export.model.mask_head import MaskHead
from export.model.proposals import ProposalNetwork
from export.model.pyramid import Pyramid


class MaskRCNN(nn.Module):
    """Mask R-CNN for inference.

    Args:
        weights: Canonical name to tensor (``export.weights``), of any float dtype.
        architecture: What the shapes say.
        conventions: What they cannot say.

    Raises:
        ExportError: The conventions' anchors do not fit the checkpoint.
    """

    def __init__(self, weights: Weights, architecture: Architecture, conventions: Conventions) -> None:
        super().__init__()
        self.levels = architecture.levels
        self.body = Body(weights, architecture, conventions.body)
        self.pyramid = Pyramid(weights, architecture)
        self.proposals = ProposalNetwork(weights, architecture, conventions.proposals, conventions.boxes)
        self.box_head = BoxHead(weights, architecture, conventions)
        self.mask_head = MaskHead(weights, architecture, conventions)
        self.eval()

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> pyramid levels (B, C, h, w), finest first; the last one is for proposals only."""
        # type_as, not to(dtype): the trace then follows the weights wherever they are moved and cast.
        canvas = images.type_as(self.body.stem.weight).contiguous(memory_format=torch.channels_last)
        levels: tuple[Tensor, ...] = self.pyramid(self.body(canvas))
        return levels

    def detect(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        """Find objects.

        Args:
            images: (B, 3, H, W), what ``ops.resize_normalize`` gives: normalised, zero right and below each picture.
            sizes: (B, 2) int64, (height, width) of each picture on the canvas.

        Returns:
            boxes (B, D, 4) float32 in canvas pixels, scores (B, D) float32 in descending order, labels (B, D) int64,
            rows of their proposals (B, D) int64, counts (B) int64; rows past the counts are zero. Then the pyramid
            levels that ``segment`` wants.
        """
        levels = self.features(images)
        proposals, counts = self.proposals(levels, sizes)
        found = self.box_head(proposals, counts, sizes, levels[: self.levels])
        return (*found, *levels[: self.levels])

    def segment(self, boxes: Tensor, labels: Tensor, counts: Tensor, *levels: Tensor) -> Tensor:
        """Find the masks of some detections.

        Args:
            boxes: (K, 4) float32 in canvas pixels, in the order of the pictures.
            labels: (K) int64.
            counts: (B) int64, how many of the boxes are in each picture; rows past their sum are padding.
            levels: What ``detect`` gave.

        Returns:
            (K, M, M) float32 probabilities over each box; those of padding mean nothing.
        """
        masks: Tensor = self.mask_head(boxes, labels, counts, levels)
        return masks

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Find objects and their masks.

        Args:
            images: As in ``detect``.
            sizes: As in ``detect``.

        Returns:
            boxes (K, 4), scores (K), labels (K), masks (K, M, M), counts (B): in the order of the pictures, within
            one by descending score.
        """
        boxes, scores, labels, _, counts, *levels = self.detect(images, sizes)
        place = torch.ones_like(labels).cumsum(1)  # 1, 2, 3 ... in every row, without asking for the row's length
        kept = (place <= counts.unsqueeze(1)).flatten().nonzero().squeeze(1)
        boxes, labels = boxes.flatten(0, 1).index_select(0, kept), labels.flatten().index_select(0, kept)
        masks = self.segment(boxes, labels, counts, *levels)
        return boxes, scores.flatten().index_select(0, kept), labels, masks, counts
