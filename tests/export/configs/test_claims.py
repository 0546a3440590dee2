"""What configurations say that shapes say too."""

import pytest

from export.configs.claims import Claims
from export.presets import claims


# In the order of the fields; the yaml of that name says it, with its bases and defaults.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "Misc/cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv",
            Claims(
                "fpn", 152, 32, 8, "batch", "none", 1, 3, (False, True, True, True), False, 1, 80,
                3, 7, 4, 1, "group", True, True, 8, "group", False,
            ),
        ),
        (
            "COCO-InstanceSegmentation/mask_rcnn_R_101_C4_3x",
            Claims(
                "c4", 101, 1, 64, "batch", None, 1, 15, (False,) * 4, False, 1, 80,
                1, 14, 0, 0, "none", False, True, 0, "none", False,
            ),
        ),
        (
            "COCO-Detection/faster_rcnn_R_50_DC5_3x",
            Claims(
                "dc5", 50, 1, 64, "batch", None, 1, 15, (False,) * 4, False, 1, 80,
                1, 7, 0, 2, "none", False, False, None, None, None,
            ),
        ),
        (
            "new_baselines/mask_rcnn_R_101_FPN_100ep_LSJ",
            Claims(
                "fpn", 101, 1, 64, "batch", "batch", 2, 3, (False,) * 4, False, 1, 80,
                1, 7, 4, 1, "batch", False, True, 4, "batch", False,
            ),
        ),
        (
            "caffe2/e2e_mask_rcnn_X-152-32x8d-FPN-IN5k_1.44x_caffe2",
            Claims(
                "fpn", 152, 32, 8, "batch", "none", 1, 3, (False,) * 4, False, 1, 80,
                1, 7, 0, 2, "none", False, True, 4, "none", False,
            ),
        ),
        (
            "gn_baselines/e2e_mask_rcnn_R_50_FPN_Xconv1fc_1x_gn",
            Claims(
                "fpn", 50, 1, 64, "group", "group", 1, 3, (False,) * 4, False, 1, 80,
                1, 7, 4, 1, "group", False, True, 4, "group", False,
            ),
        ),
        (
            "dcn/e2e_faster_rcnn_mdconv_R_50_FPN_1x",
            Claims(
                "fpn", 50, 1, 64, "batch", "none", 1, 3, (False, True, True, True), True, 1, 80,
                1, 7, 0, 2, "none", False, False, None, None, None,
            ),
        ),
        (
            "pascal_voc/e2e_faster_rcnn_R_50_C4_1x_4_gpu_voc",
            Claims(
                "c4", 50, 1, 64, "batch", None, 1, 9, (False,) * 4, False, 1, 20,
                1, 14, 0, 0, "none", False, False, None, None, None,
            ),
        ),
        (
            "detectron2",
            Claims(
                groups=1, body_norm="batch", pyramid_norm="none", rpn_convs=1, deformable_stages=(False,) * 4,
                box_convs=0, mask_norm="none",
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_claims(name: str, expected: Claims) -> None:
    assert claims(name) == expected


def test_claims_of_the_small_differences() -> None:
    assert claims("Misc/mask_rcnn_R_50_FPN_1x_cls_agnostic").class_agnostic_masks is True
    assert claims("Misc/mask_rcnn_R_50_FPN_1x_dconv_c3-c5").modulated is False
    assert claims("Misc/scratch_mask_rcnn_R_50_FPN_9x_gn").body_norm == "group"
    assert claims("cityscapes/e2e_mask_rcnn_R_50_FPN_1x_poly").classes == 10
    (note,) = claims("test_time_aug/e2e_mask_rcnn_R_50_FPN_1x").notes
    assert "TEST.BBOX_AUG.ENABLED" in note
