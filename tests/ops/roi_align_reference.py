"""ROIAlign as its definition reads: one sample at a time, positions in float32, values in float64."""

import math

import numpy
import torch
from torch import Tensor


def sample(image: Tensor, y: numpy.float32, x: numpy.float32) -> Tensor:
    """Bilinear sample of a (C, H, W) float64 image; 0 outside [-1, H] x [-1, W]."""
    height, width = image.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return image.new_zeros(image.shape[0])
    row, column = min(max(float(y), 0), height - 1), min(max(float(x), 0), width - 1)
    top, left = int(row), int(column)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = image[:, top, left] * (left + 1 - column) + image[:, top, right] * (column - left)
    lower = image[:, bottom, left] * (left + 1 - column) + image[:, bottom, right] * (column - left)
    return upper * (top + 1 - row) + lower * (row - top)


def positions(low: float, high: float, scale: float, bins: int, ratio: int, aligned: bool) -> list[list[numpy.float32]]:
    """Where each bin's samples lie along one axis, in cells."""
    shift, cells = numpy.float32(0.5 if aligned else 0), numpy.float32(scale)
    start = numpy.float32(low) * cells - shift
    length = numpy.float32(high) * cells - shift - start
    size = (length if aligned else max(length, numpy.float32(1))) / numpy.float32(bins)
    count = ratio if ratio > 0 else max(math.ceil(size), 0)
    steps = [(numpy.float32(i) + numpy.float32(0.5)) * size / numpy.float32(count) for i in range(count)]
    return [[start + numpy.float32(b) * size + step for step in steps] for b in range(bins)]


def reference_roi_align(
    features: Tensor, rois: Tensor, scale: float, height: int, width: int, ratio: int = -1, aligned: bool = False
) -> Tensor:
    """What ``ops.roi_align`` must give, on the CPU, for finite rois of moderate size."""
    pooled = torch.zeros(len(rois), features.shape[1], height, width, dtype=torch.float64)
    for n, (index, x1, y1, x2, y2) in enumerate(rois.tolist()):
        image = features[int(index)].cpu().double()
        rows, columns = (
            positions(y1, y2, scale, height, ratio, aligned),
            positions(x1, x2, scale, width, ratio, aligned),
        )
        for i, j in ((i, j) for i in range(height) for j in range(width)):
            samples = [sample(image, y, x) for y in rows[i] for x in columns[j]]
            pooled[n, :, i, j] = sum(samples, torch.zeros(features.shape[1])) / max(len(samples), 1)
    return pooled.float()
