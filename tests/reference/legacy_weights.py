"""Made-up weights under which a network of any shape computes something to compare.

Random weights alone die out or explode over the layers. So each layer is fitted on first use to the pictures below:
its output gets a chosen spread (before a norm so small a one that the norm's epsilon counts), a norm gets the
statistics of what it sees (not exactly: every number still counts), and the background's bias is chosen so that a
share of the regions is an object.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZES = ((96, 128), (80, 112))  # (height, width) of the pictures
OBJECTS = 0.12  # share of the regions whose best class beats the background, when fitted
BEFORE_NORM = 0.02  # standard deviation of the output of a layer without bias
SPREADS = {  # by the end of a layer's name: standard deviation of its output, 1 for every other with a bias
    "rpn.head.cls_logits": 2.0,
    "rpn.head.bbox_pred": 0.3,
    "cls_score": 3.0,
    "predictor.bbox_pred": 1.0,
    "mask_fcn_logits": 2.0,
    "conv2.offset": 0.4,  # pixels, beside 1 from its bias: more of it would multiply every rounding
}


def pictures(contrast: float) -> tuple[Tensor, Tensor]:
    """Two made-up pictures, normalised and padded with 0 as a network wants them.

    Args:
        contrast: Standard deviation of the pixels: 60 for a network fed 0..255, 1 for one fed 0..1 over a deviation.

    Returns:
        images (2, 3, 96, 128) float32 and sizes (2, 2) int64 (height, width), smaller than the canvas for the second.
    """
    generator = torch.Generator().manual_seed(20)
    canvas = torch.zeros(len(SIZES), 3, *(max(sides) for sides in zip(*SIZES, strict=True)))
    for image, (height, width) in zip(canvas, SIZES, strict=True):
        picture = sum(
            F.interpolate(torch.randn(1, 3, side, side, generator=generator), (height, width), mode="bilinear")
            for side in (3, 8, 20)
        )
        image[:, :height, :width] = contrast * picture[0]
    return canvas, torch.tensor(SIZES)


@torch.no_grad()
def fit(network: nn.Module, run: Callable[[], object], seed: int) -> None:
    """Give every layer of a network its weights while ``run`` passes pictures through it."""
    generator = torch.Generator().manual_seed(seed)
    for name, layer in network.named_modules():
        if hasattr(layer, "running_mean"):
            layer.register_forward_hook(Once(partial(fit_norm, generator=generator)))
        elif isinstance(getattr(layer, "weight", None), Tensor) and layer.weight.dim() == 1:
            layer.register_forward_hook(Once(partial(fit_gain, generator=generator)))
        elif isinstance(getattr(layer, "weight", None), Tensor):
            usual = BEFORE_NORM if getattr(layer, "bias", None) is None else 1.0
            spread = next((value for end, value in SPREADS.items() if name.endswith(end)), usual)
            shift = 1.0 if name.endswith("conv2.offset") else 0.1
            layer.register_forward_hook(Once(partial(fit_weight, spread=spread, shift=shift, generator=generator)))
            if name.endswith("cls_score"):
                layer.register_forward_hook(Once(fit_background))
    run()
    for layer in network.modules():
        layer._forward_hooks.clear()


class Once:
    """A forward hook that fits its layer when that first runs, and then runs it again."""

    def __init__(self, fitting: Callable[..., None]) -> None:
        self.fitting, self.done = fitting, False

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if self.done or not output.numel():
            return output
        self.done = True
        self.fitting(layer, inputs)
        return layer.forward(*inputs)


def noise(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator)


def fit_weight(
    layer: nn.Module, inputs: tuple[Tensor, ...], spread: float, shift: float, generator: torch.Generator
) -> None:
    """Random filters, scaled to the spread; where there is a bias, it takes the mean of what they see away and sets
    the channels about ``shift`` apart."""
    layer.weight.copy_(noise(layer.weight, generator))
    bias = getattr(layer, "bias", None)
    if bias is not None:
        bias.zero_()
    output = layer.forward(*inputs).transpose(0, 1).flatten(1)
    centred = output - output.mean(dim=1, keepdim=True)
    scale = spread / centred.std().clamp(min=1e-6)
    layer.weight.mul_(scale)
    if bias is not None:
        bias.copy_(shift * noise(bias, generator) - output.mean(dim=1) * scale)


def fit_background(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    logits = layer.forward(*inputs)
    behind = logits[:, 1:].max(dim=1).values - logits[:, 0]
    layer.bias[0] += behind.quantile(1 - OBJECTS)


def fit_gain(layer: nn.Module, inputs: tuple[Tensor, ...], generator: torch.Generator) -> None:
    layer.weight.copy_(1 + 0.1 * noise(layer.weight, generator))
    layer.bias.copy_(0.2 * noise(layer.bias, generator))


def fit_norm(layer: nn.Module, inputs: tuple[Tensor, ...], generator: torch.Generator) -> None:
    fit_gain(layer, inputs, generator)
    seen = inputs[0].transpose(0, 1).flatten(1)
    deviation = seen.std(dim=1).clamp(min=BEFORE_NORM / 4)
    layer.running_mean.copy_(seen.mean(dim=1) + 0.1 * deviation * noise(deviation, generator))
    layer.running_var.copy_(deviation.square() * (1 + 0.1 * noise(deviation, generator)).clamp(min=0.5))
