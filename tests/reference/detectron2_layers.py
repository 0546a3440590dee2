"""The building blocks, each written out from its definition.

Bilinear interpolation is separable: a sample at x weighs cell c by max(0, 1 - |x - c|), so pooling a box or pasting
a mask is one matrix per axis, applied from both sides.
"""

import torch
from torch import Tensor, nn

EPS = 1e-5  # of every norm
GROUPS = 32  # of every group norm
CHUNK = 64  # boxes pooled at a time: bounds the memory


class BatchNorm(nn.Module):
    """Batch norm with fixed statistics: FrozenBN, or (``tracked``) SyncBN, which has one more name in its state.

    While ``calibrating`` it first takes its statistics from what it is given.
    """

    def __init__(self, channels: int, tracked: bool) -> None:
        super().__init__()
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.zeros(channels))
        if tracked:
            self.register_buffer("num_batches_tracked", torch.tensor(0))
        self.calibrating = False

    def forward(self, x: Tensor) -> Tensor:
        if self.calibrating:
            self.running_mean, self.running_var = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3))
        scale = self.weight / (self.running_var + EPS).sqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale[:, None, None] + shift[:, None, None]


class GroupNorm(nn.Module):
    """Each group of channels of each picture brought to mean 0 and variance 1, then scaled and shifted."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        groups = x.reshape(len(x), GROUPS, x.shape[1] // GROUPS, *x.shape[2:])
        mean = groups.mean(dim=(2, 3, 4), keepdim=True)
        variance = (groups - mean).square().mean(dim=(2, 3, 4), keepdim=True)
        flat = ((groups - mean) / (variance + EPS).sqrt()).reshape(x.shape)
        return flat * self.weight[:, None, None] + self.bias[:, None, None]


def norm_of(name: str, channels: int) -> nn.Module | None:
    """A norm by Detectron2's name for it; none for ``""``."""
    if not name:
        return None
    return GroupNorm(channels) if name == "GN" else BatchNorm(channels, tracked=name != "FrozenBN")


class Conv(nn.Conv2d):
    """A convolution, its norm under the name ``norm``, and perhaps a ReLU; it has a bias unless told or normed."""

    def __init__(self, inputs: int, outputs: int, size: int, norm: str = "", relu: bool = False, **kwargs: int) -> None:
        super().__init__(inputs, outputs, size, **{"bias": not norm, **kwargs})
        self.norm, self.relu = norm_of(norm, outputs), relu

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        x = x if self.norm is None else self.norm(x)
        return x.relu() if self.relu else x


def sample(maps: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Maps (B, C, H, W) at fractional y and x (B, h, w) -> (B, C, h, w); zero outside the map."""
    batch, channels, height, width = maps.shape
    result = maps.new_zeros(batch, channels, *y.shape[1:])
    for row, col in ((y.floor() + j, x.floor() + i) for j in (0, 1) for i in (0, 1)):
        inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
        weight = (1 - (y - row).abs()) * (1 - (x - col).abs()) * inside
        cells = (row.clamp(0, height - 1) * width + col.clamp(0, width - 1)).long().flatten(1)
        values = maps.flatten(2).gather(2, cells[:, None].expand(-1, channels, -1))
        result += values.reshape(result.shape) * weight[:, None]
    return result


def deform_conv2d(
    x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, stride: int, padding: int, groups: int
) -> Tensor:
    """A 3x3 convolution whose nine taps are each moved by (dy, dx) and, if modulated, weighed.

    ``offset`` (B, 18, h, w) holds dy then dx of each tap in turn, ``mask`` (B, 9, h, w) its weight.
    """
    batch, _, height, width = offset.shape
    top = torch.arange(height)[:, None] * stride - padding
    left = torch.arange(width)[None] * stride - padding
    taps = []
    for tap in range(9):
        row, col = divmod(tap, 3)
        values = sample(x, top + row + offset[:, 2 * tap], left + col + offset[:, 2 * tap + 1])
        taps.append(values if mask is None else values * mask[:, tap, None])
    columns = torch.stack(taps, dim=2).reshape(batch, groups, -1, 9, height, width)
    filters = weight.reshape(groups, len(weight) // groups, -1, 9)
    return torch.einsum("bgckhw,gock->bgohw", columns, filters).reshape(batch, -1, height, width)


def axis_weights(start: Tensor, length: Tensor, bins: int, cells: int, ratio: int) -> Tensor:
    """How much each of ``cells`` counts in each of ``bins`` from start to start + length (n,) -> (n, bins, cells).

    A bin is the mean of ``ratio`` samples at the centres of equal parts, or, where that is 0, of one a cell (rounded
    up). A sample within one cell of the map takes the nearest value; one further out is zero.
    """
    count = torch.full_like(length, ratio) if ratio else (length / bins).ceil()  # (n,)
    index = torch.arange(max(int(count.max()), 1)) if len(count) else torch.arange(1)
    part = (index + 0.5) / count[:, None]  # (n, samples), as a share of a bin
    positions = start[:, None, None] + (length / bins)[:, None, None] * (torch.arange(bins)[:, None] + part[:, None])
    used = (index < count[:, None])[:, None] & (positions >= -1) & (positions <= cells)
    nearest = positions.clamp(0, cells - 1)
    hats = (1 - (nearest[..., None] - torch.arange(cells)).abs()).clamp(min=0)  # (n, bins, samples, cells)
    hats = torch.where(used[..., None], hats, 0.0)
    return hats.sum(dim=2) / count.clamp(min=1)[:, None, None]


def roi_align(features: Tensor, boxes: Tensor, stride: int, size: int, ratio: int, aligned: bool) -> Tensor:
    """Pool boxes (n, 4) in canvas pixels from one map (C, H, W) -> (n, C, size, size).

    ``aligned`` shifts by half a cell, since a cell's value stands at its centre; without, boxes are a cell at least.
    """
    corners = boxes / stride - (0.5 if aligned else 0.0)
    lengths = corners[:, 2:] - corners[:, :2]
    lengths = lengths if aligned else lengths.clamp(min=1)
    across = axis_weights(corners[:, 0], lengths[:, 0], size, features.shape[2], ratio)
    down = axis_weights(corners[:, 1], lengths[:, 1], size, features.shape[1], ratio)
    pooled = [features.new_zeros(0, len(features), size, size)]
    for rows, cols in zip(down.split(CHUNK), across.split(CHUNK), strict=True):
        pooled.append(torch.einsum("nph,chw,nqw->ncpq", rows, features, cols))
    return torch.cat(pooled)


def paste(probs: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    """Stretch masks (n, M, M) over their boxes (n, 4) on a picture -> (n, height, width) bool, at 0.5 or more."""
    size = probs.shape[-1]

    def weights(low: Tensor, high: Tensor, pixels: int) -> Tensor:
        centres = torch.arange(pixels) + 0.5
        positions = (centres - low[:, None]) / (high - low)[:, None] * size - 0.5  # (n, pixels), in cells
        return (1 - (positions[..., None] - torch.arange(size)).abs()).clamp(min=0)

    across, down = weights(boxes[:, 0], boxes[:, 2], width), weights(boxes[:, 1], boxes[:, 3], height)
    return down @ probs @ across.transpose(1, 2) >= 0.5
