"""Where a picture lies on the network's canvas, and the way back.

Sizes are (height, width). A picture is resized, laid on the top left corner of a canvas whose sides the network can
halve as often as it must, and the rest of the canvas is zero.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from handler.model_card import Preprocessing

Size = tuple[int, int]


@dataclass(frozen=True)
class Pass:
    """Pictures that share one run of the network.

    Attributes:
        canvas: Height and width of the canvas that all of them have.
        indices: Their positions in the list of all pictures, ascending.
    """

    canvas: Size
    indices: tuple[int, ...]

    def cut(self, counts: Sequence[int]) -> "list[Pass]":
        """The same pictures in passes of so many each.

        Args:
            counts: Their sum is the number of pictures.
        """
        ends = list(accumulate(counts, initial=0))
        return [Pass(self.canvas, self.indices[begin:end]) for begin, end in pairwise(ends)]


def resized_size(height: int, width: int, preprocessing: Preprocessing) -> Size:
    """Size of a picture after resizing, to the pixel as the training framework computes it.

    Args:
        height: Height of the picture, in pixels.
        width: Width of the picture, in pixels.
        preprocessing: Names the rule and its limits.

    Returns:
        Height and width, at least 1 each.

    Source:
        The resize transforms of torchvision, Detectron2 and maskrcnn-benchmark; the order of the float operations
        decides the last pixel (480 x 640 is 800 x 1066 in two of them and 800 x 1067 in the third).
    """
    size = _SIZE_RULES[preprocessing.size_rule](height, width, preprocessing.min_size, preprocessing.max_size)
    return max(size[0], 1), max(size[1], 1)


def _torchvision_size(height: int, width: int, min_size: int, max_size: int) -> Size:
    scale = min(min_size / min(height, width), max_size / max(height, width))
    return math.floor(height * scale), math.floor(width * scale)


def _detectron2_size(height: int, width: int, min_size: int, max_size: int) -> Size:
    scale = min_size / min(height, width)
    # Only the longer side is a product: shorter * (min_size / shorter) may miss min_size by a rounding.
    tall, wide = (float(min_size), scale * width) if height < width else (scale * height, float(min_size))
    if max(tall, wide) > max_size:
        shrink = max_size / max(tall, wide)
        tall, wide = tall * shrink, wide * shrink
    return int(tall + 0.5), int(wide + 0.5)


def _maskrcnn_benchmark_size(height: int, width: int, min_size: int, max_size: int) -> Size:
    shorter, longer = min(height, width), max(height, width)
    size = min_size
    if longer / shorter * size > max_size:
        size = round(max_size * shorter / longer)
    if shorter == size:
        return height, width
    return (int(size * height / width), size) if width < height else (size, int(size * width / height))


_SIZE_RULES = {
    "torchvision": _torchvision_size,
    "detectron2": _detectron2_size,
    "maskrcnn_benchmark": _maskrcnn_benchmark_size,
}


def canvas_size(height: int, width: int, preprocessing: Preprocessing) -> Size:
    """Size of the canvas of one picture: its resized sides, rounded up to the size divisor.

    Args:
        height: Height after resizing.
        width: Width after resizing.
        preprocessing: Names the divisor.
    """
    divisor = preprocessing.size_divisor
    return math.ceil(height / divisor) * divisor, math.ceil(width / divisor) * divisor


def plan_passes(canvases: Sequence[Size], max_pass_size: int) -> list[Pass]:
    """Group pictures into passes, so that no picture is computed on a larger canvas than its own.

    The first layers have biases, so padding beyond a picture's own canvas changes its numbers near the border:
    its answer would depend on what else is in the batch.

    Args:
        canvases: Canvas of each picture.
        max_pass_size: Most pictures of one pass.

    Returns:
        Passes in the order of their first pictures; each picture is in one of them.
    """
    groups: dict[Size, list[int]] = {}
    for index, canvas in enumerate(canvases):
        groups.setdefault(canvas, []).append(index)
    return [
        Pass(canvas, tuple(indices[start : start + max_pass_size]))
        for canvas, indices in groups.items()
        for start in range(0, len(indices), max_pass_size)
    ]


def boxes_on_image(boxes_on_canvas: Tensor, sizes_on_canvas: Tensor, image_sizes: Tensor, clip: bool) -> Tensor:
    """Take boxes from the canvas back to the pictures.

    Args:
        boxes_on_canvas: (B, D, 4) float32, x1 y1 x2 y2.
        sizes_on_canvas: (B, 2) int64 on their device, height and width of each picture after resizing.
        image_sizes: (B, 2) int64 on their device, height and width of each picture.
        clip: Clip the boxes to their picture.

    Returns:
        (B, D, 4) float32, in pixels of the picture.

    Source:
        Ratios are divided in float32 as torchvision does; the two others divide in float64 and then round to float32,
        which is the same number for sides below 2 ** 24.
    """
    boxes = boxes_on_canvas * _as_corners(image_sizes.float() / sizes_on_canvas.float())
    if clip:
        limits = _as_corners(image_sizes).to(boxes.dtype)
        boxes = torch.minimum(boxes.clamp(min=0), limits)
    return boxes


def _as_corners(sizes: Tensor) -> Tensor:
    """(B, 2) heights and widths -> (B, 1, 4) width, height, width, height; a list as an index would be uploaded."""
    return sizes.flip(1).repeat(1, 2).unsqueeze(1)
