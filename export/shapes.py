"""Reads the architecture off the shapes of canonical weights, so that nobody has to say it again."""

import re
from collections.abc import Mapping
from dataclasses import replace
from math import isqrt

from torch import Tensor

from export.architecture import (
    Architecture,
    BoxHead,
    MaskHead,
    MobileNetBody,
    Norm,
    ProposalHead,
    Pyramid,
    ResidualBody,
)
from export.errors import ExportError
from export.kinds import Kind
from export.names.table import NameTable


class Shapes:
    """The shapes of a checkpoint, with the names of its own framework for the errors."""

    def __init__(self, tensors: Mapping[str, Tensor], table: NameTable) -> None:
        self._shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        self._table = table

    def has(self, name: str) -> bool:
        """Whether there is a weight of that canonical name."""
        return name in self._shapes

    def dim(self, name: str, axis: int) -> int:
        """Length of one axis of a weight.

        Raises:
            ExportError: There is no such weight or no such axis, or it is empty.
        """
        foreign = self._table.foreign(name)
        if name not in self._shapes:
            raise ExportError(
                f"missing key {foreign}: expected a weight, found nothing; is this a whole detector of "
                f"{self._table.format}, or only its body?"
            )
        shape = self._shapes[name]
        if axis >= len(shape):
            raise ExportError(f"key {foreign} must have more than {axis} dimensions, got {shape}")
        if shape[axis] < 1:
            raise ExportError(f"key {foreign} must not be empty, got {shape}")
        return shape[axis]

    def count(self, pattern: str) -> int:
        """One more than the largest number in the names that begin like ``pattern``; 0 without any."""
        found = (re.match(pattern + r"\.", name) for name in self._shapes)
        count, name = max(((int(match[1]) + 1, match.string) for match in found if match), default=(0, ""))
        if count > len(self._shapes):  # before anything of that size is made
            raise ExportError(
                f"key {self._table.foreign(name)} counts further than the {len(self._shapes)} keys of the checkpoint"
            )
        return count

    def outputs(self, pattern: str) -> tuple[int, ...]:
        """Outputs of numbered layers; ``pattern`` holds the number in its only group."""
        name = pattern.replace("\\", "").replace("(d+)", "{}")
        return tuple(self.dim(name.format(number) + ".weight", 0) for number in range(self.count(pattern)))

    def norm(self, layer: str) -> Norm:
        """What is behind a layer."""
        if self.has(f"{layer}.norm.mean"):
            return "batch"
        return "group" if self.has(f"{layer}.norm.weight") else "none"

    def foreign(self, name: str) -> str:
        """The framework's name of a weight."""
        return self._table.foreign(name)


def read_architecture(tensors: Mapping[str, Tensor], table: NameTable) -> Architecture:
    """Read the architecture off the shapes of canonical weights.

    Args:
        tensors: Canonical name to tensor; completeness is checked elsewhere (``export.weights``).
        table: Their names in the checkpoint.

    Raises:
        ExportError: A weight that tells the architecture is missing, or two of them contradict each other.
    """
    shapes = Shapes(tensors, table)
    kind = _kind(shapes)
    body = MobileNetBody() if shapes.has("body.layer0.conv.weight") else _residual_body(shapes, kind)
    bare = Architecture(
        kind=kind,
        body=body,
        pyramid=None,
        proposals=ProposalHead(shapes.outputs(r"rpn\.conv(\d+)"), shapes.dim("rpn.objectness.weight", 0)),
        box=BoxHead((), "none", (), "none", 0, shapes.dim("box.0.deltas.weight", 0), shapes.count(r"box\.(\d+)")),
        mask=_mask_head(shapes),
        classes=shapes.dim("box.0.scores.weight", 0),
    )
    pyramid = _pyramid(shapes, bare.body_channels) if kind == "fpn" else None
    return _with_box_head(shapes, replace(bare, pyramid=pyramid))


