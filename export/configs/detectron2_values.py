"""Detectron2's defaults, bases and limits: the keys that matter once a network is trained.

Source: detectron2 02b5c4e2, ``config/defaults.py`` and ``configs/Base-RCNN-*.yaml``.
"""

from export.configs.config import Allowed, Values
from export.kinds import Kind

DEFAULTS: Values = {
    "VERSION": 2,
    "DATASETS.TEST": (),
    "INPUT.FORMAT": "BGR",
    "INPUT.MIN_SIZE_TEST": 800,
    "INPUT.MAX_SIZE_TEST": 1333,
    "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
    "MODEL.MASK_ON": False,
    "MODEL.KEYPOINT_ON": False,
    "MODEL.LOAD_PROPOSALS": False,
    "MODEL.PIXEL_MEAN": (103.530, 116.280, 123.675),
    "MODEL.PIXEL_STD": (1.0, 1.0, 1.0),
    "MODEL.BACKBONE.NAME": "build_resnet_backbone",
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.RESNETS.OUT_FEATURES": ("res4",),
    "MODEL.RESNETS.NUM_GROUPS": 1,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 64,
    "MODEL.RESNETS.NORM": "FrozenBN",
    "MODEL.RESNETS.STRIDE_IN_1X1": True,
    "MODEL.RESNETS.RES5_DILATION": 1,
    "MODEL.RESNETS.DEFORM_ON_PER_STAGE": (False, False, False, False),
    "MODEL.RESNETS.DEFORM_MODULATED": False,
    "MODEL.RESNETS.DEFORM_NUM_GROUPS": 1,
    "MODEL.FPN.IN_FEATURES": (),
    "MODEL.FPN.NORM": "",
    "MODEL.FPN.FUSE_TYPE": "sum",
    "MODEL.PROPOSAL_GENERATOR.NAME": "RPN",
    "MODEL.PROPOSAL_GENERATOR.MIN_SIZE": 0,
    "MODEL.ANCHOR_GENERATOR.NAME": "DefaultAnchorGenerator",
    "MODEL.ANCHOR_GENERATOR.SIZES": ((32, 64, 128, 256, 512),),
    "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": ((0.5, 1.0, 2.0),),
    "MODEL.ANCHOR_GENERATOR.OFFSET": 0.0,
    "MODEL.RPN.HEAD_NAME": "StandardRPNHead",
    "MODEL.RPN.IN_FEATURES": ("res4",),
    "MODEL.RPN.BBOX_REG_WEIGHTS": (1.0, 1.0, 1.0, 1.0),
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 6000,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 1000,
    "MODEL.RPN.NMS_THRESH": 0.7,
    "MODEL.RPN.CONV_DIMS": (-1,),
    "MODEL.ROI_HEADS.NAME": "Res5ROIHeads",
    "MODEL.ROI_HEADS.NUM_CLASSES": 80,
    "MODEL.ROI_HEADS.IN_FEATURES": ("res4",),
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.05,
    "MODEL.ROI_HEADS.NMS_THRESH_TEST": 0.5,
    "MODEL.ROI_BOX_HEAD.NAME": "",
    "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS": (10.0, 10.0, 5.0, 5.0),
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": 0,
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIAlignV2",
    "MODEL.ROI_BOX_HEAD.NUM_CONV": 0,
    "MODEL.ROI_BOX_HEAD.NUM_FC": 0,
    "MODEL.ROI_BOX_HEAD.NORM": "",
    "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": False,
    "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": False,
    "MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS": (
        (10.0, 10.0, 5.0, 5.0),
        (20.0, 20.0, 10.0, 10.0),
        (30.0, 30.0, 15.0, 15.0),
    ),
    "MODEL.ROI_MASK_HEAD.NAME": "MaskRCNNConvUpsampleHead",
    "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO": 0,
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": "ROIAlignV2",
    "MODEL.ROI_MASK_HEAD.NUM_CONV": 0,
    "MODEL.ROI_MASK_HEAD.NORM": "",
    "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK": False,
    "TEST.DETECTIONS_PER_IMAGE": 100,
    "TEST.AUG.ENABLED": False,
}

