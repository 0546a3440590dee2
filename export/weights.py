"""Canonical weights: which ones an architecture has, and that a checkpoint has exactly these."""

from collections.abc import Iterator, Mapping

from torch import Tensor

from export.architecture import Architecture, read_architecture
from export.errors import ExportError
from export.torchvision_names import foreign_name, to_canonical

Row = tuple[str, tuple[int, ...]]


def import_torchvision(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Architecture]:
    """Rename the weights of a torchvision checkpoint and check that they are complete.

    Args:
        tensors: torchvision name to tensor, of any float dtype.

    Returns:
        Canonical name to tensor, and what the shapes say.

    Raises:
        ExportError: A key is missing, unexpected, doubled, misshapen or not of floats.
    """
    weights = to_canonical(dict(tensors))
    architecture = read_architecture(weights)
    check_complete(weights, architecture)
    return weights, architecture


def check_complete(weights: Mapping[str, Tensor], architecture: Architecture) -> None:
    """Refuse weights that are not exactly the architecture's.

    Raises:
        ExportError: Names the first key that is missing, unexpected, misshapen or not of finite floats.
    """
    expected = dict(expected_shapes(architecture))
    for name, shape in expected.items():
        if name not in weights:
            raise ExportError(f"missing key {foreign_name(name)}: expected {shape}, found nothing; is the file whole?")
        _check_tensor(name, weights[name], shape)
    for name in weights.keys() - expected.keys():
        raise ExportError(
            f"unexpected key {foreign_name(name)}: found {tuple(weights[name].shape)}, but the other shapes "
            f"describe a network without it ({architecture.block} blocks, {architecture.depths} per stage)"
        )


def _check_tensor(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise ExportError(
            f"misshapen key {foreign_name(name)}: expected {shape}, found {tuple(tensor.shape)}; "
            "heads replaced for another number of classes must all be replaced together"
        )
    if not tensor.is_floating_point():
        raise ExportError(f"key {foreign_name(name)} must hold floats, found {tensor.dtype}; is the file quantised?")
    if not bool(tensor.float().isfinite().all()):
        raise ExportError(f"key {foreign_name(name)} holds NaN or infinity: did the training diverge?")
    if name.endswith(".variance") and bool((tensor.float() < 0).any()):  # every answer would be NaN, and so empty
        raise ExportError(f"key {foreign_name(name)} holds a negative variance: is the file damaged?")


def expected_shapes(architecture: Architecture) -> Iterator[Row]:
    """Canonical name and shape of every weight of an architecture."""
    yield from _conv_norm("body.stem.conv", "body.stem.norm", (architecture.stem_channels, 3, 7, 7))
    for stage, depth in enumerate(architecture.depths):
        for block in range(depth):
            yield from _block(architecture, stage, block)
    yield from _fpn_and_rpn(architecture)
    yield from _box_head(architecture)
    yield from _mask_head(architecture)


def _affine(name: str, *shape: int, outputs: int | None = None) -> Iterator[Row]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", (shape[0] if outputs is None else outputs,)


def _conv_norm(conv: str, norm: str, shape: tuple[int, ...]) -> Iterator[Row]:
    yield f"{conv}.weight", shape
    for part in ("weight", "bias", "mean", "variance"):
        yield f"{norm}.{part}", (shape[0],)


def _block(a: Architecture, stage: int, block: int) -> Iterator[Row]:
    name = f"body.stage{stage + 1}.{block}"
    entering, inner, leaving = a.in_channels(stage, block), a.inner_channels[stage], a.stage_channels[stage]
    shapes: tuple[tuple[int, ...], ...] = ((inner, entering, 3, 3), (leaving, inner, 3, 3))
    if a.block == "bottleneck":
        shapes = ((inner, entering, 1, 1), (inner, inner // a.groups, 3, 3), (leaving, inner, 1, 1))
    for number, shape in enumerate(shapes, start=1):
        yield from _conv_norm(f"{name}.conv{number}", f"{name}.norm{number}", shape)
    if a.has_shortcut(stage, block):
        yield from _conv_norm(f"{name}.shortcut.conv", f"{name}.shortcut.norm", (leaving, entering, 1, 1))


def _fpn_and_rpn(a: Architecture) -> Iterator[Row]:
    for level, stage in enumerate(a.lateral_stages):
        yield from _affine(f"fpn.lateral{level}", a.fpn_channels, a.stage_channels[stage], 1, 1)
        yield from _affine(f"fpn.output{level}", a.fpn_channels, a.fpn_channels, 3, 3)
    yield from _affine("rpn.conv", a.fpn_channels, a.fpn_channels, 3, 3)
    yield from _affine("rpn.objectness", a.anchors_per_cell, a.fpn_channels, 1, 1)
    yield from _affine("rpn.deltas", 4 * a.anchors_per_cell, a.fpn_channels, 1, 1)


def _box_head(a: Architecture) -> Iterator[Row]:
    yield from _affine("box.fc6", a.box_features[0], a.fpn_channels * a.box_pool**2)
    yield from _affine("box.fc7", a.box_features[1], a.box_features[0])
    yield from _affine("box.scores", a.classes, a.box_features[1])
    yield from _affine("box.deltas", 4 * a.classes, a.box_features[1])


def _mask_head(a: Architecture) -> Iterator[Row]:
    channels = (a.fpn_channels, *a.mask_convs)
    for number, (entering, leaving) in enumerate(zip(channels, a.mask_convs, strict=False)):
        yield from _affine(f"mask.conv{number}", leaving, entering, 3, 3)
    # A transposed convolution keeps its inputs first.
    yield from _affine("mask.deconv", channels[-1], a.mask_hidden, 2, 2, outputs=a.mask_hidden)
    yield from _affine("mask.logits", a.classes, a.mask_hidden, 1, 1)
