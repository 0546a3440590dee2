"""The anchors of one cell, in the arithmetic of the framework that trained with them."""

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor

from export.conventions import Proposals


def cell_anchors(rules: Proposals, strides: Sequence[int]) -> Tensor:
    """Anchors around the first cell of each level.

    Args:
        rules: Sizes, ratios and the rounding.
        strides: Canvas pixels per cell of each level.

    Returns:
        (L, A, 4) float32, x1 y1 x2 y2 in canvas pixels.
    """
    levels = zip(rules.anchor_sizes, strides, strict=True)
    return torch.stack([_level_anchors(rules, sizes, stride) for sizes, stride in levels])


def _level_anchors(rules: Proposals, sizes: Sequence[float], stride: int) -> Tensor:
    by_size = torch.stack([_MAKERS[rules.anchor_rounding](size, rules.anchor_ratios, stride) for size in sizes])
    return (by_size.transpose(0, 1) if rules.anchor_order == "ratios" else by_size).flatten(0, 1)


def _rounded(size: float, ratios: Sequence[float], stride: int) -> Tensor:
    """torchvision: in float32, corners rounded to whole pixels."""
    heights = torch.tensor(ratios, dtype=torch.float32).sqrt()
    sides = torch.stack([1 / heights, heights], dim=1) * torch.tensor(size, dtype=torch.float32)
    return (torch.cat([-sides, sides], dim=1) / 2).round()


def _exact(size: float, ratios: Sequence[float], stride: int) -> Tensor:
    """Detectron2: in float64, nothing rounded."""
    widths = [sqrt(size * size / ratio) for ratio in ratios]
    sides = [(width / 2, ratio * width / 2) for width, ratio in zip(widths, ratios, strict=True)]
    return torch.tensor([(-x, -y, x, y) for x, y in sides], dtype=torch.float32)


def _windows(size: float, ratios: Sequence[float], stride: int) -> Tensor:
    """maskrcnn-benchmark: a window of stride x stride pixels, its ratios rounded, then scaled; corners are pixels."""
    centre, scale = (stride - 1) / 2, size / stride
    widths = [round(sqrt(stride * stride / ratio)) for ratio in ratios]
    sides = [(width * scale - 1, round(width * ratio) * scale - 1) for width, ratio in zip(widths, ratios, strict=True)]
    corners = [(centre - x / 2, centre - y / 2, centre + x / 2, centre + y / 2) for x, y in sides]
    return torch.tensor(corners, dtype=torch.float32)


_MAKERS = {"round": _rounded, "exact": _exact, "windows": _windows}
