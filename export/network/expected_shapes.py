"""Which weights an architecture has: canonical name and shape of each."""

from collections.abc import Iterator

from export.network.architecture import Architecture, BoxHead, MaskHead, MobileNetBody, Norm, Pyramid, ResidualBody
from export.network.mobilenet import BLOCKS, LAST_CHANNELS, STEM_CHANNELS, MobileBlock

Row = tuple[str, tuple[int, ...]]

_NORM_PARTS = {"none": (), "group": ("weight", "bias"), "batch": ("weight", "bias", "mean", "variance")}


def expected_shapes(architecture: Architecture) -> Iterator[Row]:
    """Canonical name and shape of every weight of an architecture."""
    if isinstance(architecture.body, MobileNetBody):
        yield from _mobilenet_body(architecture.body.norm)
    else:
        yield from _residual_body(architecture, architecture.body)
    if architecture.pyramid:
        yield from _pyramid(architecture, architecture.pyramid)
    yield from _proposals(architecture)
    for stage in range(architecture.box.cascade):
        yield from _box_head(f"box.{stage}", architecture, architecture.box)
    if architecture.mask:
        yield from _mask_head(architecture, architecture.mask)


def layer(name: str, shape: tuple[int, ...], norm: Norm = "none", outputs: int | None = None) -> Iterator[Row]:
    """Rows of a layer with a norm, or with a bias where it has none.

    Args:
        name: Of the layer.
        shape: Of its weight.
        norm: Behind it.
        outputs: Where they are not the weight's first axis.
    """
    outputs = shape[0] if outputs is None else outputs
    yield f"{name}.weight", shape
    if norm == "none":
        yield f"{name}.bias", (outputs,)
    for part in _NORM_PARTS[norm]:
        yield f"{name}.norm.{part}", (outputs,)


def _residual_body(a: Architecture, body: ResidualBody) -> Iterator[Row]:
    yield from layer("body.stem", (body.stem_channels, 3, 7, 7), body.norm)
    for stage, depth in enumerate(body.depths):
        for block in range(depth):
            yield from _block(f"{a.stage_name(stage)}.{block}", body, stage, block)


def _block(name: str, body: ResidualBody, stage: int, block: int) -> Iterator[Row]:
    entering, inner, leaving = body.in_channels(stage, block), body.inner_channels[stage], body.stage_channels[stage]
    shapes: tuple[tuple[int, ...], ...] = ((inner, entering, 3, 3), (leaving, inner, 3, 3))
    if body.block == "bottleneck":
        shapes = ((inner, entering, 1, 1), (inner, inner // body.groups, 3, 3), (leaving, inner, 1, 1))
    for number, shape in enumerate(shapes, start=1):
        yield from layer(f"{name}.conv{number}", shape, body.norm)
    if offsets := body.offsets[stage]:
        yield from layer(f"{name}.conv2.offset", (offsets, inner, 3, 3))
    if body.has_shortcut(stage, block):
        yield from layer(f"{name}.shortcut", (leaving, entering, 1, 1), body.norm)


def _mobilenet_body(norm: Norm) -> Iterator[Row]:
    yield from layer("body.layer0.conv", (STEM_CHANNELS, 3, 3, 3), norm)
    for number, block in enumerate(BLOCKS, start=1):
        yield from _mobile_block(f"body.layer{number}", block, norm)
    yield from layer(f"body.layer{len(BLOCKS) + 1}.conv", (LAST_CHANNELS, BLOCKS[-1].outputs, 1, 1), norm)


def _mobile_block(name: str, block: MobileBlock, norm: Norm) -> Iterator[Row]:
    steps = block.steps
    if "expand" in steps:
        yield from layer(f"{name}.step{steps['expand']}", (block.expanded, block.inputs, 1, 1), norm)
    yield from layer(f"{name}.step{steps['depthwise']}", (block.expanded, 1, block.kernel, block.kernel), norm)
    if "squeeze" in steps:
        yield from layer(f"{name}.step{steps['squeeze']}.squeeze1", (block.squeezed, block.expanded, 1, 1))
        yield from layer(f"{name}.step{steps['squeeze']}.squeeze2", (block.expanded, block.squeezed, 1, 1))
    yield from layer(f"{name}.step{steps['project']}", (block.outputs, block.expanded, 1, 1), norm)


def _pyramid(a: Architecture, pyramid: Pyramid) -> Iterator[Row]:
    for level, stage in enumerate(pyramid.stages):
        yield from layer(f"fpn.lateral{level}", (pyramid.channels, a.body_channels[stage], 1, 1), pyramid.norm)
        yield from layer(f"fpn.output{level}", (pyramid.channels, pyramid.channels, 3, 3), pyramid.norm)


def _proposals(a: Architecture) -> Iterator[Row]:
    channels = (a.map_channels, *a.proposals.convs)
    for number, leaving in enumerate(a.proposals.convs):
        yield from layer(f"rpn.conv{number}", (leaving, channels[number], 3, 3))
    yield from layer("rpn.objectness", (a.proposals.anchors, channels[-1], 1, 1))
    yield from layer("rpn.deltas", (4 * a.proposals.anchors, channels[-1], 1, 1))


def _box_head(name: str, a: Architecture, box: BoxHead) -> Iterator[Row]:
    channels = (a.region_channels, *box.convs)
    for number, leaving in enumerate(box.convs):
        yield from layer(f"{name}.conv{number}", (leaving, channels[number], 3, 3), box.norm)
    features = (channels[-1] * (box.side**2 or 1), *box.linears)
    for number, leaving in enumerate(box.linears):
        yield from layer(f"{name}.linear{number}", (leaving, features[number]), box.linear_norm)
    yield from layer(f"{name}.scores", (a.classes, features[-1]))
    yield from layer(f"{name}.deltas", (box.deltas, features[-1]))


def _mask_head(a: Architecture, mask: MaskHead) -> Iterator[Row]:
    channels = (a.region_channels, *mask.convs)
    for number, leaving in enumerate(mask.convs):
        yield from layer(f"mask.conv{number}", (leaving, channels[number], 3, 3), mask.norm)
    # A transposed convolution keeps its inputs first.
    yield from layer("mask.deconv", (channels[-1], mask.hidden, 2, 2), outputs=mask.hidden)
    yield from layer("mask.logits", (mask.masks, mask.hidden, 1, 1))
