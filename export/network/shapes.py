"""Reads the architecture off the shapes of canonical weights, so that nobody has to say it again."""

import re
from collections.abc import Mapping
from dataclasses import replace
from math import isqrt

from torch import Tensor

from export.errors import ExportError
from export.kinds import Kind
from export.names.spelling import Spelling
from export.network.architecture import (
    Architecture,
    BoxHead,
    MaskHead,
    MobileNetBody,
    Norm,
    ProposalHead,
    Pyramid,
    ResidualBody,
)

# Stages of the body before the heads. torchvision's pyramids may end before the fourth.
STAGES: dict[Kind, tuple[int, ...]] = {"fpn": (1, 2, 3, 4), "c4": (3,), "dc5": (4,)}
KIND_NAMES: dict[Kind, str] = {"fpn": "an FPN network", "c4": "a C4 network", "dc5": "a network without FPN or C4 head"}
MIXED = "are weights of two networks mixed, or is the file damaged?"


class Shapes:
    """The shapes of a checkpoint, with its own names for the errors."""

    def __init__(self, tensors: Mapping[str, Tensor], spelling: Spelling) -> None:
        self._shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        self._spelling = spelling

    def any(self, pattern: str) -> str | None:
        """The first canonical name, in their alphabet, that is like ``pattern`` from its beginning to its end."""
        return min((name for name in self._shapes if re.fullmatch(pattern, name)), default=None)

    def dim(self, name: str, axis: int) -> int:
        """Length of one axis of a weight.

        Raises:
            ExportError: There is no such weight or no such axis, or it is empty.
        """
        if name not in self._shapes:
            raise ExportError(
                f"missing key {self.foreign(name)}: expected a weight, found nothing; is this a whole detector of "
                f"{self._spelling.format}, or only its body?"
            )
        shape = self._shapes[name]
        if axis >= len(shape):
            raise ExportError(
                f"misshapen key {self.foreign(name)}: expected more than {axis} dimensions, found {shape}; "
                "was it saved flat?"
            )
        if shape[axis] < 1:
            raise ExportError(
                f"misshapen key {self.foreign(name)}: expected no empty tensor, found {shape}; is the file whole?"
            )
        return shape[axis]

    def count(self, pattern: str) -> int:
        """One more than the largest number in the names that begin like ``pattern``; 0 without any."""
        found = (re.match(pattern + r"\.", name) for name in self._shapes)
        count, name = max(((int(match[1]) + 1, match.string) for match in found if match), default=(0, ""))
        if count > len(self._shapes):  # before anything of that size is made
            raise ExportError(
                f"unexpected key {self.foreign(name)}: its number is larger than the {len(self._shapes)} keys that "
                "the checkpoint has; is the file damaged?"
            )
        return count

    def outputs(self, pattern: str) -> tuple[int, ...]:
        """Outputs of numbered layers; ``pattern`` holds the number in its only group."""
        name = pattern.replace("\\", "").replace("(d+)", "{}")
        return tuple(self.dim(name.format(number) + ".weight", 0) for number in range(self.count(pattern)))

    def norm(self, layers: str) -> Norm:
        """What is behind some layers, whose names are like the pattern ``layers``: if behind one, then behind all."""
        if self.any(layers + r"\.norm\.(mean|variance)"):
            return "batch"
        return "group" if self.any(layers + r"\.norm\.\w+") else "none"

    def foreign(self, name: str) -> str:
        """The checkpoint's name of a weight."""
        return self._spelling.foreign(name)


def read_architecture(tensors: Mapping[str, Tensor], spelling: Spelling) -> Architecture:
    """Read the architecture off the shapes of canonical weights.

    Args:
        tensors: Canonical name to tensor; completeness is checked elsewhere (``export.network.weights``).
        spelling: Their names in the checkpoint.

    Raises:
        ExportError: A weight that tells the architecture is missing, or two of them contradict each other.
    """
    shapes = Shapes(tensors, spelling)
    kind = _kind(shapes)
    body = MobileNetBody() if shapes.any(r"body\.layer.*") else _residual_body(shapes, kind)
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
    if shapes.any(r"fpn\..*"):
        return "fpn"
    return "c4" if shapes.any(r"region_stage\..*") else "dc5"


