"""Pooling of boxes from the pyramid level that fits each: the op ``maskrcnn::pyramid_roi_align``."""

import torch
from torch import Tensor

from ops import library  # noqa: F401  (the op must exist before its fake)
from ops.inference_only import refuse_gradients


def pyramid_roi_align(
    boxes: Tensor,
    counts: Tensor,
    level0: Tensor,
    level1: Tensor | None = None,
    level2: Tensor | None = None,
    level3: Tensor | None = None,
    level4: Tensor | None = None,
    level5: Tensor | None = None,
    *,
    spatial_scales: list[float],
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int = -1,
    aligned: bool = False,
    canonical_level: int = 4,
    canonical_size: float = 224.0,
    ratio_epsilon: float = 0.0,
    level_epsilon: float = 1e-6,
    legacy: bool = False,
) -> Tensor:
    """Pool each box from the pyramid level that fits its size.

    The level is ``floor(canonical_level + log2(sqrt(area) / canonical_size + ratio_epsilon) + level_epsilon)``
    in float32, clamped to the levels given. Sampling is that of :func:`ops.roi_align`.

    Args:
        boxes: float32, x1 y1 x2 y2 in pixels of the canvas: (B, P, 4), each image's first ``counts`` rows
            valid, or (K, 4) packed in image order.
        counts: (B) int64, boxes of each image.
        level0: (B, C, H, W) float32, float16 or bfloat16, the finest level. Channels-last memory is read as it
            lies; any other layout is copied once. The further levels are arguments of their own, without a gap.
        level1: Like ``level0``, half its height and width; so on to ``level5``.
        level2: See ``level1``.
        level3: See ``level1``.
        level4: See ``level1``.
        level5: See ``level1``.
        spatial_scales: Cells per pixel, one a level: powers of two, each half of the one before.
        pooled_height: Bins from top to bottom.
        pooled_width: Bins from left to right.
        sampling_ratio: Samples a side of each bin, at most 1024; 0 or less takes as many as the bin has cells,
            rounded up.
        aligned: Shift by half a cell; without it a box is at least one cell wide and high.
        canonical_level: Level of a box with sides of ``canonical_size``, as a power of two of its stride.
        canonical_size: In pixels.
        ratio_epsilon: Added inside the logarithm (maskrcnn-benchmark 1e-6, Detectron2 1e-8).
        level_epsilon: Added outside it (torchvision 1e-6).
        legacy: Count both edge pixels of a box in its area (maskrcnn-benchmark).

    Returns:
        (B * P or K, C, pooled_height, pooled_width) in channels-last memory, dtype and device of the levels.
        Rows past the counts are 0, and so are boxes of negative or NaN area. On a GPU a count that does not fit
        is clamped to the boxes that are left.

    Raises:
        RuntimeError: A shape, a dtype, a device or a number does not fit; on the CPU also a count that is
            negative or larger than the boxes there.

    Source:
        Feature Pyramid Networks, Lin et al. 2017, equation 1; level rules of the three frameworks as above.
    """
    pooled: Tensor = torch.ops.maskrcnn.pyramid_roi_align(
        boxes,
        counts,
        level0,
        level1,
        level2,
        level3,
        level4,
        level5,
        spatial_scales=spatial_scales,
        pooled_height=pooled_height,
        pooled_width=pooled_width,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
        canonical_level=canonical_level,
        canonical_size=canonical_size,
        ratio_epsilon=ratio_epsilon,
        level_epsilon=level_epsilon,
        legacy=legacy,
    )
    return pooled


@torch.library.register_fake("maskrcnn::pyramid_roi_align")
def _(
    boxes: Tensor,
    counts: Tensor,
    level0: Tensor,
    *_levels: Tensor | None,
    pooled_height: int,
    pooled_width: int,
    **_rule: object,
) -> Tensor:
    rows = boxes.size(0) if boxes.dim() == 2 else boxes.size(0) * boxes.size(1)
    shape = (rows, level0.size(1), pooled_height, pooled_width)
    return torch.empty(shape, dtype=level0.dtype, device=level0.device, memory_format=torch.channels_last)


refuse_gradients("pyramid_roi_align")
