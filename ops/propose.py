"""Region proposals: anchors, deltas and objectness of all levels to the best boxes of each image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ops.inference_only import refuse_gradients


def propose(
    image_sizes: Tensor,
    cell_anchors: Tensor,
    objectness0: Tensor,
    deltas0: Tensor,
    objectness1: Tensor | None = None,
    deltas1: Tensor | None = None,
    objectness2: Tensor | None = None,
    deltas2: Tensor | None = None,
    objectness3: Tensor | None = None,
    deltas3: Tensor | None = None,
    objectness4: Tensor | None = None,
    deltas4: Tensor | None = None,
    objectness5: Tensor | None = None,
    deltas5: Tensor | None = None,
    *,
    strides: Sequence[int],
    pre_nms_top_n: int,
    post_nms_top_n: int,
    nms_threshold: float,
    box_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    min_size: float = 0.0,
    score_threshold: float | None = None,
    sigmoid: bool = True,
    strides_from_grid: bool = False,
    legacy: bool = False,
    inclusive: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Turn what the region proposal network says of each anchor into the best boxes of each image.

    In a level, an anchor's number is ``(row * W + column) * A + a``. Per level: the ``pre_nms_top_n`` best logits,
    decoded, clipped to the image, filtered and suppressed; then the best of all levels. Of equal logits the lower
    number is better, of equal scores the lower level. A NaN logit counts as minus infinity; a box with a NaN side
    is dropped.

    Args:
        image_sizes: (B, 2) int64, height and width of each picture in pixels of the canvas, without its padding.
        cell_anchors: (L, A, 4) float32, anchors of each level's first cell, x1 y1 x2 y2 in pixels of the canvas.
        objectness0: (B, A, H, W) float32, float16 or bfloat16 with any strides, logits of the first level.
        deltas0: (B, 4A, H, W) of the same dtype; channel 4a + (0, 1, 2, 3) is dx, dy, dw, dh of anchor a.
        objectness1: The next level, and so on; as many as ``cell_anchors`` has.
        deltas1: As above.
        objectness2: As above.
        deltas2: As above.
        objectness3: As above.
        deltas3: As above.
        objectness4: As above.
        deltas4: As above.
        objectness5: As above.
        deltas5: As above.
        strides: Pixels between two cells, one a level.
        pre_nms_top_n: Candidates per level and image.
        post_nms_top_n: Proposals per image.
        nms_threshold: Intersection over union above which the lower-scored box of a level goes.
        box_weights: Divisors of dx, dy, dw and dh.
        min_size: Least width and height of a clipped box, in pixels. For "larger than 0" give the least float32
            above it.
        score_threshold: Least score, if any.
        sigmoid: Scores are the sigmoid of the logits; else the logits themselves.
        strides_from_grid: Beyond the first level, an axis's stride is ``strides[0] * cells of level 0 // cells``.
        legacy: Count the last pixel into a box: width = x2 - x1 + 1, and clip to size - 1.
        inclusive: A box whose IoU is the threshold itself goes too.

    Returns:
        boxes (B, P, 4) float32 on the canvas, best first; scores (B, P) float32; counts (B,) int64. P is the
        smaller of ``post_nms_top_n`` and the sum over levels of ``min(pre_nms_top_n, A * H * W)``; rows past an
        image's count are zero. On a GPU nothing waits for it, and a CUDA graph can hold the op.

    Raises:
        RuntimeError: A shape, a dtype, a device, the order of the levels or an option does not fit.

    Source:
        Faster R-CNN, Ren et al. 2015, section 3.1. torchvision: ``strides_from_grid``, ``min_size=1e-3``,
        ``score_threshold=0.0``. Detectron2: ``sigmoid=False``. maskrcnn-benchmark: ``legacy``.
    """
    boxes, scores, counts = torch.ops.maskrcnn.propose(
        image_sizes, cell_anchors, objectness0, deltas0, objectness1, deltas1, objectness2, deltas2,
        objectness3, deltas3, objectness4, deltas4, objectness5, deltas5,
        strides=strides, pre_nms_top_n=pre_nms_top_n, post_nms_top_n=post_nms_top_n, nms_threshold=nms_threshold,
        box_weights=box_weights, min_size=min_size, score_threshold=score_threshold, sigmoid=sigmoid,
        strides_from_grid=strides_from_grid, legacy=legacy, inclusive=inclusive,
    )  # fmt: skip
    return boxes, scores, counts


@torch.library.register_fake("maskrcnn::propose")
def _(
    image_sizes: Tensor,
    cell_anchors: Tensor,
    objectness0: Tensor,
    deltas0: Tensor,
    *levels: Tensor | None,
    pre_nms_top_n: int,
    post_nms_top_n: int,
    **_options: object,
) -> tuple[Tensor, Tensor, Tensor]:
    images, rows = image_sizes.size(0), 0
    for objectness in (objectness0, *levels[::2]):
        if objectness is not None:
            anchors, height, width = objectness.shape[1:]
            rows += torch.sym_min(pre_nms_top_n, anchors * height * width)  # type: ignore[no-untyped-call]
    rows = torch.sym_min(post_nms_top_n, rows)  # type: ignore[no-untyped-call]
    boxes, scores = cell_anchors.new_empty((images, rows, 4)), cell_anchors.new_empty((images, rows))
    return boxes, scores, image_sizes.new_empty((images,))


refuse_gradients("propose")