def _residual_body(shapes: Shapes, kind: Kind) -> ResidualBody:
    stages = _stages(shapes, kind)
    bottleneck = shapes.any(r"body\.stage\d+\.\d+\.conv3\.weight") is not None
    last = "conv3" if bottleneck else "conv2"
    inner = tuple(shapes.dim(f"{stage}.0.conv2.weight", 0) for stage in stages)
    moving = (shapes.any(re.escape(stage) + r"\.\d+\.conv2\.offset\.weight") for stage in stages)
    return ResidualBody(
        block="bottleneck" if bottleneck else "basic",
        depths=tuple(shapes.count(re.escape(stage) + r"\.(\d+)") for stage in stages),
        stem_channels=shapes.dim("body.stem.weight", 0),
        stage_channels=tuple(shapes.dim(f"{stage}.0.{last}.weight", 0) for stage in stages),
        inner_channels=inner,
        groups=_groups(shapes, inner[0]) if bottleneck else 1,
        norm=shapes.norm(r"(body|region_stage)\..*"),
        offsets=tuple(shapes.dim(name, 0) if name else 0 for name in moving),
    )


def _stages(shapes: Shapes, kind: Kind) -> list[str]:
    """Canonical names of the stages, that of a C4's heads included."""
    found, limits = shapes.count(r"body\.stage(\d+)") - 1, STAGES[kind]
    if found not in limits:
        number = limits[0] if found < limits[0] else found
        raise ExportError(
            f"{'missing' if found < limits[0] else 'unexpected'} key "
            f"{shapes.foreign(f'body.stage{number}.0.conv1.weight')}: the body of {KIND_NAMES[kind]} must have "
            f"{' or '.join(map(str, limits))} stages before its heads, found {max(found, 0)}"
        )
    return [f"body.stage{number}" for number in range(1, found + 1)] + (["region_stage"] if kind == "c4" else [])


def _groups(shapes: Shapes, inner: int) -> int:
    name = "body.stage1.0.conv2.weight"
    width = shapes.dim(name, 1)
    if inner % width:
        raise ExportError(
            f"misshapen key {shapes.foreign(name)}: its {inner} outputs must be a multiple of the inputs of a group "
            f"(its second dimension), found {width}; {MIXED}"
        )
    return inner // width


def _pyramid(shapes: Shapes, channels: tuple[int, ...]) -> Pyramid:
    """torchvision's ``returned_layers`` may leave stages out: the channels say which stage a lateral takes."""
    levels = max(shapes.count(r"fpn\.lateral(\d+)"), shapes.count(r"fpn\.output(\d+)"))
    inputs = tuple(shapes.dim(f"fpn.lateral{level}.weight", 1) for level in range(levels))
    for level, count in enumerate(inputs):
        if count not in channels:
            raise ExportError(
                f"misshapen key {shapes.foreign(f'fpn.lateral{level}.weight')}: expected as many inputs as a stage of "
                f"the body has channels ({', '.join(map(str, channels))}), found {count}; {MIXED}"
            )
    stages = tuple(channels.index(count) for count in inputs)
    if stages != tuple(range(stages[0], stages[0] + levels)):
        raise ExportError(
            f"misshapen key {shapes.foreign('fpn.lateral0.weight')} or its siblings: the FPN must take consecutive "
            f"stages, found stages {', '.join(str(stage + 1) for stage in stages)}; {MIXED}"
        )
    return Pyramid(stages, shapes.dim("fpn.lateral0.weight", 0), shapes.norm(r"fpn\.\w+"))


def _with_box_head(shapes: Shapes, a: Architecture) -> Architecture:
    convs, linears = shapes.outputs(r"box\.0\.conv(\d+)"), shapes.outputs(r"box\.0\.linear(\d+)")
    if a.kind == "c4" and (convs or linears):
        name = shapes.foreign(f"box.0.{'conv' if convs else 'linear'}0.weight")
        raise ExportError(f"unexpected key {name}: the box head of a C4 network is the last stage of its body; {MIXED}")
    side = 0 if a.kind == "c4" else _side(shapes, (a.region_channels, *convs)[-1])
    norms = shapes.norm(r"box\.\d+\.conv\d+"), shapes.norm(r"box\.\d+\.linear\d+")
    box = BoxHead(convs, norms[0], linears, norms[1], side, a.box.deltas, a.box.cascade)
    return replace(a, box=box)


def _side(shapes: Shapes, channels: int) -> int:
    """Side of the pooled grid that the first fully connected layer takes."""
    name = "box.0.linear0.weight"
    inputs = shapes.dim(name, 1)
    side = isqrt(inputs // channels)
    if side < 1 or side * side * channels != inputs:
        raise ExportError(
            f"misshapen key {shapes.foreign(name)}: expected {channels} inputs for each cell of a square grid, found "
            f"{inputs}; {MIXED}"
        )
    return side


def _mask_head(shapes: Shapes) -> MaskHead | None:
    if not shapes.any(r"mask\..*"):
        return None
    return MaskHead(
        convs=shapes.outputs(r"mask\.conv(\d+)"),
        norm=shapes.norm(r"mask\.conv\d+"),
        hidden=shapes.dim("mask.deconv.weight", 1),
        masks=shapes.dim("mask.logits.weight", 0),
    )
