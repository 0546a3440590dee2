"""What distinguishes one Mask R-CNN of torchvision from another, and the tiny ones that the tests compare."""

from dataclasses import dataclass, replace

SIZES = (32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Settings:
    """A network of torchvision; the defaults are a tiny one of ``maskrcnn_resnet50_fpn``'s kind."""

    body: str = "bottleneck"  # ResNet of such blocks, or of "basic" ones, or "mobilenet_v3_large"
    depths: tuple[int, ...] = (1, 2, 1, 1)  # blocks of layer1..4
    stem: int = 16  # channels of conv1
    width: int = 8  # of layer1's 3 x 3 convolutions
    out: int = 32  # of layer1
    groups: int = 1
    frozen: bool = True  # FrozenBatchNorm2d, or BatchNorm2d in body, FPN, box and mask head
    eps: float = 1e-5  # of the norms
    fpn: int = 32
    version: int = 1  # 2: two RPN convolutions, four box convolutions, norms in FPN and heads
    hidden: int = 64  # of fc6 (and fc7)
    masks: bool = True
    head: int = 16  # channels of mask convolutions, and of version 2's box convolutions
    classes: int = 6  # with the background
    anchor_sizes: tuple[tuple[int, ...], ...] = ((16,), (32,), (64,), (96,), (128,))
    rpn_score: float = 0.0  # rpn_score_thresh
    per_level: int = 100  # rpn_pre_nms_top_n_test
    proposals: int = 60  # rpn_post_nms_top_n_test
    seed: int = 10  # of the made-up weights; chosen so that no decision hangs on a rounding


RESNET50_FPN = Settings(  # with the COCO_V1 weights, for which eps is 0
    depths=(3, 4, 6, 3),
    stem=64,
    width=64,
    out=256,
    eps=0.0,
    fpn=256,
    hidden=1024,
    head=256,
    classes=91,
    anchor_sizes=tuple((size,) for size in SIZES),
    per_level=1000,
    proposals=1000,
)
RESNET50_FPN_V2 = replace(RESNET50_FPN, frozen=False, eps=1e-5, version=2)

TINY = Settings()
BASIC = replace(TINY, body="basic", depths=(2, 2, 2, 2), stem=16, width=16, out=16, seed=2)  # ResNet-18's depths
MOBILENET = replace(
    TINY,
    body="mobilenet_v3_large",
    anchor_sizes=((16, 32, 64, 96, 128),) * 3,
    rpn_score=0.85,  # torchvision: 0.05, which would leave out nothing here
    per_level=150,
    proposals=80,
    seed=6,
)
VARIANTS = {
    "v1": TINY,
    "v1_eps_0": replace(TINY, eps=0.0, seed=1),
    "v2": replace(TINY, frozen=False, version=2, seed=8),
    "resnet18": BASIC,
    "resnext": replace(TINY, width=16, groups=4, seed=5),
    "batch_norm": replace(TINY, frozen=False),  # maskrcnn_resnet50_fpn trained from scratch
    "mobilenet_v3_large": MOBILENET,
    "mobilenet_v3_large_batch_norm": replace(MOBILENET, frozen=False, rpn_score=0.0, seed=1),
    "faster": replace(TINY, masks=False),
}