_COCO: Values = {"DATASETS.TEST": ("coco_2017_val",)}
_HEADS: Values = {
    "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
    "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
    "MODEL.ROI_BOX_HEAD.NUM_FC": 2,
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
    "MODEL.ROI_MASK_HEAD.NUM_CONV": 4,
}
_STAGES = ("res2", "res3", "res4", "res5")
BASES: dict[Kind, Values] = {
    "fpn": {
        **_COCO,
        **_HEADS,
        "MODEL.BACKBONE.NAME": "build_resnet_fpn_backbone",
        "MODEL.RESNETS.OUT_FEATURES": _STAGES,
        "MODEL.FPN.IN_FEATURES": _STAGES,
        "MODEL.ANCHOR_GENERATOR.SIZES": ((32,), (64,), (128,), (256,), (512,)),
        "MODEL.RPN.IN_FEATURES": ("p2", "p3", "p4", "p5", "p6"),
        "MODEL.RPN.PRE_NMS_TOPK_TEST": 1000,
        "MODEL.ROI_HEADS.IN_FEATURES": ("p2", "p3", "p4", "p5"),
    },
    "c4": _COCO,
    "dc5": {
        **_COCO,
        **_HEADS,
        "MODEL.RESNETS.OUT_FEATURES": ("res5",),
        "MODEL.RESNETS.RES5_DILATION": 2,
        "MODEL.RPN.IN_FEATURES": ("res5",),
        "MODEL.ROI_HEADS.IN_FEATURES": ("res5",),
    },
}
BASE_FILES: dict[str, Kind] = {
    "Base-RCNN-FPN.yaml": "fpn",
    "Base-RCNN-C4.yaml": "c4",
    "Base-RCNN-DilatedC5.yaml": "dc5",
}

NORMS = {"": "none", "FrozenBN": "batch", "BN": "batch", "SyncBN": "batch", "nnSyncBN": "batch", "naiveSyncBN": "batch"}
NORMS |= {"naiveSyncBN_N": "batch", "GN": "group"}

