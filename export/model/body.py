"""The residual body (ResNet, ResNeXt, wide ResNet) with its norms folded into the convolutions.

Source: Deep Residual Learning, He et al. 2016, sections 3.3 and 4.1; the first convolution of a stage that
strides is the 3x3 one (torchvision, "v1.5") or the first 1x1 (the paper).
"""

import torch.nn.functional as F
from torch import Tensor, nn

from export import conventions
from export.architecture import Architecture
from export.model.layers import Weights, normed_conv


class Block(nn.Module):
    """Two or three convolutions around an identity."""

    def __init__(self, convs: list[nn.Conv2d], shortcut: nn.Conv2d | None) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)
        self.shortcut = nn.Identity() if shortcut is None else shortcut

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        identity = self.shortcut(features)
        for conv in list(self.convs)[:-1]:
            features = F.relu(conv(features))
        return F.relu(self.convs[-1](features) + identity)


class Body(nn.Module):
    """Stem and stages."""

    def __init__(self, weights: Weights, architecture: Architecture, rules: conventions.Body) -> None:
        super().__init__()
        self.stem = normed_conv(weights, "body.stem.conv", "body.stem.norm", rules.norm_eps, stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(*(_block(weights, architecture, rules, stage, block) for block in range(depth)))
            for stage, depth in enumerate(architecture.depths)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> one map per stage, (B, C, H / 4, W / 4) first."""
        features = F.max_pool2d(F.relu(self.stem(images)), kernel_size=3, stride=2, padding=1)
        maps = []
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        return tuple(maps)


def _block(weights: Weights, a: Architecture, rules: conventions.Body, stage: int, block: int) -> Block:
    name = f"body.stage{stage + 1}.{block}"
    stride = 2 if stage > 0 and block == 0 else 1
    count = 3 if a.block == "bottleneck" else 2
    striding = 2 if a.block == "bottleneck" and not rules.stride_in_1x1 else 1

    def conv(number: int) -> nn.Conv2d:
        groups = a.groups if number == 2 and a.block == "bottleneck" else 1
        return normed_conv(
            weights,
            f"{name}.conv{number}",
            f"{name}.norm{number}",
            rules.norm_eps,
            stride=stride if number == striding else 1,
            groups=groups,
        )

    shortcut = None
    if a.has_shortcut(stage, block):
        shortcut = normed_conv(weights, f"{name}.shortcut.conv", f"{name}.shortcut.norm", rules.norm_eps, stride=stride)
    return Block([conv(number) for number in range(1, count + 1)], shortcut)
