"""maskrcnn-benchmark's defaults, bases and limits: the keys that matter once a network is trained.

Source: maskrcnn-benchmark 57eec25, ``config/defaults.py`` and ``configs/``.
"""

from export.configs.config import Allowed, Values
from export.kinds import Kind

_C4_HEAD = "ResNet50Conv5ROIFeatureExtractor"
DEFAULTS: Values = {
    "DATASETS.TEST": (),
    "DATALOADER.SIZE_DIVISIBILITY": 0,
    "INPUT.MIN_SIZE_TEST": 800,
    "INPUT.MAX_SIZE_TEST": 1333,
    "INPUT.PIXEL_MEAN": (102.9801, 115.9465, 122.7717),
    "INPUT.PIXEL_STD": (1.0, 1.0, 1.0),
    "INPUT.TO_BGR255": True,
    "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
    "MODEL.RPN_ONLY": False,
    "MODEL.MASK_ON": False,
    "MODEL.RETINANET_ON": False,
    "MODEL.KEYPOINT_ON": False,
    "MODEL.CLS_AGNOSTIC_BBOX_REG": False,
    "MODEL.BACKBONE.CONV_BODY": "R-50-C4",
    "MODEL.FPN.USE_GN": False,
    "MODEL.FPN.USE_RELU": False,
    "MODEL.GROUP_NORM.DIM_PER_GP": -1,
    "MODEL.GROUP_NORM.NUM_GROUPS": 32,
    "MODEL.GROUP_NORM.EPSILON": 1e-5,
    "MODEL.RPN.USE_FPN": False,
    "MODEL.RPN.ANCHOR_SIZES": (32, 64, 128, 256, 512),
    "MODEL.RPN.ANCHOR_STRIDE": (16,),
    "MODEL.RPN.ASPECT_RATIOS": (0.5, 1.0, 2.0),
    "MODEL.RPN.PRE_NMS_TOP_N_TEST": 6000,
    "MODEL.RPN.POST_NMS_TOP_N_TEST": 1000,
    "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST": 2000,
    "MODEL.RPN.NMS_THRESH": 0.7,
    "MODEL.RPN.MIN_SIZE": 0,
    "MODEL.RPN.RPN_HEAD": "SingleConvRPNHead",
    "MODEL.ROI_HEADS.USE_FPN": False,
    "MODEL.ROI_HEADS.BBOX_REG_WEIGHTS": (10.0, 10.0, 5.0, 5.0),
    "MODEL.ROI_HEADS.SCORE_THRESH": 0.05,
    "MODEL.ROI_HEADS.NMS": 0.5,
    "MODEL.ROI_HEADS.DETECTIONS_PER_IMG": 100,
    "MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR": _C4_HEAD,
    "MODEL.ROI_BOX_HEAD.PREDICTOR": "FastRCNNPredictor",
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": 0,
    "MODEL.ROI_BOX_HEAD.POOLER_SCALES": (1 / 16,),
    "MODEL.ROI_BOX_HEAD.NUM_CLASSES": 81,
    "MODEL.ROI_BOX_HEAD.USE_GN": False,
    "MODEL.ROI_BOX_HEAD.DILATION": 1,
    "MODEL.ROI_BOX_HEAD.NUM_STACKED_CONVS": 4,
    "MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR": _C4_HEAD,
    "MODEL.ROI_MASK_HEAD.PREDICTOR": "MaskRCNNC4Predictor",
    "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO": 0,
    "MODEL.ROI_MASK_HEAD.POOLER_SCALES": (1 / 16,),
    "MODEL.ROI_MASK_HEAD.CONV_LAYERS": (256, 256, 256, 256),
    "MODEL.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR": True,
    "MODEL.ROI_MASK_HEAD.DILATION": 1,
    "MODEL.ROI_MASK_HEAD.USE_GN": False,
    "MODEL.RESNETS.NUM_GROUPS": 1,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 64,
    "MODEL.RESNETS.STRIDE_IN_1X1": True,
    "MODEL.RESNETS.TRANS_FUNC": "BottleneckWithFixedBatchNorm",
    "MODEL.RESNETS.STEM_FUNC": "StemWithFixedBatchNorm",
    "MODEL.RESNETS.RES5_DILATION": 1,
    "MODEL.RESNETS.STAGE_WITH_DCN": (False, False, False, False),
    "MODEL.RESNETS.WITH_MODULATED_DCN": False,
    "MODEL.RESNETS.DEFORMABLE_GROUPS": 1,
    "TEST.BBOX_AUG.ENABLED": False,
}

