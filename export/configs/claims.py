"""What a configuration says about the network that the checkpoint's shapes say too."""

from dataclasses import dataclass

from export.kinds import Kind
from export.network.architecture import Norm


@dataclass(frozen=True)
class Claims:
    """An architecture in the words of a configuration; None where it says nothing.

    Attributes:
        kind: Which maps the heads see.
        depth: Layers of the residual body: 50, 101, 152.
        groups: Groups of the 3x3 convolutions of the body.
        group_width: Channels of one group in the body's first stage.
        body_norm: Norm of the body.
        pyramid_norm: Norm of the pyramid.
        rpn_convs: Convolutions of the region proposal network before its predictors.
        anchors_per_cell: Sizes times ratios, of one level.
        deformable_stages: Which of the four stages have deformable 3x3 convolutions.
        modulated: These weigh their samples too (version 2).
        deformable_groups: Groups of offsets.
        classes: Without the background.
        box_heads: More than one is a cascade.
        box_pool: Side of the pooled grid that the box head sees.
        box_convs: Convolutions of a box head.
        box_fcs: Fully connected layers of a box head, its predictors aside.
        box_norm: Norm of the box head.
        class_agnostic_boxes: One box for all classes.
        has_masks: There is a mask head.
        mask_convs: Convolutions of the mask head before it upsamples.
        mask_norm: Norm of the mask head.
        class_agnostic_masks: One mask for all classes.
        notes: What the configuration asks for that is not done, and why that is right; for the user to read.
    """

    kind: Kind | None = None
    depth: int | None = None
    groups: int | None = None
    group_width: int | None = None
    body_norm: Norm | None = None
    pyramid_norm: Norm | None = None
    rpn_convs: int | None = None
    anchors_per_cell: int | None = None
    deformable_stages: tuple[bool, ...] | None = None
    modulated: bool | None = None
    deformable_groups: int | None = None
    classes: int | None = None
    box_heads: int | None = None
    box_pool: int | None = None
    box_convs: int | None = None
    box_fcs: int | None = None
    box_norm: Norm | None = None
    class_agnostic_boxes: bool | None = None
    has_masks: bool | None = None
    mask_convs: int | None = None
    mask_norm: Norm | None = None
    class_agnostic_masks: bool | None = None
    notes: tuple[str, ...] = ()