_MASK, _KEYPOINTS = "MODEL.MASK_ON", "keypoint heads are not supported, only Mask R-CNN and Faster R-CNN"
_POOLERS = "only ROIAlignV2 and ROIAlign are supported"
_NORMS = f"only the norms {', '.join(name for name in NORMS if name)} are supported"
# What every network that can be exported has in common; what depends on its kind stands in KIND_RULES.
RULES = (
    Allowed("VERSION", (2,), "only version 2 is read; let Detectron2 upgrade it: get_cfg(), merge_from_file(), dump()"),
    Allowed(
        "MODEL.WEIGHT", (), "this is a configuration of maskrcnn-benchmark or of version 1; give the right --format"
    ),
    Allowed("MODEL.META_ARCHITECTURE", ("GeneralizedRCNN",), "only Mask R-CNN and Faster R-CNN (GeneralizedRCNN) are"),
    Allowed("MODEL.KEYPOINT_ON", (False,), _KEYPOINTS),
    Allowed("MODEL.LOAD_PROPOSALS", (False,), "Fast R-CNN without a proposal network of its own is not supported"),
    Allowed("INPUT.FORMAT", ("BGR", "RGB"), "only BGR and RGB pictures are supported"),
    Allowed(
        "MODEL.BACKBONE.NAME",
        ("build_resnet_backbone", "build_resnet_fpn_backbone"),
        "only ResNet and ResNeXt bodies are supported",
    ),
    Allowed("MODEL.RESNETS.DEPTH", (18, 34, 50, 101, 152), "ResNets have 18, 34, 50, 101 or 152 layers"),
    Allowed("MODEL.RESNETS.NORM", tuple(name for name in NORMS if name), _NORMS),
    Allowed("MODEL.PROPOSAL_GENERATOR.NAME", ("RPN",), "rotated boxes (RRPN) and given proposals are not supported"),
    Allowed("MODEL.ANCHOR_GENERATOR.NAME", ("DefaultAnchorGenerator",), "rotated anchors are not supported"),
    Allowed("MODEL.ANCHOR_GENERATOR.OFFSET", (0,), "anchors must start at the corner of a cell (0.0)"),
    Allowed("MODEL.RPN.HEAD_NAME", ("StandardRPNHead",), "only StandardRPNHead is supported"),
    Allowed("MODEL.RPN.BBOX_REG_WEIGHTS", ((1, 1, 1, 1),), "only the weights 1, 1, 1, 1 are supported"),
    Allowed("MODEL.ROI_BOX_HEAD.POOLER_TYPE", ("ROIAlignV2", "ROIAlign"), _POOLERS),
    Allowed("MODEL.ROI_BOX_HEAD.NORM", tuple(NORMS), _NORMS),
    Allowed("MODEL.ROI_MASK_HEAD.NAME", ("MaskRCNNConvUpsampleHead",), "PointRend and others are not", _MASK),
    Allowed("MODEL.ROI_MASK_HEAD.POOLER_TYPE", ("ROIAlignV2", "ROIAlign"), _POOLERS, _MASK),
    Allowed("MODEL.ROI_MASK_HEAD.NORM", tuple(NORMS), _NORMS, _MASK),
    Allowed("MODEL.ROI_MASK_HEAD.POINT_HEAD_ON", (False,), "PointRend is not supported"),
    Allowed("*SOFT_NMS*", (False, None, "", 0), "Soft-NMS is not supported, only the plain one"),
)
_NO_DILATION = Allowed("MODEL.RESNETS.RES5_DILATION", (1,), "only a DC5 body is dilated")
_LEVELS = "only this selection of maps is supported: {}"
KIND_RULES: dict[Kind, tuple[Allowed, ...]] = {
    "fpn": (
        _NO_DILATION,
        Allowed("MODEL.FPN.FUSE_TYPE", ("sum",), "only the sum of the pyramid's maps is supported"),
        Allowed("MODEL.FPN.NORM", tuple(NORMS), _NORMS),
        *(
            Allowed(key, (BASES["fpn"][key],), _LEVELS.format(", ".join(BASES["fpn"][key])))
            for key in ("MODEL.FPN.IN_FEATURES", "MODEL.RPN.IN_FEATURES", "MODEL.ROI_HEADS.IN_FEATURES")
        ),
        Allowed(
            "MODEL.ROI_HEADS.NAME",
            ("StandardROIHeads", "CascadeROIHeads"),
            "only StandardROIHeads and CascadeROIHeads are supported on a pyramid",
        ),
        Allowed("MODEL.ROI_BOX_HEAD.NAME", ("FastRCNNConvFCHead",), "only FastRCNNConvFCHead is supported"),
    ),
    "c4": (
        _NO_DILATION,
        Allowed("MODEL.RPN.IN_FEATURES", (("res4",),), _LEVELS.format("res4")),
        Allowed("MODEL.ROI_HEADS.IN_FEATURES", (("res4",),), _LEVELS.format("res4")),
    ),
    "dc5": (
        Allowed("MODEL.RESNETS.RES5_DILATION", (1, 2), "Detectron2 knows 1 and 2"),
        Allowed("MODEL.RPN.IN_FEATURES", (("res5",),), _LEVELS.format("res5")),
        Allowed("MODEL.ROI_HEADS.IN_FEATURES", (("res5",),), _LEVELS.format("res5")),
        Allowed("MODEL.ROI_HEADS.NAME", ("StandardROIHeads",), "only StandardROIHeads is supported on one map"),
        Allowed("MODEL.ROI_BOX_HEAD.NAME", ("FastRCNNConvFCHead",), "only FastRCNNConvFCHead is supported"),
    ),
}
