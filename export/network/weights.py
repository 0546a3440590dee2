"""Canonical weights: renamed, complete, and free of what would make every answer NaN."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from export.errors import ExportError
from export.kinds import Format
from export.names.spelling import Spelling
from export.network.architecture import Architecture
from export.network.contradictions import REPLACED, check_body, check_outputs
from export.network.description import summary
from export.network.expected_shapes import expected_shapes
from export.network.recognise import TABLES, recognise, refuse_other_networks, without_wrapper
from export.network.shapes import MIXED, read_architecture

# Canonical names of what a checkpoint tells of its training: no weights of the network.
_TRAINED = "trained."
# Canonical names of the layers whose size is the number of classes.
_OF_CLASSES = re.compile(r"box\.\d+\.(scores|deltas)\.|mask\.logits\.")
# Those that see the pictures: with depth or infrared beside the colours a stem has more inputs, of grey pictures one.
_OF_COLOURS = re.compile(r"body\.(stem|layer0\.conv)\.weight")


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
    tensors = without_wrapper(tensors)
    refuse_other_networks(tensors.keys())
    format_ = format_ or recognise(tensors.keys())
    table = TABLES[format_]
    canonical, spelling = table.to_canonical(tensors), Spelling(table, tensors)
    trained = {name: tensor for name, tensor in canonical.items() if name.startswith(_TRAINED)}
    weights = {name: tensor for name, tensor in canonical.items() if name not in trained}
    for name, tensor in trained.items():
        check_values(spelling.foreign, name, tensor)
    architecture = read_architecture(weights, spelling)
    check_outputs(architecture, spelling)
    check_body(architecture, spelling)
    check_complete(weights, architecture, spelling)
    return Imported(weights, architecture, format_, {n.removeprefix(_TRAINED): t for n, t in trained.items()})


def check_complete(weights: Mapping[str, Tensor], architecture: Architecture, spelling: Spelling) -> None:
    """Refuse weights that are not exactly the architecture's.

    Raises:
        ExportError: Names the first key that is missing, unexpected, misshapen or not of finite floats.
    """
    expected = dict(expected_shapes(architecture))
    for name, shape in expected.items():
        if name not in weights:
            raise ExportError(
                f"missing key {spelling.foreign(name)}: expected {shape}, found nothing; is the file whole?"
            )
        _check_shape(spelling, name, tuple(weights[name].shape), shape)
        check_values(spelling.foreign, name, weights[name])
    for name in sorted(weights.keys() - expected.keys()):
        raise ExportError(
            f"unexpected key {spelling.foreign(name)}: found {tuple(weights[name].shape)}, but the other shapes "
            f"describe a network without it ({summary(architecture)}); is another of its keys missing?"
        )


def _check_shape(spelling: Spelling, name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found != expected:
        raise ExportError(
            f"misshapen key {spelling.foreign(name)}: expected {expected}, found {found}; "
            f"{_likely_cause(name, found, expected)}"
        )


def _likely_cause(name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    if _OF_CLASSES.match(name):
        return REPLACED
    if _OF_COLOURS.match(name) and found == (expected[0], *found[1:2], *expected[2:]):
        return f"only pictures of three colours can be served, not of {found[1]} channels"
    return MIXED


def check_values(foreign: Callable[[str], str], name: str, tensor: Tensor) -> None:
    """Refuse numbers that would make every answer NaN.

    Args:
        foreign: Gives the checkpoint's name, which is only needed where something is wrong.
        name: The canonical one.
        tensor: The weight.
    """
    if not tensor.is_floating_point():
        raise ExportError(f"key {foreign(name)} must hold floats, found {tensor.dtype}; is the file quantised?")
    if not bool(tensor.float().isfinite().all()):
        raise ExportError(f"key {foreign(name)} holds NaN or infinity: did the training diverge?")
    if name.endswith(".variance") and bool((tensor.float() < 0).any()):
        raise ExportError(f"key {foreign(name)} holds a negative variance: is the file damaged?")
