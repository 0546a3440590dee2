"""Layers of the older frameworks, written out: frozen batch norm, group norm, deformable convolution."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 32  # of a group norm, in every published config


class FrozenNorm(nn.Module):
    """Batch norm whose statistics and gain never change; all four are buffers.

    maskrcnn-benchmark adds no epsilon to the variance, torchvision 1e-5 (and 0 for its COCO_V1 weights).
    """

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        gain = self.weight / (self.running_var + self.eps).sqrt()
        shift = self.bias - self.running_mean * gain
        return x * gain[:, None, None] + shift[:, None, None]


class GroupNorm(nn.Module):
    """Zero mean and unit variance over each of 32 groups of channels (and over all pixels, if there are any).

    Source: Wu and He 2018, equations 1-3, epsilon 1e-5 as in maskrcnn-benchmark.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        groups = x.reshape(len(x), GROUPS, x[0].numel() // GROUPS if len(x) else 1)
        apart = groups - groups.mean(dim=2, keepdim=True)
        normal = (apart / (apart.square().mean(dim=2, keepdim=True) + 1e-5).sqrt()).reshape(x.shape)
        per_channel = (-1,) + (1,) * (x.dim() - 2)
        return normal * self.weight.view(per_channel) + self.bias.view(per_channel)


class SampledConv(nn.Module):
    """The 3 x 3 convolution of a deformable one: each tap reads where its offset points."""

    def __init__(self, channels: int, stride: int, groups: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, channels // groups, 3, 3))
        self.stride, self.groups = stride, groups

    def forward(self, x: Tensor, offsets: Tensor, modulation: Tensor) -> Tensor:
        """x (B, C, H, W), offsets (B, 18, h, w) as y, x for each tap, modulation (B, 9, h, w)."""
        batch, channels, out = len(x), x.shape[1], offsets.shape[2:]
        taps = torch.stack([self.tap(x, offsets, index) * modulation[:, index, None] for index in range(9)], dim=2)
        grouped = taps.reshape(batch, self.groups, channels // self.groups * 9, *out)
        weight = self.weight.reshape(self.groups, channels // self.groups, -1)
        return torch.einsum("bgihw,goi->bgohw", grouped, weight).reshape(batch, channels, *out)

    def tap(self, x: Tensor, offsets: Tensor, index: int) -> Tensor:
        """What one of the nine taps reads: (B, C, h, w)."""
        height, width = offsets.shape[2:]
        rows = torch.arange(height)[:, None] * self.stride - 1 + index // 3 + offsets[:, 2 * index]
        columns = torch.arange(width) * self.stride - 1 + index % 3 + offsets[:, 2 * index + 1]
        return bilinear(x, rows, columns)


def bilinear(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Read x (B, C, H, W) at fractional rows and columns (B, h, w); beyond the border everything is 0."""
    batch, channels, height, width = x.shape
    total = torch.zeros(batch, channels, *rows.shape[1:])
    for row in (rows.floor(), rows.floor() + 1):
        for column in (columns.floor(), columns.floor() + 1):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            share = (1 - (rows - row).abs()) * (1 - (columns - column).abs()) * inside
            cell = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long()
            read = x.flatten(2).gather(2, cell.flatten(1)[:, None].expand(-1, channels, -1))
            total += read.reshape(total.shape) * share[:, None]
    return total


class DeformableConv(nn.Module):
    """A 3 x 3 convolution that learns where to look; version 2 also learns how much each tap counts.

    Source: Dai et al. 2017 (version 1: 18 offset channels), Zhu et al. 2019 (version 2: 27, the last nine through a
    sigmoid); channel order of maskrcnn-benchmark and of torchvision's ``deform_conv2d``.
    """

    def __init__(self, channels: int, stride: int, groups: int, version: int) -> None:
        super().__init__()
        self.offset = nn.Conv2d(channels, 9 * (version + 1), 3, stride, padding=1)
        self.conv = SampledConv(channels, stride, groups)

    def forward(self, x: Tensor) -> Tensor:
        learnt = self.offset(x)
        offsets, modulation = learnt[:, :18], learnt[:, 18:].sigmoid()
        if not modulation.shape[1]:
            modulation = torch.ones_like(learnt[:, :9])
        return self.conv(x, offsets, modulation)


def nearest_twice(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Grow x to size by repeating its nearest pixels."""
    return F.interpolate(x, size=size, mode="nearest")
