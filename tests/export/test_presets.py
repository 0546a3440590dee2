"""Which presets there are, whom each is for, and what is refused by name."""

from collections import Counter

import pytest

from export.class_names import class_list
from export.errors import ExportError
from export.kinds import Format, framework_of
from export.presets import PRESETS, claims, preset, preset_format

COCO, COCO_BY_ID, VOC = class_list("coco"), class_list("coco-by-id"), class_list("voc")


# DATASETS.TEST of each; labels of mrb and tv begin with the background, d2's with the first class.
@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("COCO-InstanceSegmentation/mask_rcnn_R_50_C4_3x", COCO),
        ("LVISv1-InstanceSegmentation/mask_rcnn_R_50_FPN_1x", class_list("lvis-v1")),
        ("LVISv0.5-InstanceSegmentation/mask_rcnn_R_50_FPN_1x", class_list("lvis-v0.5")),
        ("Cityscapes/mask_rcnn_R_50_FPN", class_list("cityscapes")),
        ("PascalVOC-Detection/faster_rcnn_R_50_C4", VOC),
        ("new_baselines/mask_rcnn_R_50_FPN_50ep_LSJ", COCO),
        ("e2e_mask_rcnn_R_50_FPN_1x", ("background", *COCO)),
        ("caffe2/e2e_faster_rcnn_R_50_C4_1x_caffe2", ("background", *COCO)),
        ("pascal_voc/e2e_mask_rcnn_R_50_FPN_1x_cocostyle", ("background", *VOC)),
        ("cityscapes/e2e_mask_rcnn_R_50_FPN_1x_poly", ("background", *class_list("cityscapes-10"))),
        ("cityscapes/e2e_mask_rcnn_R_50_FPN_1x_cocostyle", None),  # the order is made when a user converts the data
        ("cityscapes/e2e_mask_rcnn_R_50_FPN_1x_binarymask", None),  # 9 classes there, but a data set of 11
        ("torchvision-coco-v1", COCO_BY_ID),
        ("torchvision-mobilenet-v3-large-320", COCO_BY_ID),
        ("detectron2", None),
        ("maskrcnn-benchmark", None),
    ],
)
def test_class_names_are_by_label(name: str, names: tuple[str, ...] | None) -> None:
    assert preset(name, claims(name).kind or "fpn").class_names == names


def test_every_preset_builds_for_its_kind_only() -> None:
    for name in PRESETS:
        has = claims(name).kind
        if has is None:  # a family
            continue
        preset(name, has)
        for other in {"fpn", "c4", "dc5"} - {has}:
            with pytest.raises(ExportError, match=f"{name} is for a network of the kind {has}, but .* kind {other}"):
                preset(name, other)


def test_every_name_of_the_frameworks_is_there() -> None:
    folders = Counter(name.rpartition("/")[0] for name in PRESETS)
    # configs/*: of mrb those that are Mask or Faster R-CNN, of d2 those in its model zoo and LVISv1, VOC FPN, 50ep.
    assert folders == {
        "": 9 + 9,  # our own; mrb's nine
        "caffe2": 9,
        "gn_baselines": 8,
        "dcn": 4,
        "cityscapes": 6,
        "pascal_voc": 4,
        "quick_schedules": 6,
        "test_time_aug": 1,
        "COCO-Detection": 10,
        "COCO-InstanceSegmentation": 11,
        "LVISv0.5-InstanceSegmentation": 3,
        "LVISv1-InstanceSegmentation": 3,
        "Cityscapes": 1,
        "PascalVOC-Detection": 2,
        "Detectron1-Comparisons": 2,
        "Misc": 11,
        "new_baselines": 7,
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("COCO-Detection/retinanet_R_50_FPN_1x", "is not supported: it is a RetinaNet"),
        ("COCO-Detection/fcos_R_50_FPN_1x", "is not supported: it is an FCOS"),
        ("COCO-Detection/rpn_R_50_C4_1x", "is not supported: it is a proposal network alone"),
        ("rpn_R_101_FPN_1x.yaml", "is not supported: it is a proposal network alone"),
        ("COCO-Detection/fast_rcnn_R_50_FPN_1x", "is not supported: it is a Fast R-CNN"),
        ("COCO-Keypoints/keypoint_rcnn_R_50_FPN_3x", "is not supported: it has a keypoint head"),
        ("caffe2/e2e_keypoint_rcnn_R_50_FPN_1x_caffe2", "is not supported: it has a keypoint head"),
        ("Misc/panoptic_fpn_R_101_dconv_cascade_gn_3x", "is not supported: it segments the background too"),
        ("Misc/semantic_R_50_FPN_1x", "is not supported: it segments without instances"),
        ("new_baselines/mask_rcnn_regnety_4gf_dds_FPN_400ep_LSJ", "is not supported: its body is a RegNet"),
        ("e2e_mask_rcnn_fbnet_xirb16d_dsmask_600", "is not supported: its body is an FBNet"),
        ("retinanet/retinanet_R-50-FPN_1x", "is not supported: it is a RetinaNet"),
        ("mask_rcnn_R_50_FPN_3x", "did you mean COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x[?]"),
        ("e2e_mask_rcnn_R50_FPN_1x", "is not known; did you mean e2e_mask_rcnn_R_50_FPN_1x, "),
        ("cats", "is not known; there are torchvision, .*detectron2 and the frameworks' own"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(name: str, message: str) -> None:
    for look_up in (lambda: preset(name, "fpn"), lambda: preset_format(name), lambda: claims(name)):
        with pytest.raises(ExportError, match=message):
            look_up()


def test_a_family_has_the_kinds_of_its_framework() -> None:
    with pytest.raises(ExportError, match="maskrcnn-benchmark has no network of the kind dc5"):
        preset("maskrcnn-benchmark", "dc5")


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("demo", "torchvision"),
        ("torchvision-coco-v2", "torchvision"),
        ("maskrcnn-benchmark-cpu", "maskrcnn-benchmark"),
        ("dcn/e2e_mask_rcnn_dconv_R_50_FPN_1x", "maskrcnn-benchmark"),
        ("caffe2/e2e_mask_rcnn_R_101_FPN_1x_caffe2", "caffe2"),
        ("Misc/mask_rcnn_R_50_FPN_3x_gn.yaml", "detectron2"),
    ],
)
def test_a_preset_is_for_a_format(name: str, format: Format) -> None:
    assert preset_format(name) == format
    assert preset(framework_of(format), "fpn")
