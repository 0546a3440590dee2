"""The region proposal network: where in the canvas something may be.

Source: Faster R-CNN, Ren et al. 2015, section 3.1.
"""

from typing import Any

import torch
from torch import Tensor, nn

import ops
from export.conventions import Conventions
from export.model.anchors import cell_anchors
from export.model.layers import Layers, conv_of, rectified
from export.network.architecture import Architecture

# The anchors are kept as whole numbers with 30 bits behind the point. Integers stay what they are when the weights
# are cast to half precision, and every float32 of at least 2 ** -6 pixels is exact in them.
_FIXED_POINT = 2.0**30


class ProposalNetwork(nn.Module):
    """Convolutions, two predictors in one, and the op that turns their maps into boxes."""

    fixed_point_anchors: Tensor

    def __init__(self, layers: Layers, architecture: Architecture, rules: Conventions) -> None:
        super().__init__()
        strides = architecture.strides(rules.body.last_dilation)
        self.anchors_per_cell = architecture.proposals.anchors
        convs = range(len(architecture.proposals.convs))
        self.convs = nn.ModuleList(layers.conv(f"rpn.conv{number}") for number in convs)
        # Objectness and deltas in one pass over the features: they are read, not computed, most of the time.
        weight, bias = (
            torch.cat([layers[f"rpn.{head}.{part}"].float() for head in ("objectness", "deltas")])
            for part in ("weight", "bias")
        )
        self.predictor = conv_of(weight, bias)
        anchors = cell_anchors(rules.proposals, strides)
        self.register_buffer("fixed_point_anchors", (anchors.double() * _FIXED_POINT).long())
        self.options = _options(rules, strides)

    def maps(self, levels: tuple[Tensor, ...]) -> list[Tensor]:
        """Objectness (B, A, H, W) and deltas (B, 4 A, H, W) of each level in turn."""
        maps = []
        for features in levels:
            both = self.predictor(rectified(self.convs, features))
            maps += [both[:, : self.anchors_per_cell], both[:, self.anchors_per_cell :]]
        return maps

    def forward(self, levels: tuple[Tensor, ...], sizes: Tensor) -> tuple[Tensor, Tensor]:
        """Levels and picture sizes -> proposals (B, P, 4) on the canvas and their counts (B)."""
        boxes, _, counts = self._ranked(levels, sizes)
        return boxes, counts

    def with_objectness(self, levels: tuple[Tensor, ...], sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As ``forward``, and between the two the probability of each proposal to be an object, (B, P).

        Whoever ranks raw logits was trained on their sigmoid all the same.
        """
        boxes, scores, counts = self._ranked(levels, sizes)
        return boxes, scores if self.options["sigmoid"] else scores.sigmoid(), counts

    def _ranked(self, levels: tuple[Tensor, ...], sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        anchors = (self.fixed_point_anchors.double() / _FIXED_POINT).float()
        return ops.propose(sizes, anchors, *self.maps(levels), **self.options)


def _options(rules: Conventions, strides: tuple[int, ...]) -> dict[str, Any]:
    """Keyword arguments of ``ops.propose``."""
    proposals, boxes = rules.proposals, rules.boxes
    return {
        "strides": list(strides),
        "strides_from_grid": proposals.strides_from_grid,
        "pre_nms_top_n": proposals.pre_nms_top_n,
        "post_nms_top_n": proposals.post_nms_top_n,
        "nms_threshold": proposals.nms_threshold,
        "min_size": proposals.min_size,
        "score_threshold": proposals.score_threshold,
        "sigmoid": proposals.sigmoid,
        "legacy": boxes.legacy,
        "inclusive": boxes.inclusive_nms,
    }
