"""The body MobileNetV3-Large.

Source: Searching for MobileNetV3, Howard et al. 2019, sections 4 and 5.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from export.model.layers import Layers
from export.network.mobilenet import BLOCKS, SEEN_LAYERS, MobileBlock


class Squeeze(nn.Module):
    """Weighs every channel by what all of the map holds."""

    def __init__(self, layers: Layers, name: str) -> None:
        super().__init__()
        self.squeeze, self.expand = layers.conv(f"{name}.squeeze1"), layers.conv(f"{name}.squeeze2")

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        means = features.mean((2, 3), keepdim=True)
        return F.hardsigmoid(self.expand(F.relu(self.squeeze(means)))) * features


class InvertedResidual(nn.Module):
    """Expand, filter every channel, weigh them, project."""

    def __init__(self, layers: Layers, name: str, block: MobileBlock) -> None:
        super().__init__()
        steps = {step: f"{name}.step{position}" for step, position in block.steps.items()}
        self.is_residual, self.hard_swish = block.is_residual, block.hard_swish
        self.expand = layers.conv(steps["expand"]) if "expand" in steps else None
        self.depthwise = layers.conv(steps["depthwise"], stride=block.stride, groups=block.expanded)
        self.squeeze = Squeeze(layers, steps["squeeze"]) if "squeeze" in steps else None
        self.project = layers.conv(steps["project"])

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        identity = features
        if self.expand is not None:
            features = self._activated(self.expand(features))
        features = self._activated(self.depthwise(features))
        if self.squeeze is not None:
            features = self.squeeze(features)
        projected: Tensor = self.project(features)
        return projected + identity if self.is_residual else projected

    def _activated(self, features: Tensor) -> Tensor:
        return F.hardswish(features) if self.hard_swish else F.relu(features)


class MobileNet(nn.Module):
    """All layers; the maps of those that torchvision's detectors look at."""

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self.stem = layers.conv("body.layer0.conv", stride=2)
        self.blocks = nn.ModuleList(
            InvertedResidual(layers, f"body.layer{number}", block) for number, block in enumerate(BLOCKS, start=1)
        )
        self.last = layers.conv(f"body.layer{len(BLOCKS) + 1}.conv")

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> two maps, (B, C, H / 32, W / 32)."""
        features = F.hardswish(self.stem(images))
        maps = []
        for number, block in enumerate(self.blocks, start=1):
            features = block(features)
            if number in SEEN_LAYERS:
                maps.append(features)
        return (*maps, F.hardswish(self.last(features)))
