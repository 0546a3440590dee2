"""maskrcnn-benchmark's region proposals: window anchors and legacy boxes, whose sides count both end pixels."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.reference.legacy_boxes import by_place, clip, decode, grid, nms
from tests.reference.maskrcnn_benchmark_settings import Settings

RATIOS = (0.5, 1.0, 2.0)  # height / width
NMS_THRESHOLD = float(np.float32(0.7))  # its kernels take a float32


def cell_anchors(stride: int, sizes: tuple[int, ...]) -> Tensor:
    """The anchors of one place, (ratios * sizes, 4), all sizes of a ratio before the next ratio.

    They grow from the window of ``stride`` pixels: its area at each ratio, rounded to whole pixels, then scaled.
    Source: Faster R-CNN's published code (py-faster-rcnn), whose anchors Detectron kept.
    """
    middle, anchors = (stride - 1) / 2, []
    for ratio in RATIOS:
        width = np.round(np.sqrt(stride**2 / ratio))
        height = np.round(width * ratio)
        for size in sizes:
            half_width, half_height = ((side * (size / stride) - 1) / 2 for side in (width, height))
            anchors.append((middle - half_width, middle - half_height, middle + half_width, middle + half_height))
    return torch.tensor(np.array(anchors), dtype=torch.float32)


class Anchors(nn.Module):
    """Holds the cell anchors as maskrcnn-benchmark saves them: buffers cell_anchors.0, .1, ..."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        sizes = settings.anchor_sizes
        if settings.kind == "fpn":
            levels = [(4 * 2**level, (size,)) for level, size in enumerate(sizes)]
        else:
            levels = [(16, sizes)]
        self.strides = [stride for stride, _ in levels]
        self.cell_anchors = nn.Module()
        for level, (stride, here) in enumerate(levels):
            self.cell_anchors.register_buffer(str(level), cell_anchors(stride, here))

    def at(self, level: int, height: int, width: int) -> Tensor:
        cells = self.cell_anchors.get_buffer(str(level))
        return grid(cells, height, width, (self.strides[level],) * 2)


class Head(nn.Module):
    """A 3 x 3 convolution, then an objectness and four deltas for each anchor of a place."""

    def __init__(self, channels: int, anchors: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.cls_logits, self.bbox_pred = nn.Conv2d(channels, anchors, 1), nn.Conv2d(channels, 4 * anchors, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.conv(features))
        return self.cls_logits(x), self.bbox_pred(x)


class RegionProposals(nn.Module):
    """Maps to proposals (n, 4) and their objectness (n,) for each image."""

    def __init__(self, settings: Settings, channels: int) -> None:
        super().__init__()
        self.settings, self.anchor_generator = settings, Anchors(settings)
        self.head = Head(channels, len(self.anchor_generator.cell_anchors.get_buffer("0")))

    def forward(self, maps: list[Tensor], sizes: Tensor) -> list[tuple[Tensor, Tensor]]:
        heads = [self.head(features) for features in maps]
        proposals = []
        for image, size in enumerate(sizes):
            levels = [self.of_level(level, *(x[image] for x in head), size) for level, head in enumerate(heads)]
            boxes, scores = (torch.cat(parts) for parts in zip(*levels, strict=True))
            if len(levels) > 1:
                best = scores.topk(min(self.settings.proposals, len(scores))).indices
                boxes, scores = boxes[best], scores[best]
            proposals.append((boxes, scores))
        return proposals

    def of_level(self, level: int, logits: Tensor, deltas: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """The proposals of one image from one level; none is dropped for its size (MIN_SIZE 0)."""
        settings = self.settings
        scores, best = by_place(logits, 1)[:, 0].sigmoid().topk(min(settings.per_level, logits.numel()))
        anchors = self.anchor_generator.at(level, *logits.shape[1:])
        boxes = clip(decode(by_place(deltas, 4)[best], anchors[best], (1, 1, 1, 1), extra=1), size, extra=1)
        kept = nms(boxes, scores, NMS_THRESHOLD, extra=1, inclusive=not settings.cuda_nms).sort().values
        kept = kept[: settings.per_level if settings.kind == "fpn" else settings.proposals]
        return boxes[kept], scores[kept]
