"""Layers made of canonical weights, ready to run: float32, no gradient, batch norms folded away."""

from collections.abc import Mapping
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ops
from export.conventions import Body
from export.network.architecture import OFFSETS, offset_groups

Weights = Mapping[str, Tensor]
Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


class GroupNorm(nn.Module):
    """A group norm; ``torch.nn``'s own reads sizes as numbers, which a trace would keep.

    For channels-last memory PyTorch sums one pixel after the other in float32, which costs three digits on a large map
    (2.13, CPU). So the maps go through contiguous memory, as in the frameworks.

    Source: Group Normalization, Wu and He 2018, section 3.
    """

    def __init__(self, weight: Tensor, bias: Tensor, groups: int, eps: float) -> None:
        super().__init__()
        self.weight, self.bias, self.groups, self.eps = frozen(weight), frozen(bias), groups, eps

    def forward(self, features: Tensor) -> Tensor:
        """(N, C) or (N, C, H, W) -> the same shape, each group of channels of mean 0 and variance 1, then scaled."""
        normed = torch.group_norm(features.contiguous(), self.groups, self.weight, self.bias, self.eps)
        return normed.contiguous(memory_format=torch.channels_last) if features.dim() == 4 else normed


class DeformableConv(nn.Module):
    """A 3x3 convolution whose samples move, and are weighted in version 2, by what another convolution says."""

    def __init__(self, conv: nn.Conv2d, offset: nn.Conv2d) -> None:
        super().__init__()
        self.conv, self.offset = conv, offset
        groups, self.weighted = offset_groups(offset.out_channels)
        self.coordinates = OFFSETS * groups
        self.grid = {"stride": conv.stride[0], "padding": int(conv.padding[0]), "dilation": conv.dilation[0]}

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        moved = self.offset(features)
        weight = moved[:, self.coordinates :].sigmoid() if self.weighted else None
        offsets = moved[:, : self.coordinates] if self.weighted else moved
        return ops.deform_conv2d(features, self.conv.weight, offsets, weight, self.conv.bias, **self.grid)


class Layers:
    """Makes the layers of a checkpoint.

    Which norm a layer has, and whether it is deformable, is told by the weights that are there.

    Args:
        weights: Canonical name to tensor.
        rules: What the norms need to know.
    """

    def __init__(self, weights: Weights, rules: Body) -> None:
        self._weights, self._rules = weights, rules

    def has(self, name: str) -> bool:
        """Whether there is such a weight."""
        return name in self._weights

    def __getitem__(self, name: str) -> Tensor:
        """A canonical weight."""
        return self._weights[name]

    def conv(self, name: str, stride: int = 1, dilation: int = 1, groups: int = 1) -> nn.Module:
        """A convolution with whatever is behind it, padded so that only the stride shrinks the output.

        Args:
            name: The layer's canonical name.
            stride: Of the convolution.
            dilation: Of the convolution.
            groups: Of the convolution.
        """
        kernel, bias = self._folded(name)
        conv = conv_of(kernel, bias, stride, dilation, groups)
        if f"{name}.offset.weight" in self._weights:
            offset = conv_of(*self._folded(f"{name}.offset"), stride, dilation)
            return self._normed(name, DeformableConv(conv, offset))
        return self._normed(name, conv)

    def linear(self, name: str, side: int = 0) -> nn.Module:
        """A fully connected layer with whatever is behind it.

        Args:
            name: The layer's canonical name.
            side: Of the grid of features that it takes, whose cells come first here and last in the checkpoint; 0 if it
                takes none.
        """
        matrix, bias = self._folded(name)
        return self._normed(name, linear_of(_for_channels_last(matrix, side) if side else matrix, bias))

    def _folded(self, name: str) -> tuple[Tensor, Tensor]:
        """Weight and bias of a layer, with the batch norm behind it folded in."""
        weight, bias = self._weights[f"{name}.weight"], self._weights.get(f"{name}.bias")
        if f"{name}.norm.mean" not in self._weights:
            return weight, torch.zeros(len(weight)) if bias is None else bias
        scale, shift = norm_as_affine(self._weights, f"{name}.norm", self._rules.norm_eps)
        return weight.double() * scale.reshape(-1, *[1] * (weight.dim() - 1)), shift

    def _normed(self, name: str, layer: nn.Module) -> nn.Module:
        norm = f"{name}.norm"
        if f"{norm}.weight" not in self._weights or f"{norm}.mean" in self._weights:
            return layer
        weight, bias = self._weights[f"{norm}.weight"], self._weights[f"{norm}.bias"]
        return nn.Sequential(layer, GroupNorm(weight, bias, self._rules.norm_groups, self._rules.group_norm_eps))


def norm_as_affine(weights: Weights, norm: str, eps: float) -> tuple[Tensor, Tensor]:
    """Scale and shift (float64) per channel that a batch norm applies in inference.

    float64, because the products with the kernel are rounded to float32 only once then.
    """
    weight, bias, mean, variance = (
        weights[f"{norm}.{part}"].double() for part in ("weight", "bias", "mean", "variance")
    )
    scale = weight / (variance + eps).sqrt()
    return scale, bias - mean * scale


def conv_of(kernel: Tensor, bias: Tensor, stride: int = 1, dilation: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution that holds the given kernel and bias as float32."""
    outputs, inputs, side = kernel.shape[0], kernel.shape[1] * groups, kernel.shape[-1]
    padding = side // 2 * dilation
    layer = nn.Conv2d(inputs, outputs, side, stride, padding, dilation, groups, device="meta")
    return _holding(layer, kernel, bias)


def linear_of(matrix: Tensor, bias: Tensor) -> nn.Linear:
    """A fully connected layer that holds the given matrix (outputs, inputs) and bias as float32."""
    return _holding(nn.Linear(matrix.shape[1], matrix.shape[0], device="meta"), matrix, bias)


def rectified(layers: nn.ModuleList, features: Tensor) -> Tensor:
    """Each layer with a ReLU behind it."""
    for layer in layers:
        features = F.relu(layer(features))
    return features


def _for_channels_last(matrix: Tensor, side: int) -> Tensor:
    """A matrix with its columns in the order (row, column, channel) of the pooled memory."""
    return torch.unflatten(matrix, 1, (-1, side, side)).permute(0, 2, 3, 1).flatten(1)


def _holding(layer: Layer, weight: Tensor, bias: Tensor) -> Layer:
    layer.weight = frozen(weight)
    layer.bias = frozen(bias)
    return layer


def frozen(values: Tensor) -> nn.Parameter:
    """A float32 parameter of its own memory that never gets a gradient."""
    return nn.Parameter(values.to(torch.float32, copy=True).contiguous(), requires_grad=False)
