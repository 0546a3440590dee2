"""The mask head: which cells of a detection's box belong to it.

Source: Mask R-CNN, He et al. 2017, section 3 and figure 4 (right).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ops
from export.architecture import Architecture
from export.conventions import Conventions
from export.model.box_head import pooling_options
from export.model.layers import Weights, conv, frozen, linear_of


class MaskHead(nn.Module):
    """Pool, convolutions, and the logits of each detection's own class only."""

    def __init__(self, weights: Weights, architecture: Architecture, rules: Conventions) -> None:
        super().__init__()
        self.side = rules.pooling.mask_pool
        self.hidden = architecture.mask_hidden
        self.convs = nn.ModuleList(
            conv(weights, f"mask.conv{number}", padding=1) for number in range(len(architecture.mask_convs))
        )
        # A 2x2 deconvolution of stride 2 writes every output once: it is one matrix product per cell, whose result
        # holds the cell's four outputs.
        kernel = weights["mask.deconv.weight"].permute(2, 3, 1, 0).flatten(0, 2)  # (2 * 2 * hidden, inputs)
        self.deconv = linear_of(kernel, weights["mask.deconv.bias"].repeat(4))
        self.logit_weight = frozen(weights["mask.logits.weight"].flatten(1))  # (C, hidden)
        self.logit_bias = frozen(weights["mask.logits.bias"])
        self.pooling = pooling_options(architecture, rules.pooling, self.side, rules.boxes.legacy)

    def forward(self, boxes: Tensor, labels: Tensor, counts: Tensor, levels: tuple[Tensor, ...]) -> Tensor:
        """Boxes (K, 4) in picture order, labels (K), counts (B) -> probabilities (K, M, M) float32."""
        features = ops.pyramid_roi_align(boxes, counts, *levels, **self.pooling)
        for layer in self.convs:
            features = F.relu(layer(features))
        cells = features.permute(0, 2, 3, 1).flatten(1, 2)  # (K, side * side, inputs), a view of channels-last memory
        quarters = torch.unflatten(F.relu(self.deconv(cells)), 2, (4, self.hidden)).flatten(1, 2)
        return self._class_logits(quarters, labels).sigmoid()

    def _class_logits(self, quarters: Tensor, labels: Tensor) -> Tensor:
        """(K, side * side * 4, hidden) -> (K, M, M): one product per detection instead of one per class."""
        weight = self.logit_weight.index_select(0, labels).unsqueeze(2)
        logits = torch.bmm(quarters, weight).squeeze(2).float() + self.logit_bias.index_select(0, labels).unsqueeze(1)
        cells = torch.unflatten(logits, 1, (self.side, self.side, 2, 2))
        return cells.transpose(2, 3).flatten(3, 4).flatten(1, 2)
