"""The feature pyramid over the body.

Source: Feature Pyramid Networks, Lin et al. 2017, section 3; the coarsest level is every second cell of the one
before (Detectron).
"""

import torch.nn.functional as F
from torch import Tensor, nn

from export.model.layers import Layers
from export.network import architecture


class Pyramid(nn.Module):
    """Laterals, top-down sums and output convolutions."""

    def __init__(self, layers: Layers, shape: architecture.Pyramid) -> None:
        super().__init__()
        self.stages = shape.stages
        levels = range(len(shape.stages))
        self.laterals = nn.ModuleList(layers.conv(f"fpn.lateral{level}") for level in levels)
        self.outputs = nn.ModuleList(layers.conv(f"fpn.output{level}") for level in levels)

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """One map per stage -> the levels, finest first, and one more that only proposals look at."""
        laterals = [lateral(maps[stage]) for lateral, stage in zip(self.laterals, self.stages, strict=True)]
        for level in reversed(range(len(laterals) - 1)):
            # The size is asked of the lateral's input: nobody but the sum then wants the lateral, and they can be one.
            size = maps[self.stages[level]].shape[-2:]
            laterals[level] = laterals[level] + F.interpolate(laterals[level + 1], size=size, mode="nearest")
        levels = [output(lateral) for output, lateral in zip(self.outputs, laterals, strict=True)]
        return (*levels, F.max_pool2d(levels[-1], kernel_size=1, stride=2))
