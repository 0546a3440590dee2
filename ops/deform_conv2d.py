"""Deformable convolution, versions 1 and 2: the op ``maskrcnn::deform_conv2d``."""

import torch
from torch import Tensor

from ops import library  # noqa: F401  (the op must exist before its fake)
from ops.inference_only import refuse_gradients


def deform_conv2d(
    features: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Tensor:
    """Convolve a feature map at places that an offset moves, each sample weighted by a mask if there is one.

    Args:
        features: (B, C, H, W) float32, float16 or bfloat16, any strides. Channels-last memory is read as it
            lies; any other layout is copied once.
        weight: (O, C / groups, kh, kw), dtype of ``features``; its second size says how many groups there are.
            Channels-last memory spares a copy.
        offset: (B, 2 * offset_groups * kh * kw, H', W'), dtype of ``features``, in cells of the map. Channels
            go by offset group, kernel row, kernel column, and then y before x. Each offset group moves its
            share of the channels.
        mask: (B, offset_groups * kh * kw, H', W'), dtype of ``features``: what each sample is multiplied by,
            after its sigmoid (version 2). None multiplies by 1 (version 1).
        bias: (O,), dtype of ``features``.
        stride: Cells of the map from one output cell to the next, along both axes.
        padding: Cells of zeros around the map, on every side.
        dilation: Cells of the map from one tap of the kernel to the next, along both axes.

    Returns:
        (B, O, H', W') in channels-last memory, dtype and device of ``features``. A sample lies between four
        cells, those outside the map being 0; at y <= -1, y >= H, x <= -1 or x >= W, and where its offset is
        NaN, it is 0. Sums are float32; on a GPU the samples are rounded to the dtype first, and the sum before
        the bias is added.

    Raises:
        RuntimeError: A shape, a dtype, a device or a number does not fit.

    Source:
        Deformable Convolutional Networks, Dai et al. 2017, section 2.1; Deformable ConvNets v2, Zhu et al.
        2019, section 3.2; order of the channels and edges as in maskrcnn-benchmark, Detectron2 and torchvision.
    """
    convolved: Tensor = torch.ops.maskrcnn.deform_conv2d(
        features, weight, offset, mask, bias, stride=stride, padding=padding, dilation=dilation
    )
    return convolved


@torch.library.register_fake("maskrcnn::deform_conv2d")
def _(
    features: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Tensor:
    shape = (features.size(0), weight.size(0), offset.size(2), offset.size(3))
    return torch.empty(shape, dtype=features.dtype, device=features.device, memory_format=torch.channels_last)


refuse_gradients("deform_conv2d")
