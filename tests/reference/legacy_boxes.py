"""Boxes of maskrcnn-benchmark and torchvision: ``extra`` is 1 where a side counts both its end pixels, else 0."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

LARGEST_LOG = math.log(1000 / 16)  # a side grows at most this much; shrinking is not limited


class Found(NamedTuple):
    """What was found in one image, in the framework's own order and with its own labels."""

    boxes: Tensor  # (n, 4) float32, x1 y1 x2 y2 in canvas pixels
    scores: Tensor  # (n,) float32
    labels: Tensor  # (n,) int64
    masks: Tensor | None  # (n, M, M) float32 probabilities; None for a network without masks


def sides(boxes: Tensor, extra: float) -> tuple[Tensor, Tensor]:
    return boxes[..., 2] - boxes[..., 0] + extra, boxes[..., 3] - boxes[..., 1] + extra


def area(boxes: Tensor, extra: float) -> Tensor:
    width, height = sides(boxes, extra)
    return width * height


def decode(deltas: Tensor, boxes: Tensor, weights: tuple[float, ...], extra: float) -> Tensor:
    """Move boxes (..., 4) by deltas (..., 4) = dx, dy, dw, dh (Fast R-CNN, Girshick 2015)."""
    width, height = sides(boxes, extra)
    dx, dy, dw, dh = (deltas[..., i] / weights[i] for i in range(4))
    x, y = boxes[..., 0] + 0.5 * width + dx * width, boxes[..., 1] + 0.5 * height + dy * height
    width, height = dw.clamp(max=LARGEST_LOG).exp() * width, dh.clamp(max=LARGEST_LOG).exp() * height
    corners = (x - 0.5 * width, y - 0.5 * height, x + 0.5 * width - extra, y + 0.5 * height - extra)
    return torch.stack(corners, dim=-1)


def clip(boxes: Tensor, size: Tensor, extra: float) -> Tensor:
    """Clip boxes (..., 4) to the image of size (height, width)."""
    height, width = (size.to(boxes.dtype) - extra).tolist()
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack((x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)), dim=-1)


def nms(boxes: Tensor, scores: Tensor, threshold: float, extra: float, inclusive: bool) -> Tensor:
    """Indices of the boxes that no better one covers, best first.

    Args:
        boxes: (n, 4) float32.
        scores: (n,) float32; of equal ones the first is the better.
        threshold: Intersection over union above which the worse box goes.
        extra: What a side is longer than the difference of its ends.
        inclusive: Whether it goes at exactly the threshold too.
    """
    order, kept = scores.argsort(descending=True, stable=True), []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        overlap = iou(boxes[best], boxes[order], extra).double()
        gone = overlap >= threshold if inclusive else overlap > threshold
        order = order[~gone]
    return torch.stack(kept) if kept else order


def iou(box: Tensor, others: Tensor, extra: float) -> Tensor:
    """Intersection over union of one box with each of (n, 4)."""
    common = torch.cat((torch.maximum(box[:2], others[:, :2]), torch.minimum(box[2:], others[:, 2:])), dim=1)
    width, height = sides(common, extra)
    shared = width.clamp(min=0) * height.clamp(min=0)
    return shared / (area(box, extra) + area(others, extra) - shared)


def grid(cells: Tensor, height: int, width: int, strides: tuple[int, int]) -> Tensor:
    """Every cell anchor (a, 4) at every place of a map, row by row: (height * width * a, 4)."""
    y, x = torch.arange(height) * strides[0], torch.arange(width) * strides[1]
    shifts = torch.stack((x.expand(height, -1), y[:, None].expand(-1, width)) * 2, dim=-1)
    return (shifts[:, :, None] + cells).reshape(-1, 4)


def by_place(x: Tensor, values: int) -> Tensor:
    """A head's map (a * values, h, w) as (h * w * a, values), in the order of :func:`grid`."""
    return x.reshape(-1, values, *x.shape[1:]).permute(2, 3, 0, 1).reshape(-1, values)