def _kind(shapes: Shapes) -> Kind:
    if shapes.has("fpn.lateral0.weight"):
        return "fpn"
    return "c4" if shapes.has("region_stage.0.conv1.weight") else "dc5"


def _residual_body(shapes: Shapes, kind: Kind) -> ResidualBody:
    count = shapes.count(r"body\.stage(\d+)") - 1
    if count < 1:
        raise ExportError(f"missing key {shapes.foreign('body.stage1.0.conv1.weight')}: the body has no stages")
    stages = [f"body.stage{number}" for number in range(1, count + 1)] + (["region_stage"] if kind == "c4" else [])
    bottleneck = shapes.has("body.stage1.0.conv3.weight")
    last = "conv3" if bottleneck else "conv2"
    inner = tuple(shapes.dim(f"{stage}.0.conv2.weight", 0) for stage in stages)
    offsets = (f"{stage}.0.conv2.offset.weight" for stage in stages)
    return ResidualBody(
        block="bottleneck" if bottleneck else "basic",
        depths=tuple(shapes.count(re.escape(stage) + r"\.(\d+)") for stage in stages),
        stem_channels=shapes.dim("body.stem.weight", 0),
        stage_channels=tuple(shapes.dim(f"{stage}.0.{last}.weight", 0) for stage in stages),
        inner_channels=inner,
        groups=inner[0] // shapes.dim("body.stage1.0.conv2.weight", 1) if bottleneck else 1,
        norm=shapes.norm("body.stem"),
        offsets=tuple(shapes.dim(name, 0) if shapes.has(name) else 0 for name in offsets),
    )


def _pyramid(shapes: Shapes, channels: tuple[int, ...]) -> Pyramid:
    """torchvision's ``returned_layers`` may leave stages out: the channels say which stage a lateral takes."""
    laterals = shapes.count(r"fpn\.lateral(\d+)")
    inputs = tuple(shapes.dim(f"fpn.lateral{level}.weight", 1) for level in range(laterals))
    if any(count not in channels for count in inputs):
        name = shapes.foreign("fpn.lateral0.weight")
        raise ExportError(f"key {name} and its siblings must take some of {channels} channels, got {inputs}")
    stages = tuple(channels.index(count) for count in inputs)
    if stages != tuple(range(stages[0], stages[0] + laterals)):
        raise ExportError(f"the FPN must take consecutive stages, got stages {tuple(s + 1 for s in stages)}")
    return Pyramid(stages, shapes.dim("fpn.lateral0.weight", 0), shapes.norm("fpn.lateral0"))


def _with_box_head(shapes: Shapes, a: Architecture) -> Architecture:
    convs, linears = shapes.outputs(r"box\.0\.conv(\d+)"), shapes.outputs(r"box\.0\.linear(\d+)")
    side = _side(shapes, (a.region_channels, *convs)[-1]) if linears else 0
    norms = shapes.norm("box.0.conv0"), shapes.norm("box.0.linear0")
    box = BoxHead(convs, norms[0], linears, norms[1], side, a.box.deltas, a.box.cascade)
    return replace(a, box=box)


def _side(shapes: Shapes, channels: int) -> int:
    """Side of the pooled grid that the first fully connected layer takes."""
    name = "box.0.linear0.weight"
    inputs = shapes.dim(name, 1)
    side = isqrt(inputs // channels)
    if side * side * channels != inputs:
        raise ExportError(
            f"key {shapes.foreign(name)} must take {channels} channels of a square grid, got {inputs} inputs"
        )
    return side


def _mask_head(shapes: Shapes) -> MaskHead | None:
    if not shapes.has("mask.deconv.weight") and not shapes.has("mask.logits.weight"):
        return None
    return MaskHead(
        convs=shapes.outputs(r"mask\.conv(\d+)"),
        norm=shapes.norm("mask.conv0"),
        hidden=shapes.dim("mask.deconv.weight", 1),
        masks=shapes.dim("mask.logits.weight", 0),
    )