_SCALES = (0.25, 0.125, 0.0625, 0.03125)
_COCO: Values = {"DATASETS.TEST": ("coco_2014_minival",)}
# The parts that all configurations with a pyramid share; the mask head's lie idle where there is none.
BASES: dict[Kind, Values] = {
    "fpn": {
        **_COCO,
        "DATALOADER.SIZE_DIVISIBILITY": 32,
        "MODEL.BACKBONE.CONV_BODY": "R-50-FPN",
        "MODEL.RPN.USE_FPN": True,
        "MODEL.RPN.ANCHOR_STRIDE": (4, 8, 16, 32, 64),
        "MODEL.RPN.PRE_NMS_TOP_N_TEST": 1000,
        "MODEL.RPN.POST_NMS_TOP_N_TEST": 1000,
        "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST": 1000,
        "MODEL.ROI_HEADS.USE_FPN": True,
        "MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR": "FPN2MLPFeatureExtractor",
        "MODEL.ROI_BOX_HEAD.PREDICTOR": "FPNPredictor",
        "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
        "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": 2,
        "MODEL.ROI_BOX_HEAD.POOLER_SCALES": _SCALES,
        "MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR": "MaskRCNNFPNFeatureExtractor",
        "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO": 2,
        "MODEL.ROI_MASK_HEAD.POOLER_SCALES": _SCALES,
        "MODEL.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR": False,
    },
    "c4": _COCO,
}

# CONV_BODY -> kind and depth.
BODIES: dict[str, tuple[Kind, int]] = {
    "R-50-C4": ("c4", 50),
    "R-101-C4": ("c4", 101),
    "R-50-FPN": ("fpn", 50),
    "R-101-FPN": ("fpn", 101),
    "R-152-FPN": ("fpn", 152),
}
NORMS = {"BottleneckWithFixedBatchNorm": "batch", "BottleneckWithGN": "group"}
# FEATURE_EXTRACTOR of the box head -> whether it has convolutions, and its fully connected layers.
BOX_HEADS = {"FPN2MLPFeatureExtractor": (False, 2), "FPNXconv1fcFeatureExtractor": (True, 1), _C4_HEAD: (False, 0)}

