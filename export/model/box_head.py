"""The box head: what each region shows, and where exactly.

Source: Fast R-CNN, Girshick 2015, section 2; two fully connected layers as in Feature Pyramid Networks, four
convolutions as in Group Normalization, the mean of the last stage as in Deep Residual Learning.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ops
from export.conventions import Conventions
from export.model.layers import Layers, rectified
from export.network import architecture


class BoxHead(nn.Module):
    """Convolutions, fully connected layers, two predictors."""

    def __init__(self, layers: Layers, name: str, shape: architecture.BoxHead) -> None:
        super().__init__()
        self.convs = nn.ModuleList(layers.conv(f"{name}.conv{number}") for number in range(len(shape.convs)))
        self.linears = nn.ModuleList(
            layers.linear(f"{name}.linear{number}", 0 if number else shape.side) for number in range(len(shape.linears))
        )
        self.scores = layers.linear(f"{name}.scores")
        self.deltas = layers.linear(f"{name}.deltas")

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, side, side) in channels-last memory -> scores (N, classes) and deltas (N, 4 or more), float32."""
        features = rectified(self.convs, regions)
        # A view where the memory is channels last, as the ops and the convolutions leave it.
        rows = features.permute(0, 2, 3, 1).flatten(1) if len(self.linears) else features.mean((2, 3))
        rows = rectified(self.linears, rows)
        return self.scores(rows).float(), self.deltas(rows).float()


class Selection:
    """From what the heads say of all regions to the detections of each picture."""

    def __init__(self, rules: Conventions) -> None:
        self._options: dict[str, Any] = {
            "score_threshold": rules.detections.score_threshold,
            "nms_threshold": rules.detections.nms_threshold,
            "max_detections": rules.detections.max_detections,
            "box_weights": list(rules.detections.box_weights[-1]),
            "background_first": rules.detections.background_first,
            "min_size": rules.detections.min_size,
            "legacy": rules.boxes.legacy,
            "inclusive": rules.boxes.inclusive_nms,
        }
        self._activation = rules.detections.activation

    def __call__(
        self,
        scores: Tensor,
        deltas: Tensor,
        boxes: Tensor,
        counts: Tensor,
        sizes: Tensor,
        activated: bool = False,
    ) -> tuple[Tensor, ...]:
        """Boxes (B, D, 4), scores (B, D), labels (B, D), rows of their regions (B, D), counts (B).

        Args:
            scores: (B P, classes), of every region.
            deltas: (B P, 4 or more).
            boxes: (B, P, 4), the regions.
            counts: (B), regions of each picture.
            sizes: (B, 2), height and width of each picture on the canvas.
            activated: The scores are probabilities already.
        """
        activation = "none" if activated else self._activation
        return tuple(
            ops.select_detections(scores, deltas, boxes, counts, sizes, activation=activation, **self._options)
        )

    def class_scores(self, scores: Tensor, activated: bool) -> Tensor:
        """(N, columns) scores or logits -> the probabilities of each region.

        Where classes do not compete with the background (sigmoids), its column says nothing: it is 0 where it comes
        first, so that labels keep their places, and left out where it comes last.
        """
        probabilities = scores if activated else self.probabilities(scores)
        if self._activation == "softmax":
            return probabilities
        labels = probabilities[:, 1:] if self._options["background_first"] else probabilities[:, :-1]
        return F.pad(labels, (1, 0)) if self._options["background_first"] else labels

    def probabilities(self, scores: Tensor) -> Tensor:
        """(N, classes) logits -> probabilities."""
        if self._activation == "softmax":
            return F.softmax(scores, dim=1)
        return scores.sigmoid() if self._activation == "sigmoid" else scores


def of_detections(values: Tensor, rows: Tensor, counts: Tensor) -> Tensor:
    """What belongs to the proposals of the detections.

    Args:
        values: (B, P, C), of all proposals.
        rows: (B, D) int64 in [0, P), the proposal of each detection.
        counts: (B) int64, detections of each picture.

    Returns:
        (B, D, C); rows past the counts are zero.
    """
    place = torch.ones_like(rows).cumsum(1)  # 1, 2, 3 ... in every row, without asking for the row's length
    # Not take_along_dim, which asks for sizes as numbers: torch.export would fix the batch.
    chosen = values.gather(1, rows.unsqueeze(2).expand(-1, -1, values.shape[2]))
    return chosen.masked_fill((place > counts.unsqueeze(1)).unsqueeze(2), 0)
