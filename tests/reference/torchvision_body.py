"""torchvision's ResNets, MobileNetV3-Large and feature pyramid, under its names."""

import torch.nn.functional as F
from torch import Tensor, nn

from tests.reference.legacy_layers import FrozenNorm, nearest_twice
from tests.reference.torchvision_settings import Settings


def norm(settings: Settings, channels: int) -> nn.Module:
    return FrozenNorm(channels, settings.eps) if settings.frozen else nn.BatchNorm2d(channels, eps=settings.eps)


def conv(inputs: int, out: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inputs, out, kernel, stride, padding=kernel // 2, groups=groups, bias=bias)


class Block(nn.Module):
    """A basic block (two 3 x 3 convolutions) or a bottleneck, whose stride is in the 3 x 3 convolution."""

    def __init__(self, settings: Settings, stage: int, channels: int, stride: int) -> None:
        super().__init__()
        middle, out = settings.width * 2**stage, settings.out * 2**stage
        if settings.body == "basic":
            layers = [conv(channels, out, 3, stride), conv(out, out, 3)]
        else:
            second = conv(middle, middle, 3, stride, settings.groups)
            layers = [conv(channels, middle, 1), second, conv(middle, out, 1)]
        self.count = len(layers)
        for index, layer in enumerate(layers, start=1):
            self.add_module(f"conv{index}", layer)
            self.add_module(f"bn{index}", norm(settings, layer.out_channels))
        self.downsample = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(conv(channels, out, 1, stride), norm(settings, out))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.downsample(x) if self.downsample else x
        for index in range(1, self.count + 1):
            x = self.get_submodule(f"bn{index}")(self.get_submodule(f"conv{index}")(x))
            x = F.relu(x + shortcut if index == self.count else x)
        return x


class ResNet(nn.Module):
    """He et al. 2016; answers the outputs of layer1..4."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, settings.stem, 7, 2, padding=3, bias=False), norm(settings, settings.stem)
        channels = settings.stem
        for stage, depth in enumerate(settings.depths):
            blocks = []
            for block in range(depth):
                blocks.append(Block(settings, stage, channels, stride=2 if stage and not block else 1))
                channels = settings.out * 2**stage
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.channels = [settings.out * 2**stage for stage in range(4)]

    def forward(self, x: Tensor) -> list[Tensor]:
        x, outputs = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, padding=1), []
        for stage in range(4):
            x = self.get_submodule(f"layer{stage + 1}")(x)
            outputs.append(x)
        return outputs


LARGE = (  # MobileNetV3-Large (Howard et al. 2019, table 1): kernel, expanded, out, squeeze, hard swish, stride
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)
RETURNED = (13, 16)  # the last block that strides, and the last layer; torchvision's default


def activated(layer: nn.Conv2d, settings: Settings, activation: nn.Module | None) -> nn.Sequential:
    parts = [layer, norm(settings, layer.out_channels)]
    return nn.Sequential(*parts, activation) if activation else nn.Sequential(*parts)


class SqueezeExcitation(nn.Module):
    """Scale each channel by what the means of all channels say of it (Hu et al. 2018, with a hard sigmoid)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = eighths(channels / 4)
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.fc2(F.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True))))
        return x * (scale / 6 + 0.5).clamp(0, 1)


def eighths(channels: float) -> int:
    """The nearest multiple of 8, but not more than a tenth below (MobileNet's published code)."""
    rounded = int(channels + 4) // 8 * 8
    return rounded + 8 if rounded < 0.9 * channels else rounded


class InvertedResidual(nn.Module):
    """Expand, filter each channel on its own, squeeze and excite, project."""

    def __init__(self, settings: Settings, inputs: int, row: tuple[int, int, int, bool, bool, int]) -> None:
        super().__init__()
        kernel, expanded, out, squeeze, swish, stride = row
        activation = nn.Hardswish() if swish else nn.ReLU()
        layers: list[nn.Module] = []
        if expanded != inputs:
            layers.append(activated(conv(inputs, expanded, 1), settings, activation))
        layers.append(activated(conv(expanded, expanded, kernel, stride, expanded), settings, activation))
        if squeeze:
            layers.append(SqueezeExcitation(expanded))
        layers.append(activated(conv(expanded, out, 1), settings, None))
        self.block, self.residual = nn.Sequential(*layers), stride == 1 and inputs == out

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x) + x if self.residual else self.block(x)


class MobileNetV3Large(nn.Sequential):
    """Answers the outputs of two layers, both with stride 32."""

    channels = (160, 960)

    def __init__(self, settings: Settings) -> None:
        layers: list[nn.Module] = [activated(conv(3, 16, 3, 2), settings, nn.Hardswish())]
        inputs = 16
        for row in LARGE:
            layers.append(InvertedResidual(settings, inputs, row))
            inputs = row[2]
        super().__init__(*layers, activated(conv(160, 960, 1), settings, nn.Hardswish()))

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = []
        for index, layer in enumerate(self):
            x = layer(x)
            if index in RETURNED:
                outputs.append(x)
        return outputs


class FeaturePyramid(nn.Module):
    """Lin et al. 2017; the last level is every second pixel of the one before."""

    def __init__(self, settings: Settings, channels: list[int]) -> None:
        super().__init__()
        plain = settings.version == 1
        self.inner_blocks, self.layer_blocks = nn.ModuleList(), nn.ModuleList()
        for inputs in channels:
            for blocks, layer in (
                (self.inner_blocks, conv(inputs, settings.fpn, 1, bias=plain)),
                (self.layer_blocks, conv(settings.fpn, settings.fpn, 3, bias=plain)),
            ):
                blocks.append(nn.Sequential(layer) if plain else activated(layer, settings, None))

    def forward(self, stages: list[Tensor]) -> list[Tensor]:
        levels: list[Tensor] = []
        above = None
        for stage, inner, layer in reversed(list(zip(stages, self.inner_blocks, self.layer_blocks, strict=True))):
            lateral = inner(stage)
            above = lateral if above is None else lateral + nearest_twice(above, lateral.shape[2:])
            levels.insert(0, layer(above))
        return [*levels, levels[-1][:, :, ::2, ::2]]


class Backbone(nn.Module):
    """Images (B, 3, H, W) to the levels of the pyramid, finest first."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.body = MobileNetV3Large(settings) if settings.body == "mobilenet_v3_large" else ResNet(settings)
        self.fpn = FeaturePyramid(settings, list(self.body.channels))

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.fpn(self.body(images))
