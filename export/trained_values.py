"""What a checkpoint itself tells of its training beside the weights: pixel means and anchors."""

from collections.abc import Sequence

import torch
from torch import Tensor

from export.agreement import anchor_option
from export.conventions import Conventions
from export.errors import ExportError
from export.model.anchors import cell_anchors
from export.network.recognise import TABLES
from export.network.weights import Imported

# A buffer of anchors may have been rounded to float16 and back; an anchor of another size is pixels off.
_TOLERANCE = 0.51


def with_trained_pixels(conventions: Conventions, imported: Imported) -> tuple[Conventions, tuple[str, ...]]:
    """Take mean and deviation of the pixels from the checkpoint, where it says them.

    Returns:
        The conventions, and a note for each value that was another in them.

    Raises:
        ExportError: It does not hold three of each, or a deviation is not positive.
    """
    notes: tuple[str, ...] = ()
    for name in ("mean", "std"):
        if name not in imported.trained:
            continue
        theirs = imported.trained[name].flatten()
        found = tuple(round(value, 6) for value in theirs.double().tolist())
        key = TABLES[imported.format].foreign(f"trained.{name}")
        if len(found) != 3:
            raise ExportError(
                f"key {key} must hold 3 values, one a colour, found {len(found)}; only pictures of three colours can "
                "be served"
            )
        if name == "std" and min(found) <= 0:
            raise ExportError(f"key {key} must be above 0, found {found}; is the file damaged?")
        ours = torch.tensor(getattr(conventions.preprocessing, name), dtype=theirs.dtype)
        if not torch.equal(theirs, ours):  # 103.53 is another number in float32, and again in float16
            notes += (f"{name} = {found}, as the checkpoint says",)
            conventions = conventions.with_options("preprocessing", **{name: found})
    return conventions, notes


def check_trained_anchors(conventions: Conventions, imported: Imported) -> None:
    """Compare the anchors with those that the checkpoint carries, if any.

    Args:
        conventions: They fit the shapes.
        imported: May hold anchors.

    Raises:
        ExportError: They differ, or there are more levels than the network has.
    """
    ours = cell_anchors(conventions.proposals, imported.architecture.strides(conventions.body.last_dilation))
    trained = {name: anchors for name, anchors in sorted(imported.trained.items()) if name.startswith("anchors")}
    for name, theirs in trained.items():
        key, level = TABLES[imported.format].foreign(f"trained.{name}"), int(name.removeprefix("anchors"))
        if level >= len(ours):
            raise ExportError(f"unexpected key {key}: the other shapes describe {len(ours)} level(s) of anchors")
        if theirs.shape != ours[level].shape:
            raise ExportError(f"misshapen key {key}: expected {tuple(ours[level].shape)}, found {tuple(theirs.shape)}")
        if float((theirs.float() - ours[level]).abs().max()) > _TOLERANCE:
            raise ExportError(
                f"the checkpoint's anchors ({key}) are {_sides(theirs)} pixels wide and high, but the conventions give "
                f"{_sides(ours[level])}{_advice(list(trained.values()), conventions.boxes.legacy)}"
            )


def _sides(anchors: Tensor) -> str:
    return ", ".join(f"{width:g}x{height:g}" for width, height in (anchors[:, 2:] - anchors[:, :2]).tolist())


def _advice(levels: Sequence[Tensor], legacy: bool) -> str:
    squares = [_squares(anchors, legacy) for anchors in levels if anchors.dim() == 2 and anchors.shape[1] == 4]
    sizes = f" (it seems: --anchor-sizes {anchor_option(squares)})" if squares and all(squares) else ""
    return f"; use --anchor-sizes and --anchor-ratios, or --config, as in training{sizes}"


def _squares(anchors: Tensor, legacy: bool) -> list[float]:
    """Sides of the square anchors of one level: their sizes, as a user gives them."""
    sides = (anchors[:, 2:] - anchors[:, :2]).tolist()
    return sorted(round(width + legacy, 2) for width, height in sides if width == height)
