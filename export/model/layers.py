"""Layers made of canonical weights, ready to run: float32, no gradient, norms folded away."""

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

Weights = Mapping[str, Tensor]
Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def conv(weights: Weights, name: str, padding: int = 0) -> nn.Conv2d:
    """A convolution with a bias.

    Args:
        weights: Canonical name to tensor.
        name: The layer's canonical name.
        padding: Zeros added on each side.
    """
    return conv_of(weights[f"{name}.weight"], weights[f"{name}.bias"], padding=padding)


def normed_conv(weights: Weights, conv: str, norm: str, eps: float, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution with the batch norm behind it folded in; padded so that only the stride shrinks the output.

    Args:
        weights: Canonical name to tensor.
        conv: Canonical name of the convolution, which has no bias of its own.
        norm: Canonical name of the norm.
        eps: What training added to the variance.
        stride: Of the convolution.
        groups: Of the convolution.
    """
    kernel = weights[f"{conv}.weight"]
    scale, shift = norm_as_affine(weights, norm, eps)
    folded = kernel.double() * scale[:, None, None, None]
    return conv_of(folded, shift, stride=stride, padding=kernel.shape[-1] // 2, groups=groups)


def norm_as_affine(weights: Weights, norm: str, eps: float) -> tuple[Tensor, Tensor]:
    """Scale and shift (float64) per channel that a batch norm applies in inference.

    float64, because the products with the kernel are rounded to float32 only once then.
    """
    weight, bias, mean, variance = (
        weights[f"{norm}.{part}"].double() for part in ("weight", "bias", "mean", "variance")
    )
    scale = weight / (variance + eps).sqrt()
    return scale, bias - mean * scale


def conv_of(kernel: Tensor, bias: Tensor, *, stride: int = 1, padding: int = 0, groups: int = 1) -> nn.Conv2d:
    """A convolution that holds the given kernel and bias as float32."""
    outputs, inputs, side = kernel.shape[0], kernel.shape[1] * groups, kernel.shape[-1]
    layer = nn.Conv2d(inputs, outputs, side, stride, padding, groups=groups, device="meta")
    return _holding(layer, kernel, bias)


def linear(weights: Weights, name: str) -> nn.Linear:
    """A fully connected layer of canonical weights."""
    return linear_of(weights[f"{name}.weight"], weights[f"{name}.bias"])


def linear_of(matrix: Tensor, bias: Tensor) -> nn.Linear:
    """A fully connected layer that holds the given matrix (outputs, inputs) and bias as float32."""
    return _holding(nn.Linear(matrix.shape[1], matrix.shape[0], device="meta"), matrix, bias)


def _holding(layer: Layer, weight: Tensor, bias: Tensor) -> Layer:
    layer.weight = frozen(weight)
    layer.bias = frozen(bias)
    return layer


def frozen(values: Tensor) -> nn.Parameter:
    """A float32 parameter of its own memory that never gets a gradient."""
    return nn.Parameter(values.to(torch.float32, copy=True).contiguous(), requires_grad=False)
