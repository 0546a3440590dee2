"""The conventions of every framework and its named configurations, written out by hand.

Sources are the frameworks' files: mrb is maskrcnn-benchmark 57eec25, d2 detectron2 02b5c4e2, tv torchvision 0.28.0.
"""

from dataclasses import asdict, replace
from typing import Any

import pytest

from export.conventions import Answers, Body, Boxes, Conventions, Detections, Pooling, Proposals
from export.kinds import Kind
from export.presets import claims, preset
from handler.model_card import Preprocessing

LEAST = 2.0**-149  # the least float32 above 0: "longer than 0" (d2 proposal_utils.py:117, postprocessing.py:58)
FIVE = ((32.0,), (64.0,), (128.0,), (256.0,), (512.0,))
ONE = ((32.0, 64.0, 128.0, 256.0, 512.0),)

DETECTRON2 = Conventions(
    # defaults.py:42-46,84; augmentation_impl.py:181-200; transform.py:112-123; fpn.py:113
    Preprocessing(800, 1333, "detectron2", 32, "pillow", True, 1.0, (103.53, 116.28, 123.675), (1.0, 1.0, 1.0)),
    # layers/batch_norm.py:35-42; defaults.py:499
    Body(norm_eps=1e-5, group_norm_eps=1e-5, norm_groups=32, stride_in_1x1=True, last_dilation=1),
    # structures/boxes.py:172-181; layers/nms.py:11-22
    Boxes(legacy=False, inclusive_nms=False),
    # anchor_generator.py:203-216; Base-RCNN-FPN.yaml; proposal_utils.py:74-129
    Proposals(FIVE, (0.5, 1.0, 2.0), "sizes", "exact", False, 1000, 1000, 0.7, LEAST, None, False),
    # defaults.py:308,361; poolers.py:51-59
    Pooling(0, True, 14, 4, 224.0, 1e-8, 0.0),
    # fast_rcnn.py:142-165; defaults.py:302
    Detections(((10.0, 10.0, 5.0, 5.0),), "softmax", False, 0.05, 0.5, 100, LEAST),
    # postprocessing.py:41-56; layers/mask_ops.py:17-147
    Answers(clip_boxes=True, paste_rule="exact", paste_inclusive=True),
)
# backbone.py:33 (no divisor); Base-RCNN-C4.yaml, Base-RCNN-DilatedC5.yaml
DETECTRON2_C4 = replace(
    DETECTRON2,
    preprocessing=replace(DETECTRON2.preprocessing, size_divisor=1),
    proposals=replace(DETECTRON2.proposals, anchor_sizes=ONE, pre_nms_top_n=6000),
)
DETECTRON2_DC5 = replace(DETECTRON2_C4, body=replace(DETECTRON2.body, last_dilation=2))

