"""What a config, a preset or the user says about a network, held against what the shapes say."""

from collections.abc import Sequence
from dataclasses import fields

from export.configs.claims import Claims
from export.conventions import Conventions, Proposals
from export.errors import ExportError
from export.network.architecture import Architecture, BoxHead, Norm, ResidualBody, offset_groups
from export.network.description import layer_count
from export.network.expected_shapes import expected_shapes


def check_claims(claims: Claims, architecture: Architecture, origin: str) -> None:
    """Refuse a config or a preset of another network.

    Args:
        claims: What it claims.
        architecture: What the shapes say.
        origin: Its name, for the error.

    Raises:
        ExportError: They contradict each other; names what differs.
    """
    found = claims_of(architecture)
    differences = [
        f"{field.name.replace('_', ' ')} {_said(ours)} (the checkpoint: {_said(theirs)})"
        for field in fields(Claims)
        if field.name != "notes"
        and (ours := getattr(claims, field.name)) is not None
        and (theirs := getattr(found, field.name)) is not None
        and ours != theirs
    ]
    if differences:
        raise ExportError(
            f"{origin} is of another network than the checkpoint: {'; '.join(differences)}. Give the --preset or the "
            "--config that it was trained with"
        )


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return "-".join(map(_said, value))
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def claims_of(a: Architecture) -> Claims:
    """An architecture in the words of a config; None where a config says nothing of it."""
    body = a.body if isinstance(a.body, ResidualBody) else None
    moving = [offset_groups(count) for count in body.offsets if count] if body else []
    return Claims(
        kind=a.kind,
        depth=layer_count(body) if body else None,
        groups=body.groups if body else None,
        group_width=body.inner_channels[0] // body.groups if body and body.block == "bottleneck" else None,
        body_norm=body.norm if body else None,
        pyramid_norm=a.pyramid.norm if a.pyramid else None,
        rpn_convs=len(a.proposals.convs),
        anchors_per_cell=a.proposals.anchors,
        deformable_stages=tuple(bool(count) for count in body.offsets) if body else None,
        modulated=moving[0][1] if moving else None,
        deformable_groups=moving[0][0] if moving else None,
        classes=a.classes - 1,
        box_heads=a.box.cascade,
        box_pool=a.box.side or None,
        box_convs=len(a.box.convs),
        box_fcs=len(a.box.linears),
        box_norm=_box_norm(a.box),
        class_agnostic_boxes=a.box.deltas == 4 if a.classes > 2 else None,  # of one class they look alike
        has_masks=a.mask is not None,
        mask_convs=len(a.mask.convs) if a.mask else None,
        mask_norm=a.mask.norm if a.mask and a.mask.convs else None,
        class_agnostic_masks=a.mask.masks == 1 if a.mask and a.classes > 2 else None,
    )


def _box_norm(box: BoxHead) -> Norm | None:
    if box.convs:
        return box.norm
    return box.linear_norm if box.linears else None


def check_conventions(architecture: Architecture, conventions: Conventions) -> None:
    """Refuse conventions that contradict what the shapes say.

    Raises:
        ExportError: Names both.
    """
    _check_boxes(architecture, conventions)
    _check_anchors(architecture, architecture.strides(conventions.body.last_dilation), conventions.proposals)
    _check_norm_groups(architecture, conventions.body.norm_groups)
    detections, mask = conventions.detections, architecture.mask
    labels = architecture.classes if detections.background_first else architecture.classes - 1
    if mask and mask.masks not in (1, labels):
        raise ExportError(
            f"the checkpoint has masks of {mask.masks} classes, expected {labels} (or 1 for all): is the background "
            f"{'first' if detections.background_first else 'last'}, as the preset says?"
        )


def _check_boxes(architecture: Architecture, conventions: Conventions) -> None:
    box, weights = architecture.box, conventions.detections.box_weights
    if len(weights) != box.cascade:
        raise ExportError(
            f"the checkpoint has {box.cascade} box heads in a row, but the conventions give box weights for "
            f"{len(weights)}: choose the preset or the config that it was trained with"
        )
    if box.cascade > 1 and (box.deltas != 4 or conventions.boxes.legacy):
        raise ExportError("a cascade must have boxes that are the same for all classes, and no legacy boxes")


def _check_anchors(architecture: Architecture, strides: tuple[int, ...], rules: Proposals) -> None:
    given = [len(sizes) * len(rules.anchor_ratios) for sizes in rules.anchor_sizes]
    if given != [architecture.proposals.anchors] * len(strides):
        raise ExportError(
            f"the checkpoint has {architecture.proposals.anchors} anchors per cell on each of {len(strides)} level(s), "
            f"but the conventions give {', '.join(map(str, given))} on {len(given)} level(s) (sizes "
            f"{anchor_option(rules.anchor_sizes)} in ratios {', '.join(f'{ratio:g}' for ratio in rules.anchor_ratios)})"
            "; use --anchor-sizes and --anchor-ratios as in training, or the preset or the config that it had"
        )


def anchor_option(sizes: Sequence[Sequence[float]]) -> str:
    """Sizes of anchors as ``--anchor-sizes`` takes them."""
    return ",".join("/".join(f"{size:g}" for size in level) for level in sizes)


def _check_norm_groups(architecture: Architecture, groups: int) -> None:
    shapes = dict(expected_shapes(architecture))
    for name, shape in shapes.items():
        if name.endswith(".norm.weight") and f"{name.removesuffix('weight')}mean" not in shapes and shape[0] % groups:
            raise ExportError(
                f"the checkpoint's group norm of {name.removesuffix('.norm.weight')} has {shape[0]} channels, which "
                f"{groups} groups do not divide: choose the preset or the config that it was trained with"
            )
