"""The networks that can be built, as data: everything that a checkpoint's shapes say."""

from dataclasses import dataclass
from typing import Literal

from export.kinds import Kind
from export.network import mobilenet

Norm = Literal["none", "batch", "group"]
"""``batch`` has statistics of its own (frozen, synchronised or not: in inference they are one)."""

# Outputs of the convolution that moves a 3x3 kernel, for each deformable group: x and y of each of its nine samples; in
# version 2 also the weight of each.
OFFSETS, WEIGHTED_OFFSETS = 18, 27


def offset_groups(outputs: int) -> tuple[int, bool]:
    """Deformable groups of a convolution of so many outputs, and whether the samples are weighted (version 2).

    54 could be three groups of version 1, too; but three share no number of channels that a ResNet has.
    """
    weighted = outputs % WEIGHTED_OFFSETS == 0
    return outputs // (WEIGHTED_OFFSETS if weighted else OFFSETS), weighted


@dataclass(frozen=True)
class ResidualBody:
    """ResNet, wide ResNet or ResNeXt.

    Attributes:
        block: Kind of the residual blocks.
        depths: Blocks of each stage, that of a C4's heads included.
        stem_channels: Channels after the first convolution.
        stage_channels: Channels after each stage.
        inner_channels: Channels of the 3x3 convolutions of each stage.
        groups: Groups of the 3x3 convolutions (ResNeXt).
        norm: Behind every convolution.
        offsets: Outputs of the convolutions that move the 3x3 kernels of each stage (see ``offset_groups``); 0 where
            they stay in place.
    """

    block: Literal["basic", "bottleneck"]
    depths: tuple[int, ...]
    stem_channels: int
    stage_channels: tuple[int, ...]
    inner_channels: tuple[int, ...]
    groups: int
    norm: Norm
    offsets: tuple[int, ...]

    def in_channels(self, stage: int, block: int) -> int:
        """Channels that enter a block."""
        if block:
            return self.stage_channels[stage]
        return self.stage_channels[stage - 1] if stage else self.stem_channels

    def has_shortcut(self, stage: int, block: int) -> bool:
        """Whether a block's identity needs a convolution: the shape changes."""
        return block == 0 and (stage > 0 or self.in_channels(0, 0) != self.stage_channels[0])


@dataclass(frozen=True)
class MobileNetBody:
    """MobileNetV3-Large; its shape is one.

    Attributes:
        norm: Behind every convolution.
    """

    norm: Norm = "batch"


@dataclass(frozen=True)
class Pyramid:
    """A feature pyramid.

    Attributes:
        stages: Index of the stage that feeds each level, finest first.
        channels: Of every level.
        norm: Behind every convolution.
    """

    stages: tuple[int, ...]
    channels: int
    norm: Norm


@dataclass(frozen=True)
class ProposalHead:
    """What the region proposal network has on every level.

    Attributes:
        convs: Outputs of its 3x3 convolutions.
        anchors: Anchors at each position.
    """

    convs: tuple[int, ...]
    anchors: int


@dataclass(frozen=True)
class BoxHead:
    """What classifies a region and corrects its box.

    Attributes:
        convs: Outputs of its 3x3 convolutions.
        norm: Behind them.
        linears: Outputs of its fully connected layers. None of both: the mean of the region's features is classified.
        linear_norm: Behind those.
        side: Of the pooled grid, where there are fully connected layers; else 0.
        deltas: Box deltas of a region: 4, the same for all classes, or 4 a class, with or without the background's.
        cascade: Heads in a row, each correcting the boxes of the one before.
    """

    convs: tuple[int, ...]
    norm: Norm
    linears: tuple[int, ...]
    linear_norm: Norm
    side: int
    deltas: int
    cascade: int


@dataclass(frozen=True)
class MaskHead:
    """What finds the mask of a detection.

    Attributes:
        convs: Outputs of its 3x3 convolutions.
        norm: Behind them.
        hidden: Outputs of its 2x2 deconvolution.
        masks: Masks of a region: 1, the same for all classes, or one a class, with or without the background's.
    """

    convs: tuple[int, ...]
    norm: Norm
    hidden: int
    masks: int


@dataclass(frozen=True)
class Architecture:
    """A Mask R-CNN, or a Faster R-CNN: one without ``mask``.

    Attributes:
        kind: Where the heads look.
        body: What computes the features.
        pyramid: What makes levels of them; only of kind ``fpn``.
        proposals: The region proposal network.
        box: The box head.
        mask: The mask head, if any.
        classes: Number of classes, background included.
    """

    kind: Kind
    body: ResidualBody | MobileNetBody
    pyramid: Pyramid | None
    proposals: ProposalHead
    box: BoxHead
    mask: MaskHead | None
    classes: int

    def stage_name(self, stage: int) -> str:
        """Canonical name of a residual stage: a C4's fourth stands in the heads."""
        return "region_stage" if self.kind == "c4" and stage == 3 else f"body.stage{stage + 1}"

    @property
    def map_channels(self) -> int:
        """Channels of the maps that proposals and heads look at."""
        if self.pyramid:
            return self.pyramid.channels
        return self.body_channels[-2 if self.kind == "c4" else -1]

    @property
    def region_channels(self) -> int:
        """Channels of a region's features as the heads get them."""
        return self.body_channels[-1] if self.kind == "c4" else self.map_channels

    @property
    def body_channels(self) -> tuple[int, ...]:
        """Channels of each stage of the body."""
        return mobilenet.SEEN_CHANNELS if isinstance(self.body, MobileNetBody) else self.body.stage_channels

    @property
    def pooled_levels(self) -> int:
        """Levels that regions are cut out of; the proposals of a pyramid see one more."""
        if self.pyramid is None or isinstance(self.body, MobileNetBody):
            return 1  # both levels of a MobileNet have one stride, and torchvision always takes the first
        return len(self.pyramid.stages)

    def strides(self, last_dilation: int = 1) -> tuple[int, ...]:
        """Canvas pixels per cell of each level that the proposals see.

        Args:
            last_dilation: See ``conventions.Body``; a dilated stage does not stride.
        """
        if self.pyramid is None:
            return (16 if self.kind == "c4" or last_dilation > 1 else 32,)
        of_stages = mobilenet.SEEN_STRIDES if isinstance(self.body, MobileNetBody) else (4, 8, 16, 32)
        strides = tuple(of_stages[stage] for stage in self.pyramid.stages)
        return (*strides, 2 * strides[-1])  # the coarsest level is every second cell of the one before
