"""The residual network and the feature pyramid."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.reference.detectron2_layers import Conv, deform_conv2d, norm_of
from tests.reference.detectron2_settings import Settings


class DeformConv(nn.Module):
    """The moved 3x3 convolution of a deformable block; it has no bias."""

    def __init__(self, width: int, norm: str, stride: int, groups: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width, width // groups, 3, 3))
        self.norm, self.stride, self.groups = norm_of(norm, width), stride, groups

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor | None) -> Tensor:
        moved = deform_conv2d(x, offset, mask, self.weight, self.stride, 1, self.groups)
        return self.norm(moved).relu()


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, as in ResNet-18 and 34."""

    def __init__(self, inputs: int, outputs: int, norm: str, stride: int) -> None:
        super().__init__()
        self.conv1 = Conv(inputs, outputs, 3, norm, relu=True, stride=stride, padding=1)
        self.conv2 = Conv(outputs, outputs, 3, norm, padding=1)
        self.shortcut = Conv(inputs, outputs, 1, norm, stride=stride) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv2(self.conv1(x)) + (x if self.shortcut is None else self.shortcut(x))).relu()


class Bottleneck(nn.Module):
    """1x1, 3x3 (perhaps deformable) and 1x1 convolution and a shortcut."""

    def __init__(
        self,
        settings: Settings,
        inputs: int,
        width: int,
        outputs: int,
        norm: str,
        stride: int,
        dilation: int,
        deform: str,
    ) -> None:
        super().__init__()
        first, second = (stride, 1) if settings.stride_in_1x1 else (1, stride)
        groups = settings.groups
        self.conv1 = Conv(inputs, width, 1, norm, relu=True, stride=first)
        if deform:
            channels = 18 if deform == "v1" else 27
            self.conv2_offset = Conv(width, channels, 3, stride=second, padding=1)
            self.conv2 = DeformConv(width, norm, second, groups)
        else:
            spread = {"padding": dilation, "dilation": dilation}
            self.conv2 = Conv(width, width, 3, norm, relu=True, stride=second, groups=groups, **spread)
        self.conv3 = Conv(width, outputs, 1, norm)
        self.shortcut = Conv(inputs, outputs, 1, norm, stride=stride) if inputs != outputs else None
        self.deform = deform

    def middle(self, x: Tensor) -> Tensor:
        if not self.deform:
            return self.conv2(x)
        moves = self.conv2_offset(x)
        return self.conv2(x, moves[:, :18], moves[:, 18:].sigmoid() if self.deform == "v2" else None)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.conv3(self.middle(self.conv1(x)))
        return (residual + (x if self.shortcut is None else self.shortcut(x))).relu()


def stage(settings: Settings, index: int) -> nn.Sequential:
    """Stage ``res{index + 2}``; a DC5 network dilates its last one instead of halving the map."""
    grown = 2**index
    outputs, width = settings.res2_out * grown, settings.groups * settings.width_per_group * grown
    inputs = settings.stem_out if index == 0 else outputs // 2
    dilation = 2 if settings.kind == "dc5" and index == 3 else 1
    stride = 1 if index == 0 or dilation == 2 else 2
    norm, blocks = norm_of_stage(settings, index + 2), nn.Sequential()
    for _ in range(settings.blocks[index]):
        if settings.basic_blocks:
            blocks.append(BasicBlock(inputs, outputs, norm, stride))
        else:
            deform = settings.deform[index]
            blocks.append(Bottleneck(settings, inputs, width, outputs, norm, stride, dilation, deform))
        inputs, stride = outputs, 1
    return blocks


def norm_of_stage(settings: Settings, number: int) -> str:
    """The norm of the stem (1) or a stage (2 to 5): freezing turns batch norms into frozen ones, never GN."""
    frozen = settings.body_norm == "SyncBN" and number <= settings.frozen_stages
    return "FrozenBN" if frozen else settings.body_norm


class Stem(nn.Module):
    """7x7 convolution and max pooling: a quarter of the size."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        norm = norm_of_stage(settings, 1)
        self.conv1 = Conv(3, settings.stem_out, 7, norm, relu=True, stride=2, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(self.conv1(x), kernel_size=3, stride=2, padding=1)


class ResNet(nn.Module):
    """The stem and as many stages as the kind of network needs: a C4 network keeps res5 for its heads."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.stem = Stem(settings)
        self.names = ["res2", "res3", "res4", "res5"][: 3 if settings.kind == "c4" else 4]
        for index, name in enumerate(self.names):
            self.add_module(name, stage(settings, index))

    def stages(self, x: Tensor) -> list[Tensor]:
        """The map after each stage."""
        x, maps = self.stem(x), []
        for name in self.names:
            x = self.get_submodule(name)(x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> list[Tensor]:
        """The last map alone, as C4 and DC5 networks use it."""
        return self.stages(x)[-1:]


class Pyramid(nn.Module):
    """FPN: maps p2 to p6 of equal depth."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.bottom_up = ResNet(settings)
        channels, norm = settings.fpn_channels, settings.fpn_norm
        for level in range(2, 6):
            inputs = settings.res2_out * 2 ** (level - 2)
            self.add_module(f"fpn_lateral{level}", Conv(inputs, channels, 1, norm))
            self.add_module(f"fpn_output{level}", Conv(channels, channels, 3, norm, padding=1))

    def forward(self, x: Tensor) -> list[Tensor]:
        bottom_up, levels, above = self.bottom_up.stages(x), [], None
        for level in (5, 4, 3, 2):
            merged = self.get_submodule(f"fpn_lateral{level}")(bottom_up[level - 2])
            if above is not None:
                merged = merged + above.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            levels.insert(0, self.get_submodule(f"fpn_output{level}")(merged))
            above = merged
        return [*levels, levels[-1][:, :, ::2, ::2]]  # p6: every second cell of p5
