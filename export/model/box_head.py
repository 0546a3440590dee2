"""The box head: what each proposal shows, and where exactly.

Source: Fast R-CNN, Girshick 2015, section 2; two fully connected layers as in Feature Pyramid Networks.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ops
from export.architecture import Architecture
from export.conventions import Conventions, Pooling
from export.model.layers import Weights, linear, linear_of


class BoxHead(nn.Module):
    """Pool, two layers, two predictors, selection."""

    def __init__(self, weights: Weights, architecture: Architecture, rules: Conventions) -> None:
        super().__init__()
        side = architecture.box_pool
        self.fc6 = linear_of(_for_channels_last(weights["box.fc6.weight"], side), weights["box.fc6.bias"])
        self.fc7 = linear(weights, "box.fc7")
        self.scores = linear(weights, "box.scores")
        self.deltas = linear(weights, "box.deltas")
        self.pooling = pooling_options(architecture, rules.pooling, side, rules.boxes.legacy)
        self.selection = {
            "score_threshold": rules.detections.score_threshold,
            "nms_threshold": rules.detections.nms_threshold,
            "max_detections": rules.detections.max_detections,
            "box_weights": list(rules.detections.box_weights),
            "activation": rules.detections.activation,
            "background_first": rules.detections.background_first,
            "min_size": rules.detections.min_size,
            "legacy": rules.boxes.legacy,
            "inclusive": rules.boxes.inclusive_nms,
        }

    def logits(self, proposals: Tensor, counts: Tensor, levels: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Proposals (B, P, 4) -> class scores (B P, C) and box deltas (B P, 4 C), float32."""
        pooled = ops.pyramid_roi_align(proposals, counts, *levels, **self.pooling)
        rows = pooled.permute(0, 2, 3, 1).flatten(1)  # a view: the op writes channels last
        features = F.relu(self.fc7(F.relu(self.fc6(rows))))
        return self.scores(features).float(), self.deltas(features).float()

    def forward(
        self, proposals: Tensor, counts: Tensor, sizes: Tensor, levels: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """Proposals -> boxes (B, D, 4), scores (B, D), labels (B, D), rows of their proposals (B, D), counts (B)."""
        scores, deltas = self.logits(proposals, counts, levels)
        return tuple(ops.select_detections(scores, deltas, proposals, counts, sizes, **self.selection))


def pooling_options(architecture: Architecture, rules: Pooling, side: int, legacy: bool) -> dict[str, Any]:
    """Keyword arguments of ``ops.pyramid_roi_align`` for one head."""
    return {
        "spatial_scales": [1.0 / stride for stride in architecture.strides[: architecture.levels]],
        "pooled_height": side,
        "pooled_width": side,
        "sampling_ratio": rules.sampling_ratio,
        "aligned": rules.aligned,
        "canonical_level": rules.canonical_level,
        "canonical_size": rules.canonical_size,
        "ratio_epsilon": rules.ratio_epsilon,
        "level_epsilon": rules.level_epsilon,
        "legacy": legacy,
    }


def _for_channels_last(matrix: Tensor, side: int) -> Tensor:
    """fc6 with its columns in the order (row, column, channel) of the pooled memory."""
    return torch.unflatten(matrix, 1, (-1, side, side)).permute(0, 2, 3, 1).flatten(1)
