"""Detections: class scores and box deltas of every proposal to the best boxes of each image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ops.inference_only import refuse_gradients


def select_detections(
    class_scores: Tensor,
    box_deltas: Tensor,
    proposals: Tensor,
    counts: Tensor,
    image_sizes: Tensor,
    *,
    score_threshold: float,
    nms_threshold: float,
    max_detections: int,
    box_weights: Sequence[float],
    activation: str = "softmax",
    background_first: bool = True,
    min_size: float = 0.0,
    legacy: bool = False,
    inclusive: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Turn what the box head says of each proposal into the best detections of each image.

    Best first; of equal scores the lower proposal row comes first, then the lower label. A NaN score, and a box
    with a NaN side, is dropped.

    Args:
        class_scores: (B * P, C) float32, float16 or bfloat16, row ``b * P + p`` for proposal p of image b.
        box_deltas: (B * P, 4C) of the same dtype, dx, dy, dw, dh of each class; (B * P, 4 * (C - 1)) without the
            background's; or (B * P, 4), the same for all classes.
        proposals: (B, P, 4) float32, x1 y1 x2 y2 on the canvas.
        counts: (B,) int64, how many of the P rows each image fills; the others are ignored.
        image_sizes: (B, 2) int64, height and width of each picture in pixels of the canvas, without its padding.
        score_threshold: Score above which a class of a proposal is a candidate.
        nms_threshold: Intersection over union above which the lower-scored box of a class goes.
        max_detections: D, detections per image.
        box_weights: Divisors of dx, dy, dw and dh.
        activation: What makes scores of ``class_scores``: "softmax", "sigmoid" or "none".
        background_first: Column 0 is the background, whatever the activation; else the last column is.
        min_size: Least width and height of a clipped box, in pixels.
        legacy: Count the last pixel into a box: width = x2 - x1 + 1, and clip to size - 1.
        inclusive: A box whose IoU is the threshold itself goes too.

    Returns:
        boxes (B, D, 4) float32 on the canvas; scores (B, D) float32; labels (B, D) int64, columns of
        ``class_scores``; proposal_rows (B, D) int64 in [0, P); counts (B,) int64. Rows past an image's count are
        zero.

    Raises:
        RuntimeError: A shape, a dtype, a device or an option does not fit.

    Source:
        Fast R-CNN, Girshick 2015, section 3. torchvision: ``min_size=1e-2``. Detectron2:
        ``background_first=False``. maskrcnn-benchmark: ``legacy``.
    """
    boxes, scores, labels, proposal_rows, kept = torch.ops.maskrcnn.select_detections(
        class_scores, box_deltas, proposals, counts, image_sizes,
        score_threshold=score_threshold, nms_threshold=nms_threshold, max_detections=max_detections,
        box_weights=box_weights, activation=activation, background_first=background_first, min_size=min_size,
        legacy=legacy, inclusive=inclusive,
    )  # fmt: skip
    return boxes, scores, labels, proposal_rows, kept


@torch.library.register_fake("maskrcnn::select_detections")  # type: ignore[untyped-decorator]
def _(
    class_scores: Tensor,
    box_deltas: Tensor,
    proposals: Tensor,
    counts: Tensor,
    image_sizes: Tensor,
    *,
    max_detections: int,
    **_options: object,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    images = proposals.size(0)
    return (
        proposals.new_empty((images, max_detections, 4)),
        proposals.new_empty((images, max_detections)),
        counts.new_empty((images, max_detections)),
        counts.new_empty((images, max_detections)),
        counts.new_empty((images,)),
    )


refuse_gradients("select_detections")
