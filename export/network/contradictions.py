"""Refuses weights whose shapes no network has, in words that lead to the key that is wrong."""

from export.errors import ExportError
from export.names.spelling import Spelling
from export.network.architecture import OFFSETS, WEIGHTED_OFFSETS, Architecture, ResidualBody, offset_groups

REPLACED = "heads replaced for another number of classes must all be replaced together"


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
                f"misshapen key {spelling.foreign(name + '.offset.weight')}: expected {OFFSETS} outputs for each "
                f"deformable group ({WEIGHTED_OFFSETS} in version 2), and as many groups as divide its {inner} "
                f"channels, found {offsets}; only deformable 3x3 convolutions are supported"
            )


def _may_move(offsets: int, channels: int) -> bool:
    """Whether so many outputs can move the kernels over so many channels."""
    groups, weighted = offset_groups(offsets)
    whole = offsets == groups * (WEIGHTED_OFFSETS if weighted else OFFSETS)
    return whole and (groups == 0 or channels % groups == 0)