BENCHMARK = Conventions(
    # defaults.py:51-53; transforms.py:35-55,115-118; e2e_mask_rcnn_R_50_FPN_1x.yaml
    Preprocessing(
        800, 1333, "maskrcnn_benchmark", 32, "pillow", True, 1.0, (102.9801, 115.9465, 122.7717), (1.0, 1.0, 1.0)
    ),
    # layers/batch_norm.py:27; make_layers.py; defaults.py:273
    Body(norm_eps=0.0, group_norm_eps=1e-5, norm_groups=32, stride_in_1x1=True, last_dilation=1),
    # structures/bounding_box.py:67-230; csrc/cuda/nms.cu:60
    Boxes(legacy=True, inclusive_nms=False),
    # rpn/anchor_generator.py:220-289; rpn/inference.py:88-181; boxlist_ops.py:34-48
    Proposals(FIVE, (0.5, 1.0, 2.0), "ratios", "windows", False, 1000, 1000, 0.7, 0.0, None, True),
    # poolers.py:37-42; csrc/cpu/ROIAlign_cpu.cpp:145-166
    Pooling(2, False, 14, 4, 224.0, 1e-6, 0.0),
    # box_head/inference.py:58-149; defaults.py:188-208
    Detections(((10.0, 10.0, 5.0, 5.0),), "softmax", True, 0.05, 0.5, 100, 0.0),
    # mask_head/inference.py:91-159
    Answers(clip_boxes=False, paste_rule="integer", paste_inclusive=False),
)
# defaults.py: SIZE_DIVISIBILITY 0, 6000 proposals before the NMS, sampling ratio 0
BENCHMARK_C4 = replace(
    BENCHMARK,
    preprocessing=replace(BENCHMARK.preprocessing, size_divisor=1),
    proposals=replace(BENCHMARK.proposals, anchor_sizes=ONE, pre_nms_top_n=6000),
    pooling=replace(BENCHMARK.pooling, sampling_ratio=0),
)
TORCHVISION = Conventions(
    # transform.py:45-72,104,139-142; faster_rcnn.py:277-280
    Preprocessing(800, 1333, "torchvision", 32, "bilinear", False, 255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # ops/misc.py:26,61; resnet.py:108-135
    Body(norm_eps=1e-5, group_norm_eps=1e-5, norm_groups=32, stride_in_1x1=False, last_dilation=1),
    Boxes(legacy=False, inclusive_nms=False),
    # anchor_utils.py:65-74,119-125; rpn.py:231-293
    Proposals(FIVE, (0.5, 1.0, 2.0), "ratios", "round", True, 1000, 1000, 0.7, 1e-3, 0.0, True),
    # ops/poolers.py:79-84,175-181
    Pooling(2, False, 14, 4, 224.0, 0.0, 1e-6),
    # roi_heads.py:720-731
    Detections(((10.0, 10.0, 5.0, 5.0),), "softmax", True, 0.05, 0.5, 100, 1e-2),
    # roi_heads.py:404-437,486-502
    Answers(clip_boxes=False, paste_rule="integer", paste_inclusive=False),
)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("detectron2", "fpn", DETECTRON2),
        ("detectron2", "c4", DETECTRON2_C4),
        ("detectron2", "dc5", DETECTRON2_DC5),
        ("maskrcnn-benchmark", "fpn", BENCHMARK),
        ("maskrcnn-benchmark", "c4", BENCHMARK_C4),
        # csrc/cpu/nms_cpu.cpp:60
        ("maskrcnn-benchmark-cpu", "fpn", replace(BENCHMARK, boxes=Boxes(legacy=True, inclusive_nms=True))),
        ("maskrcnn-benchmark-cpu", "c4", replace(BENCHMARK_C4, boxes=Boxes(legacy=True, inclusive_nms=True))),
        ("torchvision", "fpn", TORCHVISION),
    ],
)
def test_families(name: str, kind: Kind, expected: Conventions) -> None:
    assert preset(name, kind) == expected


IMAGENET_STD = {"preprocessing.std": (57.375, 57.12, 58.395)}
RESNEXT = {"body.stride_in_1x1": False}
LVIS = {"detections.score_threshold": 1e-4, "detections.max_detections": 300}
CASCADE = {"detections.box_weights": ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0))}
NOT_ALIGNED = {"pooling.sampling_ratio": 2, "pooling.aligned": False}
FINE = {"preprocessing.min_size": 1024, "preprocessing.max_size": 2048}

