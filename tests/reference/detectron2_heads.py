"""The heads: what to look at, what it is, where exactly, and its mask."""

import torch
from torch import Tensor, nn

from tests.reference.detectron2_body import stage
from tests.reference.detectron2_boxes import anchor_grid, areas, cell_anchors, clip, decode, nms_within, nonempty
from tests.reference.detectron2_layers import Conv, roi_align
from tests.reference.detectron2_settings import Settings

UNIT_WEIGHTS = (1.0, 1.0, 1.0, 1.0)


class RPNHead(nn.Module):
    """Objectness and box deltas of every anchor of a map. Several convolutions are named conv0, conv1, ..."""

    def __init__(self, settings: Settings, channels: int) -> None:
        super().__init__()
        self.conv: nn.Module
        if settings.rpn_convs == 1:
            self.conv = Conv(channels, channels, 3, relu=True, padding=1)
        else:
            self.conv = nn.Sequential()
            for index in range(settings.rpn_convs):
                self.conv.add_module(f"conv{index}", Conv(channels, channels, 3, relu=True, padding=1))
        anchors = len(settings.anchor_sizes[0]) * len(settings.anchor_ratios)
        self.objectness_logits = Conv(channels, anchors, 1)
        self.anchor_deltas = Conv(channels, 4 * anchors, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, n) and deltas (B, n, 4) in the order of the anchors: rows, columns, the cell's own."""
        x = self.conv(x)
        logits = self.objectness_logits(x).permute(0, 2, 3, 1).flatten(1)
        return logits, self.anchor_deltas(x).permute(0, 2, 3, 1).reshape(*logits.shape, 4)


