"""maskrcnn-benchmark's box and mask heads."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.reference.legacy_boxes import Found, area, clip, decode, nms
from tests.reference.legacy_roi_align import pool_levels, roi_align
from tests.reference.maskrcnn_benchmark_body import make_stage, normed
from tests.reference.maskrcnn_benchmark_settings import Settings

SCORE, NMS, DETECTIONS = 0.05, 0.5, 100


def pool(maps: list[Tensor], boxes: Tensor, size: int) -> Tensor:
    """Pool the boxes of one image from P2 to P5, by area, or from a C4's only map (as many samples as pixels)."""
    if len(maps) == 1:
        return roi_align(maps[0], boxes, 1 / 16, size, sampling=0)
    level = 4 + (area(boxes, extra=1).sqrt() / 224 + 1e-6).log2()
    return pool_levels(maps[:4], boxes, level.floor().clamp(2, 5) - 2, [1 / 4, 1 / 8, 1 / 16, 1 / 32], size)


class Conv5(nn.Module):
    """C4: layer4 on 14 x 14 ROIs; one module serves boxes and masks."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.head = nn.ModuleDict({"layer4": make_stage(settings, 3)})

    def forward(self, maps: list[Tensor], boxes: Tensor) -> Tensor:
        x = pool(maps, boxes, 14)
        return torch.cat([self.head["layer4"](chunk) for chunk in x.split(100)])


class BoxFeatures(nn.Module):
    """FPN: 7 x 7 ROIs to vectors by fc6 and fc7, or by convolutions and fc6."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        channels, gn = settings.fpn, settings.group_norm
        layers: list[nn.Module] = []
        for out in settings.box_convs:
            layers += [*normed_list(nn.Conv2d(channels, out, 3, padding=1, bias=not gn), out, gn), nn.ReLU()]
            channels = out
        self.xconvs = nn.Sequential(*layers) if layers else None
        gn = gn and not layers  # the fc6 after convolutions has no norm
        sizes = (channels * 49, settings.hidden, settings.hidden)[: 2 if layers else 3]
        for index, (size, hidden) in enumerate(zip(sizes, sizes[1:], strict=False)):
            self.add_module(f"fc{6 + index}", normed(nn.Linear(size, hidden, bias=not gn), hidden, gn))

    def forward(self, maps: list[Tensor], boxes: Tensor) -> Tensor:
        x = pool(maps, boxes, 7)
        x = F.relu(self.fc6((self.xconvs(x) if self.xconvs else x).flatten(1)))
        return x if self.xconvs else F.relu(self.fc7(x))


def normed_list(layer: nn.Module, channels: int, group_norm: bool) -> list[nn.Module]:
    both = normed(layer, channels, group_norm)
    return list(both) if isinstance(both, nn.Sequential) else [both]


class BoxPredictor(nn.Module):
    """Class logits and four deltas a class; class-agnostic: eight numbers, of which the last four count."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        inputs = settings.hidden if settings.kind == "fpn" else settings.out * 8
        self.cls_score = nn.Linear(inputs, settings.classes)
        self.bbox_pred = nn.Linear(inputs, 8 if settings.class_agnostic else 4 * settings.classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.dim() == 4:
            x = x.mean(dim=(2, 3))
        return self.cls_score(x), self.bbox_pred(x)


class MaskFeatures(nn.Module):
    """FPN: 14 x 14 ROIs through mask_fcn1, mask_fcn2, ..."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        channels, gn = settings.fpn, settings.group_norm
        for index, out in enumerate(settings.mask_convs, start=1):
            conv = nn.Conv2d(channels, out, 3, padding=1, bias=not gn)
            self.add_module(f"mask_fcn{index}", normed(conv, out, gn))
            channels = out

    def forward(self, maps: list[Tensor], boxes: Tensor) -> Tensor:
        x = pool(maps, boxes, 14)
        for conv in self.children():
            x = F.relu(conv(x))
        return x


class MaskPredictor(nn.Module):
    """Twice the resolution, then the logits of every class."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        out = settings.mask_convs[-1]
        inputs = out if settings.kind == "fpn" else settings.out * 8
        self.conv5_mask = nn.ConvTranspose2d(inputs, out, 2, 2)
        self.mask_fcn_logits = nn.Conv2d(out, settings.classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.mask_fcn_logits(F.relu(self.conv5_mask(x)))


def detect(logits: Tensor, deltas: Tensor, proposals: Tensor, size: Tensor, settings: Settings) -> Found:
    """The detections of one image: class by class in the order of the proposals, without masks."""
    scores = logits.softmax(dim=1)
    if settings.class_agnostic:
        deltas = deltas[:, -4:].repeat(1, settings.classes)
    deltas = deltas.reshape(len(proposals), settings.classes, 4)
    boxes = clip(decode(deltas, proposals[:, None], (10, 10, 5, 5), extra=1), size, extra=1)
    parts = []
    for label in range(1, settings.classes):
        sure = scores[:, label] > SCORE
        here, their = boxes[sure, label], scores[sure, label]
        kept = nms(here, their, NMS, extra=1, inclusive=not settings.cuda_nms).sort().values
        parts.append((here[kept], their[kept], torch.full_like(kept, label)))
    found = [torch.cat(part) for part in zip(*parts, strict=True)]
    if len(found[1]) > DETECTIONS:  # all that tie with the last of the best stay
        best = found[1] >= found[1].sort(descending=True).values[DETECTIONS - 1]
        found = [part[best] for part in found]
    return Found(*found, masks=None)
