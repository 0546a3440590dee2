"""Features of regions: cut out of the maps, and in a C4 run through the last stage of the body."""

from typing import Any

import torch
from torch import Tensor

import ops
from export.conventions import Conventions
from export.network.architecture import Architecture

# A C4 pools 14x14 cells of 1024 channels for 1000 proposals: 800 MB a picture, if all were there at once.
PARTS_OF_C4 = 8


class Pooling:
    """Cuts regions of one size out of the levels.

    Args:
        architecture: Which levels there are.
        rules: How to sample.
        side: Of the pooled grid.
    """

    def __init__(self, architecture: Architecture, rules: Conventions, side: int) -> None:
        strides = architecture.strides(rules.body.last_dilation)[: architecture.pooled_levels]
        self._options: dict[str, Any] = {
            "spatial_scales": [1.0 / stride for stride in strides],
            "pooled_height": side,
            "pooled_width": side,
            "sampling_ratio": rules.pooling.sampling_ratio,
            "aligned": rules.pooling.aligned,
            "canonical_level": rules.pooling.canonical_level,
            "canonical_size": rules.pooling.canonical_size,
            "ratio_epsilon": rules.pooling.ratio_epsilon,
            "level_epsilon": rules.pooling.level_epsilon,
            "legacy": rules.boxes.legacy,
        }

    def __call__(self, boxes: Tensor, counts: Tensor, levels: tuple[Tensor, ...]) -> Tensor:
        """(B, P, 4) with counts (B), or (K, 4) in picture order -> (B P or K, C, side, side), channels last."""
        return ops.pyramid_roi_align(boxes, counts, *levels, **self._options)


def in_parts(boxes: Tensor, counts: Tensor, parts: int) -> list[tuple[Tensor, Tensor]]:
    """Cut the rows of every picture into parts, with the counts of each part.

    Args:
        boxes: (B, P, 4), the first ``counts`` of each picture valid.
        counts: (B) int64.
        parts: How many.

    Returns:
        As many parts, whatever P is; some may be empty.
    """
    place = torch.ones_like(boxes[..., 0], dtype=torch.int64).cumsum(1)  # 1, 2, 3 ...
    valid = (place <= counts.unsqueeze(1)).tensor_split(parts, dim=1)
    return [(part, inside.sum(1)) for part, inside in zip(boxes.tensor_split(parts, dim=1), valid, strict=True)]


def join_parts(parts: list[Tensor], boxes: list[Tensor]) -> Tensor:
    """Rows (B p, ...) of every part -> rows (B P, ...), picture after picture.

    Args:
        parts: What was computed of each part.
        boxes: (B, p, 4), the parts themselves: of no pictures at all, only they say how many rows each has.
    """
    rows = zip(parts, boxes, strict=True)
    apart = [torch.unflatten(part, 0, (of_part.shape[0], of_part.shape[1])) for part, of_part in rows]
    return torch.cat(apart, dim=1).flatten(0, 1)
