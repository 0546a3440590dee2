"""The residual body (ResNet, ResNeXt, wide ResNet).

Source: Deep Residual Learning, He et al. 2016, sections 3.3 and 4.1; the first convolution of a stage that
strides is the 3x3 one (torchvision, "v1.5") or the first 1x1 (the paper). Deformable ConvNets, Dai et al. 2017.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from export import conventions
from export.model.layers import Layers
from export.network.architecture import Architecture, ResidualBody


class Block(nn.Module):
    """Two or three convolutions around an identity."""

    def __init__(self, convs: list[nn.Module], shortcut: nn.Module) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)
        self.shortcut = shortcut

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        identity = self.shortcut(features)
        for conv in list(self.convs)[:-1]:
            features = F.relu(conv(features))
        return F.relu(self.convs[-1](features) + identity)


class Body(nn.Module):
    """Stem and stages; that of a C4's heads is left out."""

    def __init__(self, layers: Layers, architecture: Architecture, body: ResidualBody, rules: conventions.Body) -> None:
        super().__init__()
        self.stem = layers.conv("body.stem", stride=2)
        here = [stage for stage in range(len(body.depths)) if architecture.stage_name(stage).startswith("body.")]
        self.stages = nn.ModuleList(residual_stage(layers, architecture, body, rules, stage) for stage in here)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> one map per stage, (B, C, H / 4, W / 4) first."""
        features = F.max_pool2d(F.relu(self.stem(images)), kernel_size=3, stride=2, padding=1)
        maps = []
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        return tuple(maps)


def residual_stage(
    layers: Layers, architecture: Architecture, body: ResidualBody, rules: conventions.Body, stage: int
) -> nn.Sequential:
    """The blocks of one stage.

    Args:
        layers: Makes them.
        architecture: Names the stage.
        body: Its shape.
        rules: Where it strides, and whether it is dilated.
        stage: Its index.
    """
    name = architecture.stage_name(stage)
    dilation = rules.last_dilation if stage == 3 else 1
    stride = 2 if stage > 0 and dilation == 1 else 1
    return nn.Sequential(
        *(
            _block(layers, f"{name}.{block}", body, rules, stride if block == 0 else 1, dilation)
            for block in range(body.depths[stage])
        )
    )


def _block(layers: Layers, name: str, body: ResidualBody, rules: conventions.Body, stride: int, dilation: int) -> Block:
    bottleneck = body.block == "bottleneck"
    striding = 2 if bottleneck and not rules.stride_in_1x1 else 1

    def conv(number: int) -> nn.Module:
        is_3x3 = number == 2 or not bottleneck
        return layers.conv(
            f"{name}.conv{number}",
            stride=stride if number == striding else 1,
            dilation=dilation if is_3x3 else 1,
            groups=body.groups if is_3x3 else 1,
        )

    has_shortcut = layers.has(f"{name}.shortcut.weight")
    shortcut = layers.conv(f"{name}.shortcut", stride=stride) if has_shortcut else nn.Identity()
    return Block([conv(number) for number in range(1, 4 if bottleneck else 3)], shortcut)
