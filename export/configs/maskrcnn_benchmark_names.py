"""maskrcnn-benchmark's named configurations, as what they change of their base.

Source: maskrcnn-benchmark 57eec25, ``configs/``: the names there without extension.
"""

from collections.abc import Iterator

from export.configs.config import Values
from export.configs.maskrcnn_benchmark_values import BASES

_RESNEXT: Values = {
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
    "MODEL.RESNETS.NUM_GROUPS": 32,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
}
_MODELS: dict[str, Values] = {
    "R_50_C4": BASES["c4"],
    "R_50_FPN": BASES["fpn"],
    "R_101_FPN": {**BASES["fpn"], "MODEL.BACKBONE.CONV_BODY": "R-101-FPN"},
    "X_101_32x8d_FPN": {**BASES["fpn"], **_RESNEXT, "MODEL.BACKBONE.CONV_BODY": "R-101-FPN"},
}
_HEADS: dict[str, Values] = {"faster": {}, "mask": {"MODEL.MASK_ON": True}}
_X_152: Values = {
    **BASES["fpn"],
    **_RESNEXT,
    **_HEADS["mask"],
    "MODEL.BACKBONE.CONV_BODY": "R-152-FPN",
}


def _coco() -> Iterator[tuple[str, Values]]:
    """The four bodies, trained here or by Caffe2 Detectron, and those that only try the training out."""
    for model, values in _MODELS.items():
        for head, masks in _HEADS.items():
            name, both = f"e2e_{head}_rcnn_{model}", {**values, **masks}
            yield f"{name}_1x", both
            yield f"caffe2/{name}_1x_caffe2", both
            if model != "R_101_FPN":
                yield f"quick_schedules/{name}_quick", {**both, "INPUT.MAX_SIZE_TEST": 1000}


_GROUP_NORM: Values = {
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
    "MODEL.RESNETS.TRANS_FUNC": "BottleneckWithGN",
    "MODEL.RESNETS.STEM_FUNC": "StemWithGN",
    "MODEL.FPN.USE_GN": True,
    "MODEL.ROI_BOX_HEAD.USE_GN": True,
    "MODEL.ROI_MASK_HEAD.USE_GN": True,
}
_BOX_HEADS: dict[str, Values] = {
    "": {},
    "_Xconv1fc": {"MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR": "FPNXconv1fcFeatureExtractor"},
}


def _group_norms() -> Iterator[tuple[str, Values]]:
    for head, masks in _HEADS.items():
        for suffix, box_head in _BOX_HEADS.items():
            values = {**BASES["fpn"], **_GROUP_NORM, **box_head, **masks}
            yield f"gn_baselines/e2e_{head}_rcnn_R_50_FPN{suffix}_1x_gn", values
            yield f"gn_baselines/scratch_e2e_{head}_rcnn_R_50_FPN{suffix}_3x_gn", values


def _deformable() -> Iterator[tuple[str, Values]]:
    for head, masks in _HEADS.items():
        for name, modulated in (("dconv", False), ("mdconv", True)):
            yield (
                f"dcn/e2e_{head}_rcnn_{name}_R_50_FPN_1x",
                {
                    **BASES["fpn"],
                    **masks,
                    "MODEL.RESNETS.STAGE_WITH_DCN": (False, True, True, True),
                    "MODEL.RESNETS.WITH_MODULATED_DCN": modulated,
                },
            )


def _others(data_set: str, classes: int) -> Values:
    """Trained on another data set; the classes count the background."""
    return {**BASES["fpn"], "DATASETS.TEST": (data_set,), "MODEL.ROI_BOX_HEAD.NUM_CLASSES": classes}


_CITYSCAPES = _others("cityscapes_fine_instanceonly_seg_val_cocostyle", 9)
_MASKS = _HEADS["mask"]
# Three sizes of anchors, not five, and 300 proposals.
_VOC_C4: Values = {
    **BASES["c4"],
    "MODEL.RPN.ANCHOR_SIZES": (128, 256, 512),
    "MODEL.RPN.POST_NMS_TOP_N_TEST": 300,
    "MODEL.ROI_BOX_HEAD.NUM_CLASSES": 21,
}
_VOC_MASKS: Values = {**_others("voc_2012_val_cocostyle", 21), **_MASKS}

NAMED: dict[str, Values] = {
    **dict(_coco()),
    "e2e_mask_rcnn_R_50_FPN_1x_periodically_testing": {**BASES["fpn"], **_MASKS},
    "test_time_aug/e2e_mask_rcnn_R_50_FPN_1x": {**BASES["fpn"], **_MASKS, "TEST.BBOX_AUG.ENABLED": True},
    "caffe2/e2e_mask_rcnn_X-152-32x8d-FPN-IN5k_1.44x_caffe2": _X_152,
    **dict(_group_norms()),
    **dict(_deformable()),
    "cityscapes/e2e_faster_rcnn_R_50_FPN_1x": _CITYSCAPES,
    "cityscapes/e2e_faster_rcnn_R_50_FPN_1x_cocostyle": _CITYSCAPES,
    "cityscapes/e2e_mask_rcnn_R_50_FPN_1x": {**_CITYSCAPES, **_MASKS},
    "cityscapes/e2e_mask_rcnn_R_50_FPN_1x_cocostyle": {**_CITYSCAPES, **_MASKS},
    "cityscapes/e2e_mask_rcnn_R_50_FPN_1x_binarymask": {**_others("cityscapes_mask_instance_val", 9), **_MASKS},
    "cityscapes/e2e_mask_rcnn_R_50_FPN_1x_poly": {
        **_others("cityscapes_poly_instance_val", 11),
        **_MASKS,
        "INPUT.MIN_SIZE_TEST": 1024,
        "INPUT.MAX_SIZE_TEST": 2048,
    },
    "pascal_voc/e2e_faster_rcnn_R_50_C4_1x_1_gpu_voc": {**_VOC_C4, "DATASETS.TEST": ("voc_2007_test",)},
    "pascal_voc/e2e_faster_rcnn_R_50_C4_1x_4_gpu_voc": {**_VOC_C4, "DATASETS.TEST": ("voc_2007_test",)},
    "pascal_voc/e2e_mask_rcnn_R_50_FPN_1x": _VOC_MASKS,
    "pascal_voc/e2e_mask_rcnn_R_50_FPN_1x_cocostyle": _VOC_MASKS,
}
