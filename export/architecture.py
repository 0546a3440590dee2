"""What a checkpoint's shapes say about the network, so that nobody has to say it again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Literal

from torch import Tensor

from export.errors import ExportError
from export.torchvision_names import foreign_name

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Architecture:
    """A ResNet-FPN Mask R-CNN with a two-layer box head.

    Attributes:
        block: Kind of the residual blocks.
        depths: Number of blocks per stage.
        stem_channels: Channels after the first convolution.
        stage_channels: Channels after each stage.
        inner_channels: Channels of the 3x3 convolutions of each stage.
        groups: Groups of the 3x3 convolutions (ResNeXt).
        lateral_stages: Index of the stage that feeds each FPN level, finest first.
        fpn_channels: Channels of every FPN level.
        anchors_per_cell: Anchors at each position of a level.
        box_pool: Side of the pooled grid that the box head sees.
        box_features: Outputs of fc6 and fc7.
        mask_convs: Outputs of the mask head's 3x3 convolutions.
        mask_hidden: Outputs of its 2x2 deconvolution.
        classes: Number of classes, background included.
    """

    block: Literal["basic", "bottleneck"]
    depths: tuple[int, ...]
    stem_channels: int
    stage_channels: tuple[int, ...]
    inner_channels: tuple[int, ...]
    groups: int
    lateral_stages: tuple[int, ...]
    fpn_channels: int
    anchors_per_cell: int
    box_pool: int
    box_features: tuple[int, int]
    mask_convs: tuple[int, ...]
    mask_hidden: int
    classes: int

    @property
    def levels(self) -> int:
        """Number of FPN levels that the heads pool from; the RPN sees one more."""
        return len(self.lateral_stages)

    @property
    def strides(self) -> tuple[int, ...]:
        """Canvas pixels per cell of each level that the RPN sees, the coarsest (a subsampled copy) included."""
        strides = tuple(4 * 2**stage for stage in self.lateral_stages)
        return (*strides, 2 * strides[-1])

    def in_channels(self, stage: int, block: int) -> int:
        """Channels that enter a block."""
        if block:
            return self.stage_channels[stage]
        return self.stage_channels[stage - 1] if stage else self.stem_channels

    def has_shortcut(self, stage: int, block: int) -> bool:
        """Whether a block's identity needs a convolution: the shape changes."""
        return block == 0 and (stage > 0 or self.in_channels(0, 0) != self.stage_channels[0])


def read_architecture(tensors: Mapping[str, Tensor]) -> Architecture:
    """Read the architecture off the shapes of canonical weights.

    Args:
        tensors: Canonical name to tensor; completeness is checked elsewhere (``export.weights``).

    Raises:
        ExportError: A weight that tells the architecture is missing, or two of them contradict each other.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    bottleneck = "body.stage1.0.conv3.weight" in shapes
    depths = _depths(shapes)
    stages = range(1, len(depths) + 1)
    last = "conv3" if bottleneck else "conv2"
    channels = tuple(_dim(shapes, f"body.stage{s}.0.{last}.weight", 0) for s in stages)
    inner = tuple(_dim(shapes, f"body.stage{s}.0.conv2.weight", 0) for s in stages)
    return Architecture(
        block="bottleneck" if bottleneck else "basic",
        depths=depths,
        stem_channels=_dim(shapes, "body.stem.conv.weight", 0),
        stage_channels=channels,
        inner_channels=inner,
        groups=inner[0] // max(1, _dim(shapes, "body.stage1.0.conv2.weight", 1)),
        lateral_stages=_lateral_stages(shapes, channels),
        fpn_channels=_dim(shapes, "fpn.lateral0.weight", 0),
        anchors_per_cell=_dim(shapes, "rpn.objectness.weight", 0),
        box_pool=_box_pool(shapes),
        box_features=(_dim(shapes, "box.fc6.weight", 0), _dim(shapes, "box.fc7.weight", 0)),
        mask_convs=tuple(_dim(shapes, f"mask.conv{n}.weight", 0) for n in range(_count(shapes, r"mask\.conv(\d+)"))),
        mask_hidden=_dim(shapes, "mask.deconv.weight", 1),
        classes=_dim(shapes, "box.scores.weight", 0),
    )


def _dim(shapes: Shapes, name: str, axis: int) -> int:
    if name not in shapes:
        raise ExportError(f"missing key {foreign_name(name)}: is this a whole Mask R-CNN checkpoint?")
    if axis >= len(shapes[name]):
        raise ExportError(f"key {foreign_name(name)} must have more than {axis} dimensions, got {shapes[name]}")
    if shapes[name][axis] < 1:
        raise ExportError(f"key {foreign_name(name)} must not be empty, got {shapes[name]}")
    return shapes[name][axis]


def _count(shapes: Shapes, pattern: str) -> int:
    """One more than the largest number in the names that begin like ``pattern``; 0 without any."""
    found = (re.match(pattern + r"\.", name) for name in shapes)
    count, name = max(((int(match[1]) + 1, match.string) for match in found if match), default=(0, ""))
    if count > len(shapes):  # before anything of that size is made
        raise ExportError(f"key {foreign_name(name)} counts further than the {len(shapes)} keys of the checkpoint")
    return count


def _depths(shapes: Shapes) -> tuple[int, ...]:
    stages = _count(shapes, r"body\.stage(\d+)")
    if stages < 2:
        raise ExportError(f"missing key {foreign_name('body.stage1.0.conv1.weight')}: the body has no residual blocks")
    return tuple(_count(shapes, rf"body\.stage{stage}\.(\d+)") for stage in range(1, stages))


def _lateral_stages(shapes: Shapes, channels: tuple[int, ...]) -> tuple[int, ...]:
    """torchvision's ``returned_layers`` may leave stages out: the channels say which stage a lateral takes."""
    laterals = _count(shapes, r"fpn\.lateral(\d+)")
    inputs = tuple(_dim(shapes, f"fpn.lateral{level}.weight", 1) for level in range(laterals))
    if not inputs or any(count not in channels for count in inputs):
        name = foreign_name("fpn.lateral0.weight")
        raise ExportError(f"key {name} and its siblings must take {channels} channels, got {inputs}")
    stages = tuple(channels.index(count) for count in inputs)
    if stages != tuple(range(stages[0], stages[0] + laterals)):
        raise ExportError(f"the FPN must take consecutive stages, got stages {tuple(s + 1 for s in stages)}")
    return stages


def _box_pool(shapes: Shapes) -> int:
    inputs, channels = _dim(shapes, "box.fc6.weight", 1), _dim(shapes, "fpn.lateral0.weight", 0)
    side = isqrt(inputs // channels)
    if side * side * channels != inputs:
        raise ExportError(
            f"key {foreign_name('box.fc6.weight')} must take {channels} channels of a square grid, got {inputs} inputs"
        )
    return side
