"""maskrcnn-benchmark's ResNet and feature pyramid, under its names."""

import torch.nn.functional as F
from torch import Tensor, nn

from tests.reference.legacy_layers import DeformableConv, FrozenNorm, GroupNorm, nearest_twice
from tests.reference.maskrcnn_benchmark_settings import Settings


def norm(settings: Settings, channels: int) -> nn.Module:
    return GroupNorm(channels) if settings.body_group_norm else FrozenNorm(channels, eps=0)


def normed(layer: nn.Module, channels: int, group_norm: bool) -> nn.Module:
    """A layer with its group norm as entries 0 and 1 of a Sequential, or the layer alone."""
    return nn.Sequential(layer, GroupNorm(channels)) if group_norm else layer


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions around a shortcut (He et al. 2016; ResNeXt: Xie et al. 2017)."""

    def __init__(self, settings: Settings, stage: int, channels: int, stride: int) -> None:
        super().__init__()
        middle, out = settings.width * 2**stage, settings.out * 2**stage
        first, second = (stride, 1) if settings.stride_in_1x1 else (1, stride)
        self.conv1 = nn.Conv2d(channels, middle, 1, first, bias=False)
        if version := settings.deformable[stage]:
            self.conv2: nn.Module = DeformableConv(middle, second, settings.groups, version)
        else:
            self.conv2 = nn.Conv2d(middle, middle, 3, second, padding=1, groups=settings.groups, bias=False)
        self.conv3 = nn.Conv2d(middle, out, 1, bias=False)
        self.bn1, self.bn2, self.bn3 = norm(settings, middle), norm(settings, middle), norm(settings, out)
        self.downsample = None
        if channels != out:
            shortcut = nn.Conv2d(channels, out, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, norm(settings, out))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.downsample(x) if self.downsample else x
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + shortcut)


def make_stage(settings: Settings, stage: int) -> nn.Sequential:
    """layer1..4 for stage 0..3."""
    out = settings.out * 2**stage
    first = Bottleneck(settings, stage, out // 2 if stage else settings.stem, stride=2 if stage else 1)
    return nn.Sequential(
        first, *(Bottleneck(settings, stage, out, stride=1) for _ in range(settings.depths[stage] - 1))
    )


class Stem(nn.Module):
    """7 x 7 convolution and max pooling, each with stride 2."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, settings.stem, 7, 2, padding=3, bias=False)
        self.bn1 = norm(settings, settings.stem)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, padding=1)


class Body(nn.Module):
    """The stem and the stages outside the heads; answers every stage's output."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.stem, self.stages = Stem(settings), 4 if settings.kind == "fpn" else 3
        for stage in range(self.stages):
            self.add_module(f"layer{stage + 1}", make_stage(settings, stage))

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs, x = [], self.stem(x)
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
            outputs.append(x)
        return outputs


class FeaturePyramid(nn.Module):
    """Lin et al. 2017: P2 to P5, and P6 as every second pixel of P5."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        fpn, gn = settings.fpn, settings.group_norm
        for level in range(4):
            inner = nn.Conv2d(settings.out * 2**level, fpn, 1, bias=not gn)
            layer = nn.Conv2d(fpn, fpn, 3, padding=1, bias=not gn)
            self.add_module(f"fpn_inner{level + 1}", normed(inner, fpn, gn))
            self.add_module(f"fpn_layer{level + 1}", normed(layer, fpn, gn))

    def forward(self, stages: list[Tensor]) -> list[Tensor]:
        levels: list[Tensor] = []
        above = None
        for level in (4, 3, 2, 1):
            inner = self.get_submodule(f"fpn_inner{level}")(stages[level - 1])
            # maskrcnn-benchmark doubles: on a canvas that 32 divides, that is the size of the level below
            above = inner if above is None else inner + nearest_twice(above, inner.shape[2:])
            levels.insert(0, self.get_submodule(f"fpn_layer{level}")(above))
        return [*levels, levels[-1][:, :, ::2, ::2]]


class Backbone(nn.Module):
    """Images (B, 3, H, W) to the maps that the RPN reads: five of an FPN, one of a C4."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.body = Body(settings)
        self.fpn = FeaturePyramid(settings) if settings.kind == "fpn" else None

    def forward(self, images: Tensor) -> list[Tensor]:
        stages = self.body(images)
        return self.fpn(stages) if self.fpn else stages[-1:]