class ProposalGenerator(nn.Module):
    """The region proposal network: per picture, boxes worth a look."""

    def __init__(self, settings: Settings, channels: int) -> None:
        super().__init__()
        self.settings, self.rpn_head = settings, RPNHead(settings, channels)

    def candidates(self, index: int, features: Tensor) -> tuple[Tensor, Tensor]:
        """The best boxes (B, n, 4) and logits (B, n) of one map; best by logit, before any box is clipped."""
        settings = self.settings
        cell = cell_anchors(settings.anchor_sizes[index], settings.anchor_ratios)
        anchors = anchor_grid(cell, *features.shape[2:], settings.strides[index])
        logits, deltas = self.rpn_head(features)
        best = logits.sort(dim=1, descending=True, stable=True)
        kept = best.indices[:, : settings.pre_nms_top]
        boxes = [decode(delta[k], anchors[k], UNIT_WEIGHTS)[:, 0] for delta, k in zip(deltas, kept, strict=True)]
        return torch.stack(boxes), best.values[:, : settings.pre_nms_top]

    def choose(self, boxes: Tensor, logits: Tensor, levels: Tensor, size: list[int]) -> tuple[Tensor, Tensor]:
        """Of one picture's candidates on all levels, what is left after clipping and suppression by level."""
        boxes = clip(boxes, *size)
        real = nonempty(boxes)
        boxes, logits, levels = boxes[real], logits[real], levels[real]
        kept = nms_within(levels, boxes, logits, self.settings.rpn_nms)[: self.settings.post_nms_top]
        return boxes[kept], logits[kept]

    def forward(self, features: list[Tensor], sizes: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Per picture proposals (n, 4) and their logits (n,), best first."""
        found = [self.candidates(index, level) for index, level in enumerate(features)]
        levels = torch.cat([torch.full_like(logits[0], index) for index, (_, logits) in enumerate(found)])
        boxes, logits = (torch.cat(part, dim=1) for part in zip(*found, strict=True))
        return [
            self.choose(*picture, levels, size) for *picture, size in zip(boxes, logits, sizes.tolist(), strict=True)
        ]


class BoxHead(nn.Module):
    """Convolutions, then fully connected layers."""

    def __init__(self, settings: Settings, channels: int) -> None:
        super().__init__()
        self.layers = []
        for number in range(1, settings.box_convs + 1):
            self.layers.append(f"conv{number}")
            dim = settings.box_conv_dim
            self.add_module(f"conv{number}", Conv(channels, dim, 3, settings.box_norm, padding=1))
            channels = dim
        inputs = channels * settings.box_pool**2
        for number in range(1, settings.box_fcs + 1):
            self.layers.append(f"fc{number}")
            self.add_module(f"fc{number}", nn.Linear(inputs, settings.fc_dim))
            inputs = settings.fc_dim

    def forward(self, x: Tensor) -> Tensor:
        for name in self.layers:
            x = self.get_submodule(name)(x.flatten(1) if name.startswith("fc") else x).relu()
        return x


class BoxPredictor(nn.Module):
    """Logits of the classes, background last, and the box deltas of each class or of all."""

    def __init__(self, settings: Settings, inputs: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(inputs, settings.num_classes + 1)
        self.bbox_pred = nn.Linear(inputs, 4 * (1 if settings.class_agnostic_boxes else settings.num_classes))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.cls_score(x), self.bbox_pred(x)


class MaskHead(nn.Module):
    """Convolutions, then twice the size, then a mask of each class or of all."""

    def __init__(self, settings: Settings, channels: int) -> None:
        super().__init__()
        dim = settings.mask_conv_dim
        self.convs = [f"mask_fcn{number}" for number in range(1, settings.mask_convs + 1)]
        for name in self.convs:
            self.add_module(name, Conv(channels, dim, 3, settings.mask_norm, relu=True, padding=1))
            channels = dim
        self.deconv = nn.ConvTranspose2d(channels, dim, 2, stride=2)
        self.predictor = Conv(dim, 1 if settings.class_agnostic_masks else settings.num_classes, 1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Probabilities (n, M, M) of each box's own class."""
        for name in self.convs:
            x = self.get_submodule(name)(x)
        logits = self.predictor(self.deconv(x).relu())
        channel = torch.zeros_like(labels) if logits.shape[1] == 1 else labels
        return logits[torch.arange(len(labels)), channel].sigmoid()


def pyramid_levels(boxes: Tensor) -> Tensor:
    """The level (n,) from 2 to 5 to pool each box from: a box of 224 x 224 from p4, twice the side a level higher."""
    return (4 + torch.log2(areas(boxes).sqrt() / 224 + 1e-8)).floor().clamp(2, 5)


class ROIHeads(nn.Module):
    """Box and mask heads over pooled boxes, by the names of each kind of network."""

    def __init__(self, settings: Settings, channels: int) -> None:
        super().__init__()
        self.settings = settings
        if settings.kind == "c4":
            self.res5 = stage(settings, 3)  # shared: what is pooled for a box or a mask passes it first
            channels = inputs = 2 * channels
        else:
            heads = [BoxHead(settings, channels) for _ in settings.box_weights]
            self.box_head, inputs = nn.ModuleList(heads) if settings.cascade else heads[0], settings.fc_dim
        predictors = [BoxPredictor(settings, inputs) for _ in settings.box_weights]
        self.box_predictor = nn.ModuleList(predictors) if settings.cascade else predictors[0]
        if settings.masks:
            self.mask_head = MaskHead(settings, channels)

    def predict(self, stage_index: int, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and deltas of one stage of the cascade (0 without one)."""
        predictor = self.box_predictor[stage_index] if self.settings.cascade else self.box_predictor
        if self.settings.kind == "c4":
            return predictor(pooled.mean(dim=(2, 3)))
        return predictor((self.box_head[stage_index] if self.settings.cascade else self.box_head)(pooled))

    def pool(self, features: list[Tensor], boxes: Tensor, size: int) -> Tensor:
        """Pool boxes (n, 4) of one picture from its maps (C, H, W), each from the level that suits its size."""
        settings = self.settings
        level = pyramid_levels(boxes) - 2 if settings.kind == "fpn" else torch.zeros(len(boxes))
        pooled = boxes.new_zeros(len(boxes), len(features[0]), size, size)
        for index in level.unique().int().tolist():
            chosen, stride = level == index, settings.strides[index]
            args = (stride, size, settings.sampling_ratio, settings.aligned)
            pooled[chosen] = roi_align(features[index], boxes[chosen], *args)
        return self.res5(pooled) if settings.kind == "c4" else pooled
