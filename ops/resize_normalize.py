"""Pictures of any size to one padded, normalised canvas."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

import ops.library  # noqa: F401 - registers the op


def resize_normalize(
    images: Sequence[Tensor],
    sizes: Tensor,
    height: int,
    width: int,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    divisor: float = 255.0,
    filter: Literal["bilinear", "pillow"] = "bilinear",
    bgr: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Resize each picture, normalise it and lay it in the top left corner of its plane of one canvas.

    The value of a pixel is ``(pixel / divisor - mean) / std`` in float32; the canvas right of and below a picture
    is 0. Nothing here can require grad. The pictures may be views of one upload.

    In one TorchScript graph (traced or scripted) no two calls may be given the same list, or lists of the same
    tensors, which TorchScript merges: the first call takes the tensors out, and the second one raises. For the same
    reason a scripted function must not use a list after it gave it to this op.

    Args:
        images: B tensors of (H, W, 3) uint8, RGB, any strides, all on one device; sides in [1, 2 ** 24].
        sizes: (B, 2) int64 on the CPU, (height, width) of each picture after resizing, in pixels; at least 1.
        height: Height of the canvas, in pixels; no picture may be higher.
        width: Width of the canvas, in pixels; no picture may be wider.
        mean: Three numbers, in the order of the output's channels, in units of ``pixel / divisor``.
        std: Three numbers other than 0, likewise.
        divisor: Divides the 8-bit values first: 255 or 1.
        filter: ``bilinear`` normalises, then interpolates between pixel centres without antialiasing; ``pillow``
            resizes 8-bit values with antialiasing, bit for bit as Pillow does, then normalises.
        bgr: The output's channels are blue, green, red.
        dtype: float32 (the default), float16 or bfloat16; the arithmetic is float32.

    Returns:
        (B, 3, height, width) ``dtype`` in channels-last memory, on the device of the pictures.

    Raises:
        RuntimeError: An argument does not fit; the text says which and what was expected.

    Source:
        ``bilinear``: ``torch.nn.functional.interpolate(..., mode="bilinear", align_corners=False)``, to 1e-6 where
        values are of order 1. ``pillow``: ``PIL.Image.Image.resize(size, Image.Resampling.BILINEAR)`` of Pillow 13;
        Pillow 12 rounds some pixels to a neighbouring value where a picture loses more than twice as many rows as
        columns, as tall ones do.
    """
    result: Tensor = torch.ops.maskrcnn.resize_normalize(
        images, sizes, height, width, mean=mean, std=std, divisor=divisor, filter=filter, bgr=bgr, dtype=dtype
    )
    return result


@torch.library.register_fake("maskrcnn::resize_normalize")  # torch leaves it untyped
def _(
    images: Sequence[Tensor],
    sizes: Tensor,
    height: int,
    width: int,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    divisor: float = 255.0,
    filter: str = "bilinear",
    bgr: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    return torch.empty(
        (len(images), 3, height, width),
        dtype=dtype or torch.float32,
        device=images[0].device if images else sizes.device,
        memory_format=torch.channels_last,
    )
