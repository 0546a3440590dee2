"""Box heads in a row: each looks at the boxes that the one before has corrected.

Source: Cascade R-CNN, Cai and Vasconcelos 2018, section 4; the scores of all heads are averaged, as in Detectron2.
"""

from math import log

import torch
from torch import Tensor, nn

from export.conventions import BoxWeights, Conventions
from export.model.box_head import BoxHead, Selection
from export.model.regions import Pooling

_MOST_LOG_SCALE = log(1000 / 16)


class Cascade(nn.Module):
    """All heads; one of them alone is the ordinary box head."""

    def __init__(self, heads: list[BoxHead], rules: Conventions) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.weights = rules.detections.box_weights
        self.select = Selection(rules)

    def scored(
        self, boxes: Tensor, counts: Tensor, sizes: Tensor, levels: tuple[Tensor, ...], pool: Pooling
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Proposals (B, P, 4) -> probabilities (B P, C), deltas (B P, 4) and the boxes (B, P, 4) that they move."""
        probabilities: list[Tensor] = []
        for number, head in enumerate(self.heads):
            scores, deltas = head(pool(boxes, counts, levels))
            probabilities.append(self.select.probabilities(scores))
            if number + 1 < len(self.heads):
                boxes = corrected_boxes(boxes, deltas, self.weights[number], sizes)
        return torch.stack(probabilities).mean(0), deltas, boxes


def corrected_boxes(boxes: Tensor, deltas: Tensor, weights: BoxWeights, sizes: Tensor) -> Tensor:
    """Move and stretch every box and clip it to its picture.

    Args:
        boxes: (B, P, 4) float32, x1 y1 x2 y2 on the canvas.
        deltas: (B P, 4) float32, dx, dy, dw, dh.
        weights: Their divisors.
        sizes: (B, 2), height and width of each picture on the canvas.

    Returns:
        (B, P, 4) float32.
    """
    x1, y1, x2, y2 = boxes.unbind(2)
    dx, dy, dw, dh = (part / weight for part, weight in zip(deltas.view_as(boxes).unbind(2), weights, strict=True))
    width, height = x2 - x1, y2 - y1
    x, y = x1 + 0.5 * width + dx * width, y1 + 0.5 * height + dy * height
    wide, tall = (0.5 * dw.clamp(max=_MOST_LOG_SCALE).exp() * width, 0.5 * dh.clamp(max=_MOST_LOG_SCALE).exp() * height)
    corners = torch.stack([x - wide, y - tall, x + wide, y + tall], dim=2)
    limits = sizes.flip(1).repeat(1, 2).unsqueeze(1).type_as(corners)  # width, height, width, height
    return torch.minimum(corners.clamp(min=0), limits)
