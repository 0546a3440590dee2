"""The mask head: which cells of a detection's box belong to it.

Source: Mask R-CNN, He et al. 2017, section 3 and figure 4.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.model.layers import Layers, frozen, linear_of, rectified
from export.network import architecture


class MaskHead(nn.Module):
    """Convolutions, and the logits of each detection's own class only."""

    def __init__(self, layers: Layers, shape: architecture.MaskHead) -> None:
        super().__init__()
        self.hidden, self.for_all_classes = shape.hidden, shape.masks == 1
        self.convs = nn.ModuleList(layers.conv(f"mask.conv{number}") for number in range(len(shape.convs)))
        # A 2x2 deconvolution of stride 2 writes every output once: it is one matrix product per cell, whose result
        # holds the cell's four outputs.
        kernel = layers["mask.deconv.weight"].permute(2, 3, 1, 0).flatten(0, 2)  # (2 * 2 * hidden, inputs)
        self.deconv = linear_of(kernel, layers["mask.deconv.bias"].repeat(4))
        self.logit_weight = frozen(layers["mask.logits.weight"].flatten(1))  # (masks, hidden)
        self.logit_bias = frozen(layers["mask.logits.bias"])

    def forward(self, regions: Tensor, labels: Tensor) -> Tensor:
        """Regions (K, C, side, side) and labels (K) -> probabilities (K, 2 side, 2 side) float32."""
        features = rectified(self.convs, regions)
        cells = features.permute(0, 2, 3, 1)  # (K, side, side, C), a view of channels-last memory
        quarters = torch.unflatten(F.relu(self.deconv(cells)), 3, (4, self.hidden))
        masks = torch.zeros_like(labels) if self.for_all_classes else labels
        return self._logits(quarters, masks).sigmoid()

    def _logits(self, quarters: Tensor, masks: Tensor) -> Tensor:
        """(K, side, side, 4, hidden) -> (K, M, M): one product per detection instead of one per class."""
        weight = self.logit_weight.index_select(0, masks).unsqueeze(2)
        products = torch.bmm(quarters.flatten(1, 3), weight).squeeze(2).float()
        logits = products + self.logit_bias.index_select(0, masks).unsqueeze(1)
        # (K, row, column, row within the cell, column within it) -> (K, M, M)
        cells = torch.unflatten(logits.view_as(quarters[..., 0]), 3, (2, 2))
        return cells.transpose(2, 3).flatten(3, 4).flatten(1, 2)
