"""Canonical weights: renamed, complete, and free of what would make every answer NaN."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from export.architecture import Architecture
from export.description import summary
from export.errors import ExportError
from export.expected_shapes import expected_shapes
from export.kinds import Format
from export.names.table import NameTable
from export.recognise import TABLES, recognise, refuse_other_networks
from export.shapes import read_architecture

# Canonical names of what a checkpoint tells of its training: no weights of the network.
_TRAINED = "trained."


@dataclass(frozen=True)
class Imported:
    """A checkpoint that is understood.

    Attributes:
        weights: Canonical name to tensor, exactly those of the architecture.
        architecture: What their shapes say.
        format: Whose names they had.
        trained: What the checkpoint tells of its training: ``mean``, ``std``, ``anchors0`` and so on, if anything.
    """

    weights: dict[str, Tensor]
    architecture: Architecture
    format: Format
    trained: dict[str, Tensor]


def import_weights(tensors: Mapping[str, Tensor], format_: Format | None = None) -> Imported:
    """Rename the weights of a checkpoint and check that they are complete.

    Args:
        tensors: Name to tensor, of any float dtype, as the framework wrote them.
        format_: Whose names they are; recognised without it.

    Raises:
        ExportError: They are of another kind of network, or a key is missing, unexpected, doubled, misshapen or not of
            floats.
    """
    refuse_other_networks(tensors.keys())
    format_ = format_ or recognise(tensors.keys())
    table = TABLES[format_]
    canonical = table.to_canonical(tensors)
    trained = {name: tensor for name, tensor in canonical.items() if name.startswith(_TRAINED)}
    weights = {name: tensor for name, tensor in canonical.items() if name not in trained}
    architecture = read_architecture(weights, table)
    check_complete(weights, architecture, table)
    return Imported(weights, architecture, format_, {n.removeprefix(_TRAINED): t for n, t in trained.items()})


def check_complete(weights: Mapping[str, Tensor], architecture: Architecture, table: NameTable) -> None:
    """Refuse weights that are not exactly the architecture's.

    Raises:
        ExportError: Names the first key that is missing, unexpected, misshapen or not of finite floats.
    """
    _check_outputs(architecture, table)
    expected = dict(expected_shapes(architecture))
    for name, shape in expected.items():
        if name not in weights:
            raise ExportError(f"missing key {table.foreign(name)}: expected {shape}, found nothing; is the file whole?")
        _check_tensor(table.foreign(name), weights[name], shape)
        if name.endswith(".variance") and bool((weights[name].float() < 0).any()):  # every answer would be NaN
            raise ExportError(f"key {table.foreign(name)} holds a negative variance: is the file damaged?")
    for name in weights.keys() - expected.keys():
        raise ExportError(
            f"unexpected key {table.foreign(name)}: found {tuple(weights[name].shape)}, but the other shapes describe "
            f"a network without it ({summary(architecture)})"
        )


def _check_tensor(foreign: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise ExportError(
            f"misshapen key {foreign}: expected {shape}, found {tuple(tensor.shape)}; "
            "heads replaced for another number of classes must all be replaced together"
        )
    if not tensor.is_floating_point():
        raise ExportError(f"key {foreign} must hold floats, found {tensor.dtype}; is the file quantised?")
    if not bool(tensor.float().isfinite().all()):
        raise ExportError(f"key {foreign} holds NaN or infinity: did the training diverge?")


def _check_outputs(a: Architecture, table: NameTable) -> None:
    """Refuse heads that do not agree on the number of classes."""
    classes, causes = a.classes, "heads replaced for another number of classes must all be replaced together"
    if a.box.deltas not in (4, 4 * (classes - 1), 4 * classes):
        raise ExportError(
            f"misshapen key {table.foreign('box.0.deltas.weight')}: expected {4 * classes} outputs for {classes} "
            f"classes (or {4 * classes - 4} without the background's, or 4 for all), found {a.box.deltas}; {causes}"
        )
    if a.mask and a.mask.masks not in (1, classes - 1, classes):
        raise ExportError(
            f"misshapen key {table.foreign('mask.logits.weight')}: expected {classes} outputs for {classes} classes "
            f"(or {classes - 1} without the background's, or 1 for all), found {a.mask.masks}; {causes}"
        )
