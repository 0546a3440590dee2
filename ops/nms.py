"""Non-maximum suppression, over all boxes or class by class."""

import torch
from torch import Tensor

from ops.inference_only import refuse_gradients


def nms(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    classes: Tensor | None = None,
    *,
    legacy: bool = False,
    inclusive: bool = False,
) -> Tensor:
    """Keep the best of each heap of overlapping boxes.

    Args:
        boxes: (N, 4) float32, x1 y1 x2 y2. A box with a NaN is kept and suppresses nothing.
        scores: (N,) float32. A NaN ranks last.
        iou_threshold: Intersection over union above which the lower-scored box goes. The float32 IoU is compared
            with this double as it is.
        classes: (N,) int64, any values: boxes of different classes leave each other alone. None: one class.
        legacy: Count the last pixel into a box: width = x2 - x1 + 1.
        inclusive: A box whose IoU is the threshold itself goes too.

    Returns:
        (K,) int64 on the device of ``boxes``, indices of the kept boxes, best first; of equal scores the lower
        index comes first. Only the GPU knows K, so there this op waits for it, and no CUDA graph can hold it.

    Raises:
        RuntimeError: A shape, a dtype or a device does not fit, or the threshold is NaN.

    Source:
        ``torchvision.ops.nms``. With ``classes``, ``torchvision.ops.batched_nms`` without its offsets, which round.
        maskrcnn-benchmark: ``legacy``, and ``inclusive`` on the CPU.
    """
    kept: Tensor = torch.ops.maskrcnn.nms(boxes, scores, iou_threshold, classes, legacy=legacy, inclusive=inclusive)
    return kept


@torch.library.register_fake("maskrcnn::nms")
def _(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    classes: Tensor | None = None,
    legacy: bool = False,
    inclusive: bool = False,
) -> Tensor:
    kept = torch.library.get_ctx().new_dynamic_size()
    return boxes.new_empty((kept,), dtype=torch.int64)


refuse_gradients("nms")
