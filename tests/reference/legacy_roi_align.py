"""ROIAlign as a product of matrices: bilinear sampling is separable, so each ROI is rows @ features @ columns."""

import torch
from torch import Tensor

CHUNK = 64  # ROIs at a time; bounds the memory


def roi_align(features: Tensor, boxes: Tensor, scale: float, size: int, sampling: int) -> Tensor:
    """Average bilinear samples in size x size bins of each box, without the half-pixel shift of later versions.

    Args:
        features: (C, H, W) float32.
        boxes: (n, 4) float32, in canvas pixels.
        scale: Feature pixels to a canvas pixel.
        size: Bins a side.
        sampling: Samples a bin and side; 0 for as many as the bin has pixels, rounded up.

    Returns:
        (n, C, size, size) float32.

    Source:
        Mask R-CNN, He et al. 2017, section 3; the rules at the border are Caffe2's: a sample further than one pixel
        out is 0, one closer reads the border, and a ROI has sides of at least 1.
    """
    pooled = [features.new_zeros(0, len(features), size, size)]
    for chunk in (boxes * scale).split(CHUNK):
        columns = axis_weights(chunk[:, 0], chunk[:, 2], features.shape[2], size, sampling)
        rows = axis_weights(chunk[:, 1], chunk[:, 3], features.shape[1], size, sampling)
        pooled.append(torch.einsum("nph,chw,nqw->ncpq", rows, features, columns))
    return torch.cat(pooled)


def axis_weights(start: Tensor, end: Tensor, cells: int, size: int, sampling: int) -> Tensor:
    """How much each of a map's cells counts in each bin of each ROI along one axis: (n, size, cells)."""
    length = (end - start).clamp(min=1)
    samples = torch.full_like(length, sampling) if sampling else (length / size).ceil()
    nth = torch.arange(int(samples.max()) if len(samples) else 1)
    share = (nth + 0.5) * (length / size / samples)[:, None]  # (n, samples), from the start of a bin
    places = (start[:, None] + torch.arange(size) * (length / size)[:, None])[:, :, None] + share[:, None]
    counts = (nth < samples[:, None])[:, None] & (places >= -1) & (places <= cells)  # (n, size, samples)
    distance = places.clamp(0, cells - 1)[..., None] - torch.arange(cells)
    tent = (1 - distance.abs()).clamp(min=0) * counts[..., None]
    return tent.sum(dim=2) / samples[:, None, None]


def pool_levels(maps: list[Tensor], boxes: Tensor, levels: Tensor, scales: list[float], size: int) -> Tensor:
    """Pool each box (n, 4) from the map of its level (n,), two samples a bin and side."""
    pooled = torch.zeros(len(boxes), len(maps[0]), size, size)
    for level, (features, scale) in enumerate(zip(maps, scales, strict=True)):
        here = levels == level
        pooled[here] = roi_align(features, boxes[here], scale, size, sampling=2)
    return pooled
