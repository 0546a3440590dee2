"""Stretches each instance's small mask over its box on an image-sized plane."""

import torch
from torch import Tensor

from ops.inference_only import refuse_gradients


def paste_masks(
    probs: Tensor,
    boxes: Tensor,
    height: int,
    width: int,
    threshold: float = 0.5,
    *,
    rule: str = "exact",
    inclusive: bool = True,
) -> Tensor:
    """Stretch each instance's small mask over its box on an image-sized plane.

    The mask is surrounded by one ring of zeros and read bilinearly at the centre of each pixel. A pixel beyond
    that ring never belongs to the instance, whatever the threshold; nor does any pixel to a box that is empty,
    inverted or not finite.

    Args:
        probs: (N, M, M) float32, mask probabilities in [0, 1]; others are clamped, NaN counts as 0.
        boxes: (N, 4) float32, x1 y1 x2 y2 in pixels of the image; may reach past its edges.
        height: Height of the image, in pixels, at most 65,535.
        width: Width of the image, in pixels, at most 65,535.
        threshold: Probability from which on a pixel belongs to the instance, rounded to float32.
        rule: ``"exact"`` lays the mask over the box as it is. ``"integer"`` widens the box by (M + 2) / M about
            its centre, cuts the corners to integers and lays the mask with its ring over the pixels from corner
            to corner, both included.
        inclusive: Whether a pixel at exactly ``threshold`` belongs.

    Returns:
        (N, height, width) bool on the device of ``probs``.

    Raises:
        RuntimeError: A shape, a dtype, the rule or the image size does not fit, or an input requires grad.

    Source:
        Mask R-CNN, He et al. 2017, section 3.1. ``"exact"`` with ``inclusive`` is Detectron2's convention,
        ``"integer"`` without it that of maskrcnn-benchmark and torchvision.
    """
    pasted: Tensor = torch.ops.maskrcnn.paste_masks(
        probs, boxes, height, width, threshold, rule=rule, inclusive=inclusive
    )
    return pasted


@torch.library.register_fake("maskrcnn::paste_masks")
def _(
    probs: Tensor,
    boxes: Tensor,
    height: int,
    width: int,
    threshold: float = 0.5,
    *,
    rule: str = "exact",
    inclusive: bool = True,
) -> Tensor:
    return probs.new_empty((probs.size(0), height, width), dtype=torch.bool)


refuse_gradients("paste_masks")
