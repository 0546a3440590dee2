"""Boxes as Detectron2 reckons them: no +1, continuous coordinates, x1 y1 x2 y2 in canvas pixels."""

import math

import torch
from torch import Tensor

MAX_LOG_SCALE = math.log(1000.0 / 16)


def cell_anchors(sizes: tuple[float, ...], ratios: tuple[float, ...]) -> Tensor:
    """The anchors of one cell, centred on 0 and unrounded; all ratios of the first size come first."""
    sides = [(size / math.sqrt(ratio), size * math.sqrt(ratio)) for size in sizes for ratio in ratios]
    return torch.tensor([(-w / 2, -h / 2, w / 2, h / 2) for w, h in sides])


def anchor_grid(cell: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Anchors (height * width * A, 4): row by row, cell by cell, then the cell's own."""
    x, y = torch.arange(width) * stride, torch.arange(height) * stride
    shifts = torch.stack([x.repeat(height), y.repeat_interleave(width)], dim=1).repeat(1, 2)
    return (shifts[:, None] + cell).reshape(-1, 4)


def decode(deltas: Tensor, boxes: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Move boxes (n, 4) by deltas (n, 4 * k) -> (n, k, 4)."""
    dx, dy, dw, dh = (deltas.reshape(len(boxes), -1, 4) / torch.tensor(weights)).unbind(-1)  # (n, k)
    sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
    centres = boxes[:, None, :2] + sides / 2 + torch.stack([dx, dy], dim=-1) * sides
    half = torch.stack([dw, dh], dim=-1).clamp(max=MAX_LOG_SCALE).exp() * sides / 2
    return torch.cat([centres - half, centres + half], dim=-1)


def clip(boxes: Tensor, height: int, width: int) -> Tensor:
    """Move corners outside the picture onto its border."""
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], dim=-1)


def areas(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def nonempty(boxes: Tensor) -> Tensor:
    """Which boxes have two positive sides."""
    return (boxes[:, 2:] > boxes[:, :2]).all(dim=1)


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Indices of the boxes that overlap no better one by more than the threshold, best first."""
    left, kept, area = scores.sort(descending=True, stable=True).indices, [], areas(boxes)
    while len(left):
        best, left = left[0], left[1:]
        kept.append(int(best))
        low, high = torch.max(boxes[best, :2], boxes[left, :2]), torch.min(boxes[best, 2:], boxes[left, 2:])
        overlap = (high - low).clamp(min=0).prod(dim=1)
        union = area[best] + area[left] - overlap
        left = left[~((overlap / union).double() > threshold)]
    return torch.tensor(kept, dtype=torch.int64)


def nms_within(groups: Tensor, boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """``nms`` where only boxes of one group (a level, a class) compete."""
    kept = [torch.zeros(0, dtype=torch.int64)]
    for group in groups.unique():
        members = (groups == group).nonzero()[:, 0]
        kept.append(members[nms(boxes[members], scores[members], threshold)])
    together = torch.cat(kept).sort().values
    return together[scores[together].sort(descending=True, stable=True).indices]
