"""The region proposal network: where in the canvas something may be.

Source: Faster R-CNN, Ren et al. 2015, section 3.1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ops
from export.architecture import Architecture
from export.conventions import Boxes, Proposals
from export.errors import ExportError
from export.model.anchors import cell_anchors
from export.model.layers import Weights, conv, conv_of

# The anchors are kept as whole numbers with 30 bits behind the point. Integers stay what they are when the weights
# are cast to half precision, and every float32 of at least 2 ** -6 pixels is exact in them.
_FIXED_POINT = 2.0**30


class ProposalNetwork(nn.Module):
    """A convolution, two predictors in one, and the op that turns their maps into boxes."""

    fixed_point_anchors: Tensor

    def __init__(self, weights: Weights, architecture: Architecture, rules: Proposals, boxes: Boxes) -> None:
        super().__init__()
        _check_anchors(architecture, rules)
        self.anchors_per_cell = architecture.anchors_per_cell
        self.conv = conv(weights, "rpn.conv", padding=1)
        # Objectness and deltas in one pass over the features: they are read, not computed, most of the time.
        self.predictor = conv_of(
            *(
                torch.cat([weights[f"rpn.{head}.{part}"].float() for head in ("objectness", "deltas")])
                for part in ("weight", "bias")
            )
        )
        anchors = cell_anchors(rules, architecture.strides)
        self.register_buffer("fixed_point_anchors", (anchors.double() * _FIXED_POINT).long())
        self.options = {
            "strides": list(architecture.strides),
            "strides_from_grid": rules.strides_from_grid,
            "pre_nms_top_n": rules.pre_nms_top_n,
            "post_nms_top_n": rules.post_nms_top_n,
            "nms_threshold": rules.nms_threshold,
            "min_size": rules.min_size,
            "score_threshold": rules.score_threshold,
            "sigmoid": rules.sigmoid,
            "legacy": boxes.legacy,
            "inclusive": boxes.inclusive_nms,
        }

    def maps(self, levels: tuple[Tensor, ...]) -> list[Tensor]:
        """Objectness (B, A, H, W) and deltas (B, 4 A, H, W) of each level in turn."""
        maps = []
        for features in levels:
            both = self.predictor(F.relu(self.conv(features)))
            maps += [both[:, : self.anchors_per_cell], both[:, self.anchors_per_cell :]]
        return maps

    def forward(self, levels: tuple[Tensor, ...], sizes: Tensor) -> tuple[Tensor, Tensor]:
        """Levels and picture sizes -> proposals (B, P, 4) on the canvas and their counts (B)."""
        anchors = (self.fixed_point_anchors.double() / _FIXED_POINT).float()
        boxes, _, counts = ops.propose(sizes, anchors, *self.maps(levels), **self.options)
        return boxes, counts


def _check_anchors(architecture: Architecture, rules: Proposals) -> None:
    levels, ratios = len(architecture.strides), len(rules.anchor_ratios)
    if len(rules.anchor_sizes) != levels or ratios != architecture.anchors_per_cell:
        raise ExportError(
            f"the checkpoint has {levels} levels with {architecture.anchors_per_cell} anchors per cell, but the "
            f"conventions give {len(rules.anchor_sizes)} anchor sizes and {ratios} ratios; use --anchor-sizes "
            "and --anchor-ratios as in training"
        )
