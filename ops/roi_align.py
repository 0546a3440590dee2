"""Pooling of regions of one feature map: the op ``maskrcnn::roi_align``."""

import torch
from torch import Tensor

from ops import library  # noqa: F401  (the op must exist before its fake)
from ops.inference_only import refuse_gradients


def roi_align(
    features: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Average bilinear samples of a feature map over a grid of bins in each roi.

    Args:
        features: (B, C, H, W) float32, float16 or bfloat16, any strides. Channels-last memory is read as it
            lies; any other layout is copied once. Sums are float32.
        rois: (N, 5) float32: image index, then x1 y1 x2 y2 in pixels of the image; may reach past its edges.
        spatial_scale: Cells of the map per pixel of the image.
        pooled_height: Bins from top to bottom.
        pooled_width: Bins from left to right.
        sampling_ratio: Samples a side of each bin, at most 1024; 0 or less takes as many as the bin has cells,
            rounded up.
        aligned: Shift by half a cell, so that a sample at a cell's centre is that cell. Without it a roi is at
            least one cell wide and high.

    Returns:
        (N, C, pooled_height, pooled_width) in channels-last memory, dtype and device of ``features``. Samples
        outside [-1, H] x [-1, W] count as 0. A roi with a NaN or an Inf is 0, and so is one with more than
        2^24 adaptive samples a bin; on a GPU also one of an image outside the batch.

    Raises:
        RuntimeError: A shape, a dtype, a device or a number does not fit; on the CPU also an image index
            outside the batch.

    Source:
        Mask R-CNN, He et al. 2017, section 3; edges, rounding and ``aligned`` as in torchvision.
    """
    pooled: Tensor = torch.ops.maskrcnn.roi_align(
        features, rois, spatial_scale, pooled_height, pooled_width, sampling_ratio, aligned
    )
    return pooled


@torch.library.register_fake("maskrcnn::roi_align")
def _(
    features: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    shape = (rois.size(0), features.size(1), pooled_height, pooled_width)
    return torch.empty(shape, dtype=features.dtype, device=features.device, memory_format=torch.channels_last)


refuse_gradients("roi_align")
