"""What distinguishes one network of maskrcnn-benchmark from another, and the tiny ones that the tests compare."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Settings:
    """A network of maskrcnn-benchmark; the names of its config keys stand beside. The defaults are a tiny FPN."""

    kind: str = "fpn"  # or "c4"
    depths: tuple[int, ...] = (1, 2, 1, 1)  # blocks of layer1..4; for "c4" the last is the head's
    stem: int = 16  # RESNETS.STEM_OUT_CHANNELS
    width: int = 8  # RESNETS.NUM_GROUPS * WIDTH_PER_GROUP
    out: int = 32  # RESNETS.RES2_OUT_CHANNELS
    groups: int = 1  # RESNETS.NUM_GROUPS
    stride_in_1x1: bool = True  # RESNETS.STRIDE_IN_1X1
    body_group_norm: bool = False  # RESNETS.TRANS_FUNC "BottleneckWithGN"
    deformable: tuple[int, ...] = (0, 0, 0, 0)  # of layer1..4: 0 none, else the version (WITH_MODULATED_DCN: 2)
    fpn: int = 32  # BACKBONE_OUT_CHANNELS
    group_norm: bool = False  # FPN.USE_GN, ROI_BOX_HEAD.USE_GN, ROI_MASK_HEAD.USE_GN
    box_convs: tuple[int, ...] = ()  # ROI_BOX_HEAD.NUM_STACKED_CONVS x CONV_HEAD_DIM; none: fc6 and fc7
    hidden: int = 64  # ROI_BOX_HEAD.MLP_HEAD_DIM
    class_agnostic: bool = False  # CLS_AGNOSTIC_BBOX_REG
    masks: bool = True  # MASK_ON
    mask_convs: tuple[int, ...] = (16, 16, 16, 16)  # ROI_MASK_HEAD.CONV_LAYERS; "c4" has only the last, after deconv
    classes: int = 6  # ROI_BOX_HEAD.NUM_CLASSES, with the background
    cuda_nms: bool = True  # its CUDA kernel suppresses above the threshold, its CPU code at it too
    anchor_sizes: tuple[int, ...] = (16, 32, 64, 96, 128)  # RPN.ANCHOR_SIZES
    per_level: int = 100  # RPN.PRE_NMS_TOP_N_TEST, and POST_NMS_TOP_N_TEST of an FPN
    proposals: int = 60  # RPN.FPN_POST_NMS_TOP_N_TEST, POST_NMS_TOP_N_TEST of "c4"
    still: bool = False  # made-up weights that move no box: anchors overlap by exact fractions, as thresholds are
    seed: int = 4  # of the made-up weights; chosen so that no decision hangs on a rounding


R_50_FPN = Settings(
    depths=(3, 4, 6, 3),
    stem=64,
    width=64,
    out=256,
    fpn=256,
    hidden=1024,
    mask_convs=(256,) * 4,
    classes=81,
    anchor_sizes=(32, 64, 128, 256, 512),
    per_level=1000,
    proposals=1000,
)
R_50_C4 = replace(R_50_FPN, kind="c4", mask_convs=(256,), per_level=6000)

TINY_FPN = Settings()
GROUP_NORM = Settings(  # 32 groups need multiples of 32, and a group of one number is always 0
    stem=32, width=32, out=64, fpn=64, hidden=128, stride_in_1x1=False, body_group_norm=True, group_norm=True
)
VARIANTS = {
    "fpn": TINY_FPN,
    "c4": replace(TINY_FPN, kind="c4", depths=(1, 2, 1, 3), mask_convs=(16,), seed=7),
    "gn": replace(GROUP_NORM, mask_convs=(64,) * 4, seed=7),
    "gn_4conv1fc": replace(GROUP_NORM, box_convs=(64,) * 4, mask_convs=(64,) * 4, seed=7),
    "4conv1fc": replace(TINY_FPN, box_convs=(16,) * 4, seed=6),
    "dcn_v1": replace(TINY_FPN, deformable=(0, 1, 1, 1), seed=5),
    "dcn_v2": replace(TINY_FPN, deformable=(0, 2, 2, 2), stride_in_1x1=False, seed=6),
    "resnext": replace(TINY_FPN, width=16, groups=4, stride_in_1x1=False, seed=9),
    "class_agnostic": replace(TINY_FPN, class_agnostic=True),
    "faster": replace(TINY_FPN, masks=False),
    "faster_c4": replace(TINY_FPN, kind="c4", depths=(1, 2, 1, 3), masks=False, seed=7),
    "cuda_nms": replace(TINY_FPN, still=True, seed=8),
    "cpu_nms": replace(TINY_FPN, still=True, cuda_nms=False, seed=8),
}
