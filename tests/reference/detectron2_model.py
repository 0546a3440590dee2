"""The whole network: from a canvas to detections, and the ways there and back."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tests.reference.detectron2_body import Pyramid, ResNet
from tests.reference.detectron2_boxes import clip, decode, nms_within, nonempty
from tests.reference.detectron2_heads import ProposalGenerator, ROIHeads
from tests.reference.detectron2_layers import paste
from tests.reference.detectron2_settings import Settings


@dataclass(frozen=True)
class Detections:
    """What one picture shows, best first.

    Boxes (n, 4) x1 y1 x2 y2 in canvas pixels, scores (n,), labels (n,) from 0, and, if the network has a mask head,
    probabilities (n, M, M) of each box's own class.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None


class Detectron2(nn.Module):
    """The network that the settings describe; its weights are zero until loaded or drawn."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        if settings.kind == "fpn":
            self.backbone, channels = Pyramid(settings), settings.fpn_channels
        else:
            self.backbone, channels = ResNet(settings), settings.res2_out * (4 if settings.kind == "c4" else 8)
        self.proposal_generator = ProposalGenerator(settings, channels)
        self.roi_heads = ROIHeads(settings, channels)

    @torch.no_grad()
    def forward(self, images: Tensor, sizes: Tensor) -> list[Detections]:
        """Normalised, padded images (B, 3, H, W) and the sizes (B, 2) of what they show -> each one's detections."""
        features = self.backbone(images)
        proposals = self.proposal_generator(features, sizes)
        return [
            self.detect([level[index] for level in features], boxes, size)
            for index, ((boxes, _), size) in enumerate(zip(proposals, sizes.tolist(), strict=True))
        ]

    def stages(self, features: list[Tensor], boxes: Tensor, size: list[int]) -> list[tuple[Tensor, Tensor]]:
        """Logits (n, K + 1) and boxes (n, k, 4) of each stage, each fed the clipped boxes of the one before."""
        outputs = []
        for index, weights in enumerate(self.settings.box_weights):
            boxes = clip(boxes, *size) if index else boxes
            pooled = self.roi_heads.pool(features, boxes, self.settings.box_pool)
            logits, deltas = self.roi_heads.predict(index, pooled)
            outputs.append((logits, decode(deltas, boxes, weights)))
            boxes = outputs[-1][1][:, 0]
        return outputs

    def detect(self, features: list[Tensor], proposals: Tensor, size: list[int]) -> Detections:
        """One picture's detections among its proposals."""
        settings, outputs = self.settings, self.stages(features, proposals, size)
        scores = torch.stack([logits.softmax(dim=1)[:, :-1] for logits, _ in outputs]).mean(dim=0)
        row, labels = (scores > settings.score_threshold).nonzero().unbind(1)
        boxes = clip(outputs[-1][1], *size).expand(-1, scores.shape[1], -1)[row, labels]
        kept = nms_within(labels, boxes, scores[row, labels], settings.box_nms)[: settings.detections]
        boxes, scores, labels = boxes[kept], scores[row, labels][kept], labels[kept]
        return Detections(boxes, scores, labels, self.segment(features, boxes, labels) if settings.masks else None)

    def segment(self, features: list[Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
        return self.roi_heads.mask_head(self.roi_heads.pool(features, boxes, self.settings.mask_pool), labels)


def canvas(pictures: list[Tensor], settings: Settings) -> tuple[Tensor, Tensor]:
    """Pictures (H, W, 3) uint8 RGB -> images (B, 3, H, W) BGR, normalised, then padded with zeros; sizes (B, 2)."""
    sizes = torch.tensor([picture.shape[:2] for picture in pictures])
    sides = [-(-int(side) // settings.divisor) * settings.divisor for side in sizes.amax(dim=0)]
    images = torch.zeros(len(pictures), 3, *sides)
    mean, std = (torch.tensor(values)[:, None, None] for values in (settings.pixel_mean, settings.pixel_std))
    for image, picture, (height, width) in zip(images, pictures, sizes.tolist(), strict=True):
        image[:, :height, :width] = (picture.flip(2).permute(2, 0, 1).float() - mean) / std
    return images, sizes


def on_picture(found: Detections, size: list[int], height: int, width: int) -> tuple[Tensor, Tensor]:
    """Boxes (n, 4) and bool masks (n, height, width) on the picture as it came; boxes without an area are dropped."""
    scale = torch.tensor([width / size[1], height / size[0]] * 2)
    boxes = clip(found.boxes * scale, height, width)
    real = nonempty(boxes)
    return boxes[real], paste(found.masks[real], boxes[real], height, width)
