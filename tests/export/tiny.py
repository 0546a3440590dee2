"""Checkpoints of small networks, random but the same each time, under torchvision's names."""

import zlib
from dataclasses import replace

import torch
from torch import Tensor

from export.architecture import Architecture
from export.torchvision_names import foreign_name
from export.weights import expected_shapes

BOTTLENECK = Architecture(
    block="bottleneck",
    depths=(1, 2, 1, 1),
    stem_channels=8,
    stage_channels=(16, 32, 64, 128),
    inner_channels=(8, 8, 16, 32),
    groups=1,
    lateral_stages=(0, 1, 2, 3),
    fpn_channels=16,
    anchors_per_cell=3,
    box_pool=7,
    box_features=(24, 20),
    mask_convs=(12, 16),
    mask_hidden=10,
    classes=4,
)
BASIC = replace(
    BOTTLENECK, block="basic", stage_channels=(8, 16, 32, 64), inner_channels=(8, 16, 32, 64), mask_convs=(16,)
)
RESNEXT = replace(BOTTLENECK, groups=4)
THREE_LEVELS = replace(BOTTLENECK, lateral_stages=(1, 2, 3))
ALL = {"bottleneck": BOTTLENECK, "basic": BASIC, "resnext": RESNEXT, "three levels": THREE_LEVELS}


def state_dict(architecture: Architecture = BOTTLENECK) -> dict[str, Tensor]:
    """Weights under torchvision's names, scaled so that activations stay near 1."""
    return {foreign_name(name): _values(name, shape) for name, shape in expected_shapes(architecture)}


def _values(name: str, shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    values = torch.randn(shape, generator=generator)
    if name.endswith("variance"):
        return values.abs() + 0.5
    if len(shape) == 1:
        return 1 + 0.1 * values if name.endswith("weight") else 0.1 * values
    return values * (2 / values[0].numel()) ** 0.5
