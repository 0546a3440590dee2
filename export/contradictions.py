"""Refuses weights whose shapes no network has, in words that lead to the key that is wrong."""

from export.architecture import Architecture, ResidualBody
from export.errors import ExportError
from export.names.spelling import Spelling

REPLACED = "heads replaced for another number of classes must all be replaced together"
# Channels of the offsets of one deformable group: x and y of each of the kernel's nine samples; a weight too.
_OFFSETS, _WEIGHTED = 18, 27


def check_outputs(a: Architecture, spelling: Spelling) -> None:
    """Refuse heads that do not agree on the number of classes, or of which nothing could be told.

    Raises:
        ExportError: Names the key, what was expected and what was found.
    """
    classes, deltas = a.classes, a.box.deltas
    if classes < 2:
        raise ExportError(
            f"misshapen key {spelling.foreign('box.0.scores.weight')}: expected 2 outputs at least, one class and the "
            f"background, found {classes}; is this a whole detector?"
        )
    if deltas not in (4, 4 * (classes - 1), 4 * classes):
        raise ExportError(
            f"misshapen key {spelling.foreign('box.0.deltas.weight')}: expected {4 * classes} outputs for {classes} "
            f"classes (or {4 * classes - 4} without the background's, or 4 for all), found {deltas}; {REPLACED}"
        )
    if a.mask and a.mask.masks not in (1, classes - 1, classes):
        raise ExportError(
            f"misshapen key {spelling.foreign('mask.logits.weight')}: expected {classes} outputs for {classes} classes "
            f"(or {classes - 1} without the background's, or 1 for all), found {a.mask.masks}; {REPLACED}"
        )


def check_body(a: Architecture, spelling: Spelling) -> None:
    """Refuse groups and offsets that no convolution has.

    Raises:
        ExportError: Names the key, what was expected and what was found.
    """
    if not isinstance(a.body, ResidualBody):
        return
    for stage, (inner, offsets) in enumerate(zip(a.body.inner_channels, a.body.offsets, strict=True)):
        name = f"{a.stage_name(stage)}.0.conv2"
        if inner % a.body.groups:
            raise ExportError(
                f"misshapen key {spelling.foreign(name + '.weight')}: expected a multiple of the body's "
                f"{a.body.groups} groups as outputs, found {inner}; are weights of two networks mixed?"
            )
        if not _may_move(offsets, inner):
            raise ExportError(
                f"misshapen key {spelling.foreign(name + '.offset.weight')}: expected {_OFFSETS} outputs for each "
                f"deformable group ({_WEIGHTED} in version 2), and as many groups as divide its {inner} channels, "
                f"found {offsets}; only deformable 3x3 convolutions are supported"
            )


def _may_move(offsets: int, channels: int) -> bool:
    """Whether so many outputs can move the kernels over so many channels."""
    each = _WEIGHTED if offsets % _WEIGHTED == 0 else _OFFSETS
    groups, rest = divmod(offsets, each)
    return not rest and (groups == 0 or channels % groups == 0)
