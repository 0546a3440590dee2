"""Checkpoints of small networks, random but the same each time, under torchvision's names."""

import zlib
from dataclasses import replace

import torch
from torch import Tensor

from export.names.torchvision import TABLE
from export.network.architecture import Architecture, BoxHead, MaskHead, ProposalHead, Pyramid, ResidualBody
from export.network.expected_shapes import expected_shapes

BODY = ResidualBody(
    block="bottleneck",
    depths=(1, 2, 1, 1),
    stem_channels=8,
    stage_channels=(16, 32, 64, 128),
    inner_channels=(8, 8, 16, 32),
    groups=1,
    norm="batch",
    offsets=(0, 0, 0, 0),
)
BOTTLENECK = Architecture(
    kind="fpn",
    body=BODY,
    pyramid=Pyramid(stages=(0, 1, 2, 3), channels=16, norm="none"),
    proposals=ProposalHead(convs=(16,), anchors=3),
    box=BoxHead((), "none", linears=(24, 20), linear_norm="none", side=7, deltas=16, cascade=1),
    mask=MaskHead(convs=(12, 16), norm="none", hidden=10, masks=4),
    classes=4,
)
BASIC = replace(
    BOTTLENECK,
    body=replace(BODY, block="basic", stage_channels=(8, 16, 32, 64), inner_channels=(8, 16, 32, 64)),
    mask=MaskHead((16,), "none", 10, 4),
)
RESNEXT = replace(BOTTLENECK, body=replace(BODY, groups=4))
THREE_LEVELS = replace(BOTTLENECK, pyramid=Pyramid((1, 2, 3), 16, "none"))
NORMED_HEADS = replace(
    BOTTLENECK,
    pyramid=Pyramid((0, 1, 2, 3), 16, "batch"),
    proposals=ProposalHead((16, 16), 3),
    box=BoxHead((16, 16, 16, 12), "batch", (24,), "none", 7, 16, 1),
    mask=MaskHead((12, 16), "batch", 10, 4),
)
WITHOUT_MASKS = replace(BOTTLENECK, mask=None)
ALL = {
    "bottleneck": BOTTLENECK,
    "basic": BASIC,
    "resnext": RESNEXT,
    "three levels": THREE_LEVELS,
    "v2": NORMED_HEADS,
    "without masks": WITHOUT_MASKS,
}


def state_dict(architecture: Architecture = BOTTLENECK) -> dict[str, Tensor]:
    """Weights under torchvision's names, scaled so that activations stay near 1."""
    return {TABLE.foreign(name): _values(name, shape) for name, shape in expected_shapes(architecture)}


def _values(name: str, shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    values = torch.randn(shape, generator=generator)
    if name.endswith("variance"):
        return values.abs() + 0.5
    if len(shape) == 1:
        return 1 + 0.1 * values if name.endswith("weight") else 0.1 * values
    return values * (2 / values[0].numel()) ** 0.5
