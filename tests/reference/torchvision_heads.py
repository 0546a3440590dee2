"""torchvision's region proposals, box and mask heads."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.reference.legacy_boxes import Found, area, by_place, clip, decode, grid, nms, sides
from tests.reference.legacy_roi_align import pool_levels
from tests.reference.torchvision_body import activated, conv
from tests.reference.torchvision_settings import Settings

RATIOS = (0.5, 1.0, 2.0)  # height / width
TRICK = 1000  # boxes up to which torchvision separates the classes by moving them apart


def cell_anchors(sizes: tuple[int, ...]) -> Tensor:
    """The anchors of one place, (ratios * sizes, 4), rounded, all sizes of a ratio before the next ratio."""
    anchors = []
    for ratio in torch.tensor(RATIOS).sqrt():
        for size in sizes:
            width, height = 1 / ratio * size, ratio * size
            anchors.append((torch.stack((-width, -height, width, height)) / 2).round())
    return torch.stack(anchors)


def batched_nms(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """NMS within each group, best first of all; few boxes go in one pass, each group moved out of the others' reach."""
    if len(boxes) <= TRICK:
        far = boxes.max() + 1 if len(boxes) else 0
        return nms(boxes + (groups * far)[:, None], scores, threshold, extra=0, inclusive=False)
    kept = []
    for group in groups.unique():
        mine = (groups == group).nonzero()[:, 0]
        kept.append(mine[nms(boxes[mine], scores[mine], threshold, extra=0, inclusive=False)])
    together = torch.cat(kept)
    return together[scores[together].argsort(descending=True, stable=True)]


def large(boxes: Tensor, least: float) -> Tensor:
    width, height = sides(boxes, extra=0)
    return (width >= least) & (height >= least)


class Head(nn.Module):
    """One or two 3 x 3 convolutions, then an objectness and four deltas for each anchor of a place."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        channels, anchors = settings.fpn, len(RATIOS) * len(settings.anchor_sizes[0])
        depth = settings.version  # 1, and 2 for version 2
        self.conv = nn.Sequential(*(nn.Sequential(conv(channels, channels, 3, bias=True)) for _ in range(depth)))
        self.cls_logits, self.bbox_pred = nn.Conv2d(channels, anchors, 1), nn.Conv2d(channels, 4 * anchors, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for layer in self.conv:
            x = F.relu(layer(x))
        return self.cls_logits(x), self.bbox_pred(x)


class RegionProposals(nn.Module):
    """Levels to proposals (n, 4) for each image."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings, self.head = settings, Head(settings)

    def forward(self, levels: list[Tensor], sizes: Tensor, canvas: tuple[int, int]) -> list[Tensor]:
        heads = [self.head(features) for features in levels]
        return [
            self.of_image([[x[image] for x in head] for head in heads], sizes[image], canvas)
            for image in range(len(sizes))
        ]

    def of_image(self, heads: list[list[Tensor]], size: Tensor, canvas: tuple[int, int]) -> Tensor:
        settings, parts = self.settings, []
        for level, (logits, deltas) in enumerate(heads):
            height, width = logits.shape[1:]
            strides = (canvas[0] // height, canvas[1] // width)  # need not be powers of 2
            anchors = grid(cell_anchors(settings.anchor_sizes[level]), height, width, strides)
            best = by_place(logits, 1)[:, 0].topk(min(settings.per_level, logits.numel()))
            boxes = decode(by_place(deltas, 4), anchors, (1, 1, 1, 1), extra=0)[best.indices]
            parts.append((boxes, best.values.sigmoid(), torch.full_like(best.indices, level)))
        boxes, scores, of_level = (torch.cat(part) for part in zip(*parts, strict=True))
        boxes = clip(boxes, size, extra=0)
        fit = large(boxes, 1e-3) & (scores >= settings.rpn_score)
        kept = batched_nms(boxes[fit], scores[fit], of_level[fit], 0.7)
        return boxes[fit][kept[: settings.proposals]]


def pool(levels: list[Tensor], boxes: Tensor, size: int, longest: int) -> Tensor:
    """Pool boxes of one image from all levels but the last, by area.

    Args:
        levels: The maps (C, h, w) of that image.
        boxes: (n, 4), in canvas pixels.
        size: Bins a side.
        longest: Height of the tallest image of the batch: each map's scale is its height by that, to a power of 2.
    """
    maps = levels[:-1]
    powers = [round(math.log2(features.shape[1] / longest)) for features in maps]
    level = (4 + (area(boxes, extra=0).sqrt() / 224).log2() + 1e-6).floor().clamp(-powers[0], -powers[-1])
    # MobileNet's two maps have one scale, so every box goes to the first of them and none to the second.
    return pool_levels(maps, boxes, level + powers[0], [2.0**power for power in powers], size)


class TwoLayers(nn.Module):
    """Version 1's box head."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.fc6, self.fc7 = nn.Linear(settings.fpn * 49, settings.hidden), nn.Linear(settings.hidden, settings.hidden)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.fc7(F.relu(self.fc6(x.flatten(1)))))


def normed_convs(settings: Settings) -> list[nn.Module]:
    """Four 3 x 3 convolutions from the pyramid's channels to the head's, with norms in version 2."""
    channels = (settings.fpn, *(settings.head,) * 4)
    plain = settings.version == 1
    layers = [conv(i, o, 3, bias=plain) for i, o in zip(channels, channels[1:], strict=False)]
    return [nn.Sequential(x, nn.ReLU()) if plain else activated(x, settings, nn.ReLU()) for x in layers]


def box_head(settings: Settings) -> nn.Module:
    if settings.version == 1:
        return TwoLayers(settings)
    fc = nn.Linear(settings.head * 49, settings.hidden)
    return nn.Sequential(*normed_convs(settings), nn.Flatten(), fc, nn.ReLU())


class BoxPredictor(nn.Module):
    """Class logits, and four deltas for each class, background included."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.cls_score = nn.Linear(settings.hidden, settings.classes)
        self.bbox_pred = nn.Linear(settings.hidden, 4 * settings.classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.cls_score(x), self.bbox_pred(x)


class MaskPredictor(nn.Module):
    """Twice the resolution, then the logits of every class."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.conv5_mask = nn.ConvTranspose2d(settings.head, settings.head, 2, 2)
        self.mask_fcn_logits = nn.Conv2d(settings.head, settings.classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.mask_fcn_logits(F.relu(self.conv5_mask(x)))


def detect(logits: Tensor, deltas: Tensor, proposals: Tensor, size: Tensor) -> Found:
    """The detections of one image, best first, without masks."""
    classes = logits.shape[1]
    deltas = deltas.reshape(len(proposals), classes, 4)
    boxes = clip(decode(deltas, proposals[:, None], (10, 10, 5, 5), extra=0), size, extra=0)
    labels = torch.arange(classes).expand(len(proposals), -1)[:, 1:].flatten()
    scores, boxes = logits.softmax(dim=1)[:, 1:].flatten(), boxes[:, 1:].reshape(-1, 4)
    fit = ((scores > 0.05) & large(boxes, 1e-2)).nonzero()[:, 0]
    kept = fit[batched_nms(boxes[fit], scores[fit], labels[fit], 0.5)[:100]]
    return Found(boxes[kept], scores[kept], labels[kept], masks=None)
