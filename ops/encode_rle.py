"""Encodes masks as COCO run lengths without ever making image-sized planes."""

import torch
from torch import Tensor

from ops.inference_only import refuse_gradients


def encode_rle(
    probs: Tensor,
    boxes: Tensor,
    image_sizes: Tensor,
    thresholds: Tensor,
    *,
    rule: str = "exact",
    inclusive: bool = True,
) -> tuple[Tensor, Tensor]:
    """Encode each instance's mask as the COCO run lengths of the plane that ``paste_masks`` would give.

    The strings equal, byte for byte, those of pasting the mask and compressing the plane; only the borders are
    searched for, so the cost follows the outline, not the area. On a GPU the call waits for the device once, since the
    length of ``counts`` must be known; so no CUDA graph can hold it.

    Args:
        probs: (N, M, M) float32, mask probabilities in [0, 1]; others are clamped, NaN counts as 0.
        boxes: (N, 4) float32, x1 y1 x2 y2 in pixels of the instance's own image; may reach past its edges.
        image_sizes: (N, 2) int64, (height, width) of each instance's image, in pixels, from 1 to 65,535.
        thresholds: (N,) float32, probability from which on a pixel belongs to the instance.
        rule: ``"exact"`` or ``"integer"``; see ``paste_masks``.
        inclusive: Whether a pixel at exactly the threshold belongs.

    Returns:
        counts: (T,) uint8, the compressed strings one after another, ASCII.
        offsets: (N + 1,) int64; the string of instance i is ``counts[offsets[i]:offsets[i + 1]]``.

    Raises:
        RuntimeError: A shape, a dtype, the rule or an image size does not fit, or an input requires grad.

    Source:
        Run lengths: the compressed form of the COCO API (``rleToString``). Rules: see ``paste_masks``.
    """
    counts, offsets = torch.ops.maskrcnn.encode_rle(
        probs, boxes, image_sizes, thresholds, rule=rule, inclusive=inclusive
    )
    return counts, offsets


@torch.library.register_fake("maskrcnn::encode_rle")
def _(
    probs: Tensor,
    boxes: Tensor,
    image_sizes: Tensor,
    thresholds: Tensor,
    *,
    rule: str = "exact",
    inclusive: bool = True,
) -> tuple[Tensor, Tensor]:
    length = torch.library.get_ctx().new_dynamic_size()
    return (
        probs.new_empty((length,), dtype=torch.uint8),
        probs.new_empty((probs.size(0) + 1,), dtype=torch.int64),
    )


refuse_gradients("encode_rle")
