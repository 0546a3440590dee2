"""What a config or a preset claims about a network, held against what the shapes say."""

from dataclasses import fields

from export.architecture import Architecture, BoxHead, Norm, ResidualBody
from export.configs.claims import Claims
from export.description import layer_count
from export.errors import ExportError


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
        f"{field.name.replace('_', ' ')} {ours} (the checkpoint has {theirs})"
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


def claims_of(a: Architecture) -> Claims:
    """An architecture in the words of a config; None where a config says nothing of it."""
    body = a.body if isinstance(a.body, ResidualBody) else None
    offsets = [count for count in body.offsets if count] if body else []
    modulated = bool(offsets) and offsets[0] % 27 == 0
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
        modulated=modulated if offsets else None,
        deformable_groups=offsets[0] // (27 if modulated else 18) if offsets else None,
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
