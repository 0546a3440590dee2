"""Detectron2's named configurations, as what they change of their base.

Source: detectron2 02b5c4e2, ``configs/``: the names there without extension.
"""

from collections.abc import Iterator

from export.configs.config import Values
from export.configs.detectron2_values import BASES
from export.kinds import Kind

_KINDS: dict[str, Kind] = {"C4": "c4", "DC5": "dc5", "FPN": "fpn"}
_BODIES: dict[str, Values] = {
    "R_50": {"MODEL.RESNETS.DEPTH": 50},
    "R_101": {"MODEL.RESNETS.DEPTH": 101},
    "X_101_32x8d": {
        "MODEL.RESNETS.DEPTH": 101,
        "MODEL.RESNETS.NUM_GROUPS": 32,
        "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
        "MODEL.RESNETS.STRIDE_IN_1X1": False,
        "MODEL.PIXEL_STD": (57.375, 57.120, 58.395),
    },
}
_MASK: Values = {"MODEL.MASK_ON": True}
_FPN_MASK: Values = {**BASES["fpn"], **_MASK}


def _zoo() -> Iterator[tuple[str, Values]]:
    """The two tables of COCO models: each body and kind, and how long it was trained."""
    trained = [("R_50", kind, times) for kind in _KINDS for times in ("1x", "3x")]
    trained += [("R_101", kind, "3x") for kind in _KINDS] + [("X_101_32x8d", "FPN", "3x")]
    for body, kind, times in trained:
        values = {**BASES[_KINDS[kind]], **_BODIES[body]}
        yield f"COCO-Detection/faster_rcnn_{body}_{kind}_{times}", values
        yield f"COCO-InstanceSegmentation/mask_rcnn_{body}_{kind}_{times}", {**values, **_MASK}


def _lvis() -> Iterator[tuple[str, Values]]:
    for version, classes in (("v0.5", 1230), ("v1", 1203)):
        for body, values in _BODIES.items():
            yield (
                f"LVIS{version}-InstanceSegmentation/mask_rcnn_{body}_FPN_1x",
                {
                    **_FPN_MASK,
                    **values,
                    "MODEL.ROI_HEADS.NUM_CLASSES": classes,
                    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0001,
                    "TEST.DETECTIONS_PER_IMAGE": 300,
                    "DATASETS.TEST": (f"lvis_{version}_val",),
                },
            )


_VOC: Values = {"MODEL.ROI_HEADS.NUM_CLASSES": 20, "DATASETS.TEST": ("voc_2007_test",)}
_CITYSCAPES: Values = {
    "MODEL.ROI_HEADS.NUM_CLASSES": 8,
    "INPUT.MIN_SIZE_TEST": 1024,
    "INPUT.MAX_SIZE_TEST": 2048,
    "DATASETS.TEST": ("cityscapes_fine_instance_seg_val",),
}
_ROI_ALIGN_OF_DETECTRON: Values = {
    f"MODEL.{head}.{option}": value
    for head in ("ROI_BOX_HEAD", "ROI_MASK_HEAD")
    for option, value in (("POOLER_SAMPLING_RATIO", 2), ("POOLER_TYPE", "ROIAlign"))
}
_DEFORMABLE: Values = {"MODEL.RESNETS.DEFORM_ON_PER_STAGE": (False, True, True, True)}
_CASCADE: Values = {"MODEL.ROI_HEADS.NAME": "CascadeROIHeads", "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True}
_STD: Values = {"MODEL.PIXEL_STD": (57.375, 57.12, 58.395)}


def _normed(norm: str, stride_in_1x1: bool) -> Values:
    """The same norm everywhere, and a box head of four convolutions and one layer."""
    return {
        "MODEL.RESNETS.NORM": norm,
        "MODEL.RESNETS.STRIDE_IN_1X1": stride_in_1x1,
        "MODEL.FPN.NORM": norm,
        "MODEL.ROI_BOX_HEAD.NUM_CONV": 4,
        "MODEL.ROI_BOX_HEAD.NUM_FC": 1,
        "MODEL.ROI_BOX_HEAD.NORM": norm,
        "MODEL.ROI_MASK_HEAD.NORM": norm,
    }


_X_152: Values = {
    **_CASCADE,
    **_DEFORMABLE,
    "MODEL.RESNETS.DEPTH": 152,
    "MODEL.RESNETS.NUM_GROUPS": 32,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
    "MODEL.ROI_BOX_HEAD.NUM_CONV": 4,
    "MODEL.ROI_BOX_HEAD.NUM_FC": 1,
    "MODEL.ROI_BOX_HEAD.NORM": "GN",
    "MODEL.ROI_MASK_HEAD.NUM_CONV": 8,
    "MODEL.ROI_MASK_HEAD.NORM": "GN",
}
_MISC: dict[str, Values] = {
    "cascade_mask_rcnn_R_50_FPN_1x": _CASCADE,
    "cascade_mask_rcnn_R_50_FPN_3x": _CASCADE,
    "cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv": _X_152,
    "mask_rcnn_R_50_FPN_1x_cls_agnostic": {
        "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True,
        "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK": True,
    },
    "mask_rcnn_R_50_FPN_1x_dconv_c3-c5": _DEFORMABLE,
    "mask_rcnn_R_50_FPN_3x_dconv_c3-c5": _DEFORMABLE,
    "mask_rcnn_R_50_FPN_3x_gn": _normed("GN", stride_in_1x1=False),
    "mask_rcnn_R_50_FPN_3x_syncbn": _normed("SyncBN", stride_in_1x1=True),
    "scratch_mask_rcnn_R_50_FPN_3x_gn": _normed("GN", stride_in_1x1=False),
    "scratch_mask_rcnn_R_50_FPN_9x_gn": {**_normed("GN", stride_in_1x1=False), **_STD},
    "scratch_mask_rcnn_R_50_FPN_9x_syncbn": {**_normed("SyncBN", stride_in_1x1=False), **_STD},
}
# Written in Python there (LazyConfig), here in the keys that mean the same.
_LARGE_SCALE_JITTER: Values = {**_normed("SyncBN", stride_in_1x1=True), "MODEL.RPN.CONV_DIMS": (-1, -1)}
_JITTERED = {"R_50": (50, 100, 200, 400), "R_101": (100, 200, 400)}

NAMED: dict[str, Values] = {
    **dict(_zoo()),
    "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x_giou": _FPN_MASK,  # another loss in training
    **dict(_lvis()),
    "Cityscapes/mask_rcnn_R_50_FPN": {**_FPN_MASK, **_CITYSCAPES},
    "PascalVOC-Detection/faster_rcnn_R_50_C4": {**BASES["c4"], **_VOC},
    "PascalVOC-Detection/faster_rcnn_R_50_FPN": {**BASES["fpn"], **_VOC},
    "Detectron1-Comparisons/faster_rcnn_R_50_FPN_noaug_1x": {**BASES["fpn"], **_ROI_ALIGN_OF_DETECTRON},
    "Detectron1-Comparisons/mask_rcnn_R_50_FPN_noaug_1x": {**_FPN_MASK, **_ROI_ALIGN_OF_DETECTRON},
    **{f"Misc/{name}": {**_FPN_MASK, **values} for name, values in _MISC.items()},
    **{
        f"new_baselines/mask_rcnn_{body}_FPN_{epochs}ep_LSJ": {**_FPN_MASK, **_BODIES[body], **_LARGE_SCALE_JITTER}
        for body, lengths in _JITTERED.items()
        for epochs in lengths
    },
}