# What a named configuration's conventions change of its family's; the yaml of that name says it, with its bases.
CHANGES: list[tuple[str, Conventions, dict[str, Any]]] = [
    ("COCO-Detection/faster_rcnn_R_50_C4_1x", DETECTRON2_C4, {}),
    ("COCO-Detection/faster_rcnn_R_101_DC5_3x", DETECTRON2_DC5, {}),
    ("COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x", DETECTRON2, RESNEXT | IMAGENET_STD),
    ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x", DETECTRON2, {}),
    ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x_giou", DETECTRON2, {}),
    ("COCO-InstanceSegmentation/mask_rcnn_R_101_C4_3x", DETECTRON2_C4, {}),
    ("COCO-InstanceSegmentation/mask_rcnn_R_50_DC5_1x", DETECTRON2_DC5, {}),
    ("COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x", DETECTRON2, RESNEXT | IMAGENET_STD),
    ("LVISv0.5-InstanceSegmentation/mask_rcnn_R_101_FPN_1x", DETECTRON2, LVIS),
    ("LVISv1-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_1x", DETECTRON2, LVIS | RESNEXT | IMAGENET_STD),
    ("Cityscapes/mask_rcnn_R_50_FPN", DETECTRON2, FINE),
    ("PascalVOC-Detection/faster_rcnn_R_50_C4", DETECTRON2_C4, {}),
    ("PascalVOC-Detection/faster_rcnn_R_50_FPN", DETECTRON2, {}),
    ("Detectron1-Comparisons/faster_rcnn_R_50_FPN_noaug_1x", DETECTRON2, NOT_ALIGNED),
    ("Detectron1-Comparisons/mask_rcnn_R_50_FPN_noaug_1x", DETECTRON2, NOT_ALIGNED),
    ("Misc/cascade_mask_rcnn_R_50_FPN_3x", DETECTRON2, CASCADE),
    ("Misc/cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv", DETECTRON2, CASCADE | RESNEXT),  # std 1
    ("Misc/mask_rcnn_R_50_FPN_1x_cls_agnostic", DETECTRON2, {}),
    ("Misc/mask_rcnn_R_50_FPN_3x_dconv_c3-c5", DETECTRON2, {}),
    ("Misc/mask_rcnn_R_50_FPN_3x_gn", DETECTRON2, {"body.stride_in_1x1": False}),
    ("Misc/mask_rcnn_R_50_FPN_3x_syncbn", DETECTRON2, {}),  # STRIDE_IN_1X1: True
    ("Misc/scratch_mask_rcnn_R_50_FPN_3x_gn", DETECTRON2, {"body.stride_in_1x1": False}),
    ("Misc/scratch_mask_rcnn_R_50_FPN_9x_gn", DETECTRON2, {"body.stride_in_1x1": False} | IMAGENET_STD),
    ("Misc/scratch_mask_rcnn_R_50_FPN_9x_syncbn", DETECTRON2, {"body.stride_in_1x1": False} | IMAGENET_STD),
    ("new_baselines/mask_rcnn_R_101_FPN_400ep_LSJ", DETECTRON2, {}),  # stride_in_1x1=True, common/models
    ("e2e_faster_rcnn_R_50_C4_1x", BENCHMARK_C4, {}),
    ("e2e_mask_rcnn_R_50_C4_1x", BENCHMARK_C4, {}),
    ("e2e_mask_rcnn_R_101_FPN_1x", BENCHMARK, {}),
    ("e2e_mask_rcnn_X_101_32x8d_FPN_1x", BENCHMARK, RESNEXT),  # std 1: it is in the weights
    ("e2e_mask_rcnn_R_50_FPN_1x_periodically_testing", BENCHMARK, {}),
    ("test_time_aug/e2e_mask_rcnn_R_50_FPN_1x", BENCHMARK, {}),
    ("caffe2/e2e_mask_rcnn_R_50_C4_1x_caffe2", BENCHMARK_C4, {}),
    ("caffe2/e2e_mask_rcnn_X-152-32x8d-FPN-IN5k_1.44x_caffe2", BENCHMARK, RESNEXT),
    ("gn_baselines/scratch_e2e_faster_rcnn_R_50_FPN_3x_gn", BENCHMARK, {"body.stride_in_1x1": False}),
    ("gn_baselines/e2e_mask_rcnn_R_50_FPN_Xconv1fc_1x_gn", BENCHMARK, {"body.stride_in_1x1": False}),
    ("dcn/e2e_mask_rcnn_mdconv_R_50_FPN_1x", BENCHMARK, {}),
    ("cityscapes/e2e_mask_rcnn_R_50_FPN_1x_poly", BENCHMARK, FINE),
    ("cityscapes/e2e_mask_rcnn_R_50_FPN_1x_cocostyle", BENCHMARK, {}),
    (
        "pascal_voc/e2e_faster_rcnn_R_50_C4_1x_1_gpu_voc",
        BENCHMARK_C4,
        {"proposals.anchor_sizes": ((128.0, 256.0, 512.0),), "proposals.post_nms_top_n": 300},
    ),
    ("quick_schedules/e2e_mask_rcnn_X_101_32x8d_FPN_quick", BENCHMARK, RESNEXT | {"preprocessing.max_size": 1000}),
    ("torchvision-coco-v1", TORCHVISION, {"body.norm_eps": 0.0}),  # mask_rcnn.py:508-509
    ("torchvision-coco-v2", TORCHVISION, {}),
    (
        "torchvision-mobilenet-v3-large",  # faster_rcnn.py, _fasterrcnn_mobilenet_v3_large_fpn and its callers
        TORCHVISION,
        {"proposals.anchor_sizes": ONE * 3, "proposals.score_threshold": 0.05},
    ),
    (
        "torchvision-mobilenet-v3-large-320",
        TORCHVISION,
        {
            "preprocessing.min_size": 320,
            "preprocessing.max_size": 640,
            "proposals.anchor_sizes": ONE * 3,
            "proposals.score_threshold": 0.05,
            "proposals.pre_nms_top_n": 150,
            "proposals.post_nms_top_n": 150,
        },
    ),
    ("demo", TORCHVISION, {"preprocessing.min_size": 240, "preprocessing.max_size": 400}),
]


def flat(conventions: Conventions) -> dict[str, Any]:
    """Dotted fields, the class names aside."""
    sections = asdict(replace(conventions, class_names=None))
    return {
        f"{name}.{field}": value for name, section in sections.items() if section for field, value in section.items()
    }


@pytest.mark.parametrize(("name", "family", "changes"), CHANGES, ids=[name for name, *_ in CHANGES])
def test_a_named_configuration_changes_this_and_nothing_else(
    name: str, family: Conventions, changes: dict[str, Any]
) -> None:
    kind = claims(name).kind
    assert kind is not None
    assert flat(preset(name, kind)) == flat(family) | changes