_MASK, _ONLY_RCNN = "MODEL.MASK_ON", "only Mask R-CNN and Faster R-CNN are supported"
_NO_DILATION = "dilated convolutions are not supported"
RULES = (
    Allowed("MODEL.WEIGHTS", (), "this is a configuration of Detectron2; give the right --format"),
    Allowed("MODEL.META_ARCHITECTURE", ("GeneralizedRCNN",), _ONLY_RCNN),
    Allowed("MODEL.RPN_ONLY", (False,), f"this is a proposal network alone; {_ONLY_RCNN}"),
    Allowed("MODEL.RETINANET_ON", (False,), f"this is a RetinaNet; {_ONLY_RCNN}"),
    Allowed("MODEL.KEYPOINT_ON", (False,), f"keypoint heads are not supported; {_ONLY_RCNN}"),
    Allowed(
        "MODEL.BACKBONE.CONV_BODY",
        tuple(BODIES),
        f"only {', '.join(BODIES)} are supported (ResNeXt by NUM_GROUPS), not FBNet or RetinaNet's pyramid",
    ),
    Allowed("MODEL.RESNETS.TRANS_FUNC", tuple(NORMS), f"only {' and '.join(NORMS)} are supported"),
    Allowed("MODEL.RESNETS.STEM_FUNC", ("StemWithFixedBatchNorm", "StemWithGN"), "only the frozen norm and GN are"),
    Allowed("MODEL.RESNETS.RES5_DILATION", (1,), _NO_DILATION),
    Allowed("MODEL.GROUP_NORM.DIM_PER_GP", (-1,), "only a number of groups (NUM_GROUPS) is supported"),
    Allowed("MODEL.RPN.RPN_HEAD", ("SingleConvRPNHead",), "only SingleConvRPNHead is supported"),
    Allowed("MODEL.ROI_BOX_HEAD.DILATION", (1,), _NO_DILATION),
    Allowed("MODEL.ROI_MASK_HEAD.DILATION", (1,), _NO_DILATION, _MASK),
    Allowed("MODEL.ROI_MASK_HEAD.PREDICTOR", ("MaskRCNNC4Predictor",), "only MaskRCNNC4Predictor is", _MASK),
    Allowed("*SOFT_NMS*", (False, None, "", 0), "Soft-NMS is not supported, only the plain one"),
)
_SHARE = "MODEL.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR"
KIND_RULES: dict[Kind, tuple[Allowed, ...]] = {
    "fpn": (
        Allowed("MODEL.FPN.USE_RELU", (False,), "pyramids with ReLUs are not supported"),
        Allowed("MODEL.RPN.USE_FPN", (True,), "the body has a pyramid, so it must be True"),
        Allowed("MODEL.ROI_HEADS.USE_FPN", (True,), "the body has a pyramid, so it must be True"),
        Allowed("MODEL.RPN.ANCHOR_STRIDE", ((4, 8, 16, 32, 64),), "the pyramid's strides are 4, 8, 16, 32, 64"),
        Allowed("DATALOADER.SIZE_DIVISIBILITY", (32, 64, 128), "a pyramid needs canvases of whole 32 pixels: 32"),
        Allowed(
            "MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR",
            ("FPN2MLPFeatureExtractor", "FPNXconv1fcFeatureExtractor"),
            "only FPN2MLPFeatureExtractor and FPNXconv1fcFeatureExtractor are supported on a pyramid",
        ),
        Allowed("MODEL.ROI_BOX_HEAD.PREDICTOR", ("FPNPredictor",), "only FPNPredictor is supported on a pyramid"),
        Allowed("MODEL.ROI_BOX_HEAD.POOLER_SCALES", (_SCALES,), "the heads' strides are 4, 8, 16, 32"),
        Allowed("MODEL.ROI_MASK_HEAD.POOLER_SCALES", (_SCALES,), "the heads' strides are 4, 8, 16, 32", _MASK),
        Allowed(
            "MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR",
            ("MaskRCNNFPNFeatureExtractor",),
            "only MaskRCNNFPNFeatureExtractor is supported on a pyramid",
            _MASK,
        ),
        Allowed(_SHARE, (False,), "must be False on a pyramid: its mask head has features of its own", _MASK),
    ),
    "c4": (
        Allowed("MODEL.RPN.USE_FPN", (False,), "the body has no pyramid, so it must be False"),
        Allowed("MODEL.ROI_HEADS.USE_FPN", (False,), "the body has no pyramid, so it must be False"),
        Allowed("MODEL.RPN.ANCHOR_STRIDE", ((16,),), "the stride of a C4 body is 16"),
        Allowed("MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR", (_C4_HEAD,), f"only {_C4_HEAD} is supported on a C4 body"),
        Allowed("MODEL.ROI_BOX_HEAD.PREDICTOR", ("FastRCNNPredictor",), "only FastRCNNPredictor is on a C4 body"),
        Allowed("MODEL.ROI_BOX_HEAD.POOLER_SCALES", ((1 / 16,),), "the stride of a C4 body is 16"),
        Allowed("MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR", (_C4_HEAD,), f"only {_C4_HEAD} is on a C4 body", _MASK),
        Allowed(_SHARE, (True,), "a C4 mask head with a fifth stage of its own is not supported", _MASK),
    ),
}
