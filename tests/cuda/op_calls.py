"""One call of each op at the sizes of a real model (800 x 1344, eight pictures at the most), made on the CPU."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

import ops
from benchmarks.op_cases import MEAN, STD, random_boxes

STRIDES = (4, 8, 16, 32, 64)
HEIGHT, WIDTH = 800, 1344


@dataclass(frozen=True)
class Call:
    """An op and what it is given.

    Attributes:
        op: Of ``ops``.
        tensors: Its positional arguments, lists of tensors included.
        options: Its keyword arguments.
        on_host: Positions of the arguments that stay on the CPU whatever the device.
    """

    op: Callable[..., Any]
    tensors: tuple[Any, ...]
    options: dict[str, Any]
    on_host: tuple[int, ...] = ()

    def to(self, device: torch.device) -> "Call":
        """The same with its inputs on another device."""
        moved = (each if index in self.on_host else _moved(each, device) for index, each in enumerate(self.tensors))
        return replace(self, tensors=tuple(moved))

    def __call__(self) -> tuple[Tensor, ...]:
        results = self.op(*self.tensors, **self.options)
        return (results,) if isinstance(results, Tensor) else tuple(results)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    return [each.to(device) for each in value] if isinstance(value, list) else value


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def boxes_of(images: int, count: int, seed: int) -> Tensor:
    return torch.stack([random_boxes(count, HEIGHT, WIDTH, seed + image) for image in range(images)])


def maps(images: int, channels: int, strides: Sequence[int], seed: int, dtype: torch.dtype) -> list[Tensor]:
    made = (
        torch.randn(images, channels, -(-HEIGHT // stride), -(-WIDTH // stride), generator=generator(seed + stride))
        for stride in strides
    )
    return [each.to(dtype).contiguous(memory_format=torch.channels_last) for each in made]


def propose(images: int = 8, dtype: torch.dtype = torch.float32, growth: float = 0.0, seed: int = 0) -> Call:
    """Logits of a level are distinct, so their order is certain; they are the scores, too.

    ``growth`` scales the deltas of width and height: without them no exp is taken, whose last bit is a device's own.
    """
    tensors = []
    for number, stride in enumerate(STRIDES):
        height, width = -(-HEIGHT // stride), -(-WIDTH // stride)
        count = height * width * 3
        ranks = [torch.randperm(count, generator=generator(seed + 10 * number + image)) for image in range(images)]
        logits = (torch.stack(ranks).view(images, height, width, 3) / count - 0.5) * 8
        deltas = torch.randn(images, height, width, 3, 4, generator=generator(seed + number)) * 0.2
        deltas[..., 2:] *= growth
        fused = torch.cat([logits, deltas.flatten(3)], 3).to(dtype).permute(0, 3, 1, 2)
        tensors += [fused[:, :3], fused[:, 3:]]
    sizes = torch.tensor([[HEIGHT - 7 * image, WIDTH - 31 * image] for image in range(images)])
    sides = torch.tensor([32.0, 64, 128, 256, 512])
    half = sides[:, None, None] * torch.tensor([[2**0.5, 0.5**0.5], [1, 1], [0.5**0.5, 2**0.5]]) / 2
    cells = torch.cat([-half, half], 2).round()
    options = {"strides": list(STRIDES), "strides_from_grid": True, "min_size": 1e-3, "sigmoid": False}
    options |= {"pre_nms_top_n": 1000, "post_nms_top_n": 1000, "nms_threshold": 0.7}
    return Call(ops.propose, (sizes, cells, *tensors), options)


def pyramid(
    side: int, count: int, channels: int = 256, images: int = 2, dtype: torch.dtype = torch.float32, ratio: int = 2
) -> Call:
    counts = torch.tensor([count, count // 2, 0, 1, count, count, 3, count][:images])
    options = {"spatial_scales": [1 / stride for stride in STRIDES[:4]], "pooled_height": side, "pooled_width": side}
    options |= {"sampling_ratio": ratio}
    levels = maps(images, channels, STRIDES[:4], 1, dtype)
    return Call(ops.pyramid_roi_align, (boxes_of(images, count, 2), counts, *levels), options)


def roi_align(dtype: torch.dtype = torch.float32) -> Call:
    level = maps(2, 64, [8], 3, dtype)[0]
    rois = torch.cat([torch.arange(200)[:, None] % 2, boxes_of(1, 200, 4)[0]], 1)
    return Call(ops.roi_align, (level, rois, 1 / 8, 7, 7, 0, True), {})


def deform(dtype: torch.dtype = torch.float32, groups: int = 1, masked: bool = True) -> Call:
    """The second convolution of a block of C4; sums come out near 1."""
    (level,) = maps(2, 256, [16], 15, dtype)
    made = generator(16)
    weight = torch.randn(256, 256 // groups, 3, 3, generator=made) / (9 * 256 / groups) ** 0.5
    offset, mask = (torch.randn(2, count, *level.shape[2:], generator=made) for count in (18, 9))
    tensors = (weight, offset * 2, mask.sigmoid() if masked else None, torch.randn(256, generator=made))
    given = (None if each is None else each.to(dtype) for each in tensors)
    return Call(ops.deform_conv2d, (level, *given), {"padding": 1})


def select(images: int = 8, classes: int = 91, growth: float = 0.0, activation: str = "none") -> Call:
    """Scores are distinct; ``growth`` as in ``propose``."""
    rows = images * 1000
    ranks = torch.randperm(rows * classes, generator=generator(5)).view(rows, classes)
    scores = ranks / (rows * classes)
    scores = scores if activation == "none" else (scores - 0.5) * 12
    deltas = torch.randn(rows, classes, 4, generator=generator(6))
    deltas[..., 2:] *= growth
    counts = torch.tensor([1000, 900, 1, 0, 1000, 512, 33, 7][:images])
    sizes = torch.tensor([[HEIGHT, WIDTH - 50 * image] for image in range(images)])
    options = {"score_threshold": 0.9 if activation == "none" else 0.05, "nms_threshold": 0.5, "max_detections": 100}
    options |= {"box_weights": [10.0, 10.0, 5.0, 5.0], "min_size": 1e-2, "activation": activation}
    return Call(ops.select_detections, (scores, deltas.flatten(1), boxes_of(images, 1000, 7), counts, sizes), options)


def nms(count: int, classes: int | None = None) -> Call:
    boxes = random_boxes(count, 2000, 2000, 8, (8, 128))
    scores = torch.randperm(count, generator=generator(9)) / count
    labels = None if classes is None else torch.randint(classes, (count,), generator=generator(10))
    return Call(ops.nms, (boxes, scores, 0.5, labels), {})


def mask_probs(count: int) -> Tensor:
    coarse = torch.rand(count, 1, 8, 8, generator=generator(11))
    return torch.nn.functional.interpolate(coarse, (28, 28), mode="bilinear")[:, 0]


def encode(count: int, rule: str, inclusive: bool) -> Call:
    sizes = torch.tensor([[HEIGHT, 1333], [427, 640]])[torch.arange(count) % 2]
    thresholds = torch.full((count,), 0.5)
    options = {"rule": rule, "inclusive": inclusive}
    return Call(ops.encode_rle, (mask_probs(count), boxes_of(1, count, 12)[0], sizes, thresholds), options)


def paste(rule: str) -> Call:
    return Call(ops.paste_masks, (mask_probs(40), boxes_of(1, 40, 13)[0], 427, 640), {"rule": rule})


def resize(rule: str, dtype: torch.dtype = torch.float32) -> Call:
    shapes = ((480, 640), (640, 427), (1080, 1920), (1, 1), (61, 83))
    pictures = [torch.randint(256, (*shape, 3), generator=generator(14), dtype=torch.uint8) for shape in shapes]
    sizes = torch.tensor([[HEIGHT, 1066], [799, 533], [749, 1333], [3, 5], [588, 800]])
    options = {"mean": MEAN, "std": STD, "filter": rule, "dtype": dtype}
    return Call(ops.resize_normalize, (pictures, sizes, HEIGHT, WIDTH), options, on_host=(1,))
