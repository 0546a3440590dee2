"""What a Detectron2 Mask R-CNN is made of, and tiny networks of every kind that its users train."""

from dataclasses import dataclass, replace

FPN_ANCHORS = ((32.0,), (64.0,), (128.0,), (256.0,), (512.0,))
C4_ANCHORS = ((32.0, 64.0, 128.0, 256.0, 512.0),)


@dataclass(frozen=True)
class Settings:
    """One network and the rules it answers by; the defaults are ``mask_rcnn_R_50_FPN_3x``.

    ``deform`` says of each stage res2..res5 whether its 3x3 convolutions are plain (``""``), deformable (``"v1"``)
    or deformable and modulated (``"v2"``). A norm is ``""``, ``"FrozenBN"``, ``"SyncBN"`` or ``"GN"``. With
    ``"SyncBN"`` the stem and stages up to ``frozen_stages`` (FREEZE_AT: 1 the stem, 2 also res2) become FrozenBN.
    As many ``box_weights`` as stages of the cascade; one is no cascade. Sizes and ratios are those of the config.
    """

    kind: str = "fpn"
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    basic_blocks: bool = False
    stem_out: int = 64
    res2_out: int = 256
    groups: int = 1
    width_per_group: int = 64
    stride_in_1x1: bool = True
    body_norm: str = "FrozenBN"
    frozen_stages: int = 2
    deform: tuple[str, str, str, str] = ("", "", "", "")
    fpn_channels: int = 256
    fpn_norm: str = ""
    rpn_convs: int = 1
    anchor_sizes: tuple[tuple[float, ...], ...] = FPN_ANCHORS
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    pre_nms_top: int = 1000
    post_nms_top: int = 1000
    rpn_nms: float = 0.7
    box_convs: int = 0
    box_conv_dim: int = 256
    box_norm: str = ""
    box_fcs: int = 2
    fc_dim: int = 1024
    box_pool: int = 7
    box_weights: tuple[tuple[float, float, float, float], ...] = ((10.0, 10.0, 5.0, 5.0),)
    class_agnostic_boxes: bool = False
    num_classes: int = 80
    score_threshold: float = 0.05
    box_nms: float = 0.5
    detections: int = 100
    masks: bool = True
    mask_convs: int = 4
    mask_conv_dim: int = 256
    mask_norm: str = ""
    mask_pool: int = 14
    class_agnostic_masks: bool = False
    aligned: bool = True
    sampling_ratio: int = 0
    pixel_mean: tuple[float, float, float] = (103.530, 116.280, 123.675)  # BGR, 0-255
    pixel_std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the maps that proposals are made on."""
        return (4, 8, 16, 32, 64) if self.kind == "fpn" else (16,)

    @property
    def divisor(self) -> int:
        """What the sides of the canvas must be divisible by."""
        return 32 if self.kind == "fpn" else 1

    @property
    def cascade(self) -> bool:
        return len(self.box_weights) > 1


CASCADE = ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0))
DIVIDED = (57.375, 57.120, 58.395)

# blocks: the second of res3 has no shortcut. num_classes: several, so that the suppression is by class.
TINY = Settings(
    blocks=(1, 2, 1, 1),
    stem_out=16,
    res2_out=32,
    width_per_group=8,
    fpn_channels=16,
    box_conv_dim=16,
    fc_dim=32,
    mask_conv_dim=16,
    num_classes=5,
)
ONE_MAP = replace(TINY, res2_out=16, width_per_group=4, anchor_sizes=C4_ANCHORS, pre_nms_top=6000)
# Each group of 32 needs a channel at least; here most have more.
GN = replace(
    TINY,
    stem_out=32,
    res2_out=64,
    width_per_group=32,
    stride_in_1x1=False,
    body_norm="GN",
    fpn_channels=64,
    fpn_norm="GN",
    box_convs=4,
    box_conv_dim=32,
    box_norm="GN",
    box_fcs=1,
    mask_convs=8,
    mask_conv_dim=64,
    mask_norm="GN",
)
SYNCBN = replace(
    TINY, body_norm="SyncBN", fpn_norm="SyncBN", box_convs=4, box_norm="SyncBN", box_fcs=1, mask_norm="SyncBN"
)
RESNEXT = replace(TINY, groups=4, width_per_group=4, stride_in_1x1=False)

VARIANTS: dict[str, Settings] = {
    "fpn": TINY,
    "c4": replace(ONE_MAP, kind="c4", blocks=(1, 2, 1, 3), box_pool=14, mask_convs=0),  # res5 has 3 blocks in any C4
    "dc5": replace(ONE_MAP, kind="dc5", blocks=(1, 1, 1, 2)),
    "gn": GN,
    "syncbn": SYNCBN,  # with a frozen stem and res2, as FREEZE_AT 2 leaves them
    "resnext": replace(RESNEXT, pixel_std=DIVIDED),
    "deform_v1": replace(TINY, stride_in_1x1=False, deform=("", "v1", "v1", "v1")),
    "deform_v2": replace(TINY, stride_in_1x1=False, deform=("", "v2", "v2", "v2")),
    "cascade": replace(TINY, box_weights=CASCADE, class_agnostic_boxes=True),
    "class_agnostic": replace(TINY, class_agnostic_boxes=True, class_agnostic_masks=True),
    "lsj": replace(SYNCBN, frozen_stages=0, rpn_convs=2),
    "basic_blocks": replace(TINY, basic_blocks=True, res2_out=16),  # res2 keeps the stem's width: no shortcut
    "faster": replace(TINY, masks=False),
    "detectron1": replace(TINY, aligned=False, sampling_ratio=2),
    # As the X-152: groups, deformable convolutions, a cascade, 4conv1fc and eight mask convolutions with GN.
    "x152": replace(
        RESNEXT,
        deform=("", "v1", "v1", "v1"),
        box_convs=4,
        box_conv_dim=32,
        box_norm="GN",
        box_fcs=1,
        box_weights=CASCADE,
        class_agnostic_boxes=True,
        mask_convs=8,
        mask_conv_dim=32,
        mask_norm="GN",
    ),
}
