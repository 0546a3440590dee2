"""An architecture in words."""

from collections.abc import Iterator

from export.network.architecture import Architecture, BoxHead, MaskHead, MobileNetBody, ResidualBody, offset_groups


def summary(a: Architecture) -> str:
    """One line: body, kind, heads and classes."""
    cascade = "Cascade " if a.box.cascade > 1 else ""
    network = "Mask R-CNN" if a.mask else "Faster R-CNN"
    return f"{cascade}{network}, {body_name(a)} {a.kind.upper()}, {a.classes - 1} classes and the background"


def body_name(a: Architecture) -> str:
    """The usual name of the body, ``ResNeXt-101-32x8d`` or ``Wide ResNet-50-2`` for example."""
    body = a.body
    if isinstance(body, MobileNetBody):
        return "MobileNetV3-Large"
    layers = layer_count(body)
    if body.groups == 1:
        # Bottlenecks leave four times their inner channels, in a wide one twice.
        wide = body.block == "bottleneck" and body.stage_channels[0] == 2 * body.inner_channels[0]
        return f"Wide ResNet-{layers}-2" if wide else f"ResNet-{layers}"
    return f"ResNeXt-{layers}-{body.groups}x{body.inner_channels[0] // body.groups}d"


def layer_count(body: ResidualBody) -> int:
    """The number in the name of a ResNet."""
    return sum(body.depths) * (3 if body.block == "bottleneck" else 2) + 2


def details(a: Architecture) -> Iterator[tuple[str, str]]:
    """Every part with what its shapes say."""
    yield "body", f"{body_name(a)}{_body_details(a.body)}"
    if a.pyramid:
        levels = ", ".join(f"1/{stride}" for stride in a.strides())
        yield "FPN", f"{a.pyramid.channels} channels at {levels}{_behind(a.pyramid.norm)}"
    yield "proposals", f"{_count(len(a.proposals.convs), 'convolution')}, {a.proposals.anchors} anchors per cell"
    yield "box head", _box_details(a.box)
    yield "mask head", _mask_details(a.mask, a.classes)
    yield "classes", f"{a.classes - 1} and the background"


def _body_details(body: ResidualBody | MobileNetBody) -> str:
    if isinstance(body, MobileNetBody):
        return ", batch norms"
    norm = {"batch": "batch norms", "group": "group norms", "none": "no norms"}[body.norm]
    deformable = [f"res{stage + 2}" for stage, offsets in enumerate(body.offsets) if offsets]
    version = 2 if any(offset_groups(offsets)[1] for offsets in body.offsets if offsets) else 1
    moved = f", deformable (version {version}) in {', '.join(deformable)}" if deformable else ""
    return f", blocks {'-'.join(map(str, body.depths))}, {norm}{moved}"


def _box_details(box: BoxHead) -> str:
    layers = f"{_count(len(box.convs), 'convolution')}{_behind(box.norm)}, " if box.convs else ""
    linears = (
        f"{len(box.linears)} fully connected" if box.linears else "on the body's last stage, which runs on regions"
    )
    pooled = f", of regions of {box.side}x{box.side} cells" if box.side else ""
    agnostic = ", boxes the same for all classes" if box.deltas == 4 else ""
    cascade = f", {box.cascade} heads in a row" if box.cascade > 1 else ""
    return f"{layers}{linears}{_behind(box.linear_norm)}{pooled}{agnostic}{cascade}"


def _mask_details(mask: MaskHead | None, classes: int) -> str:
    if mask is None:
        return "none: this is a Faster R-CNN, its answers have boxes only"
    layers = f"{_count(len(mask.convs), 'convolution')}{_behind(mask.norm)}, " if mask.convs else ""
    return f"{layers}{'a mask per class' if mask.masks > 1 or classes == 2 else 'one mask for all classes'}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _behind(norm: str) -> str:
    return "" if norm == "none" else f" with {norm} norms"
