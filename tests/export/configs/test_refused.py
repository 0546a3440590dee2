"""Values that mean a network which cannot be exported: the error names the key, the value and what is supported."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from export.configs.config import Allowed, Config
from export.errors import ExportError
from export.kinds import Format, Kind
from export.presets import config_claims, config_conventions


def refusal(folder: Path, key: str, value: Any, base: str | None, format: Format, kind: Kind) -> str:
    """The message about a file that sets one key."""
    tree: dict[str, Any] = {} if base is None else {"_BASE_": base}
    node = tree
    *sections, last = key.split(".")
    for section in sections:
        node = node.setdefault(section, {})
    node[last] = value
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(tree))
    with pytest.raises(ExportError) as caught:
        read_all(path, format, kind)
    return str(caught.value)


def read_all(path: Path, format: Format, kind: Kind) -> None:
    config_conventions(path, format, kind)
    config_claims(path, format)


BASES: dict[Kind, str] = {"fpn": "Base-RCNN-FPN.yaml", "c4": "Base-RCNN-C4.yaml", "dc5": "Base-RCNN-DilatedC5.yaml"}


@pytest.mark.parametrize(
    ("kind", "key", "value", "reason"),
    [
        ("fpn", "MODEL.META_ARCHITECTURE", "RetinaNet", "only Mask R-CNN and Faster R-CNN"),
        ("fpn", "MODEL.META_ARCHITECTURE", "PanopticFPN", "only Mask R-CNN and Faster R-CNN"),
        ("fpn", "MODEL.KEYPOINT_ON", True, "keypoint heads are not supported"),
        ("fpn", "MODEL.LOAD_PROPOSALS", True, "Fast R-CNN"),
        ("fpn", "MODEL.BACKBONE.NAME", "build_retinanet_resnet_fpn_backbone", "only ResNet and ResNeXt bodies"),
        ("fpn", "MODEL.BACKBONE.NAME", "build_regnet_fpn_backbone", "only ResNet and ResNeXt bodies"),
        ("fpn", "MODEL.FPN.FUSE_TYPE", "avg", "only the sum"),
        ("fpn", "MODEL.FPN.NORM", "LN", "only the norms FrozenBN, BN"),
        ("fpn", "MODEL.FPN.IN_FEATURES", ["res3", "res4", "res5"], "res2, res3, res4, res5"),
        ("fpn", "MODEL.RPN.IN_FEATURES", ["p3", "p4", "p5", "p6", "p7"], "p2, p3, p4, p5, p6"),
        ("fpn", "MODEL.RESNETS.NORM", "", "only the norms FrozenBN, BN"),
        ("fpn", "MODEL.RESNETS.DEPTH", 99, "18, 34, 50, 101 or 152"),
        ("fpn", "MODEL.RESNETS.RES5_DILATION", 2, "only a DC5 body is dilated"),
        ("dc5", "MODEL.RESNETS.RES5_DILATION", 4, "knows 1 and 2"),
        ("fpn", "MODEL.RESNETS.DEFORM_ON_PER_STAGE", [True, 1, 1, 1], "4 times True or False"),
        ("fpn", "MODEL.PROPOSAL_GENERATOR.NAME", "RRPN", "rotated boxes"),
        ("fpn", "MODEL.ANCHOR_GENERATOR.NAME", "RotatedAnchorGenerator", "rotated anchors"),
        ("fpn", "MODEL.ANCHOR_GENERATOR.OFFSET", 0.5, "corner of a cell"),
        ("fpn", "MODEL.ANCHOR_GENERATOR.SIZES", [[32], [64], [128]], "one list for all levels or 5"),
        ("fpn", "MODEL.ANCHOR_GENERATOR.SIZES", [[1], [2], [3], [4], [5, 6]], "one list for all levels or 5"),
        ("fpn", "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", [[1.0], [2.0], [1.0], [1.0], [1.0]], "same on every level"),
        ("fpn", "MODEL.RPN.HEAD_NAME", "MyHead", "only StandardRPNHead"),
        ("fpn", "MODEL.RPN.BBOX_REG_WEIGHTS", [10, 10, 5, 5], "only the weights 1, 1, 1, 1"),
        ("fpn", "MODEL.RPN.PRE_NMS_TOPK_TEST", 0, "a whole number of at least 1"),
        ("fpn", "MODEL.RPN.NMS_THRESH", "high", "must be a number"),
        ("fpn", "MODEL.ROI_HEADS.NAME", "RROIHeads", "only StandardROIHeads and CascadeROIHeads"),
        ("c4", "MODEL.ROI_HEADS.NAME", "StandardROIHeads", "only FPN, C4 (Res5ROIHeads) and DC5"),
        ("dc5", "MODEL.ROI_HEADS.NAME", "CascadeROIHeads", "only StandardROIHeads"),
        ("fpn", "MODEL.ROI_BOX_HEAD.NAME", "MyHead", "only FastRCNNConvFCHead"),
        ("fpn", "MODEL.ROI_BOX_HEAD.POOLER_TYPE", "ROIPool", "only ROIAlignV2 and ROIAlign"),
        ("fpn", "MODEL.ROI_BOX_HEAD.POOLER_TYPE", "ROIAlignRotated", "only ROIAlignV2 and ROIAlign"),
        ("fpn", "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS", [1, 2, 3], "a list of 4 numbers"),
        ("fpn", "MODEL.ROI_HEADS.SOFT_NMS_ENABLED", True, "Soft-NMS"),
        ("fpn", "MODEL.ROI_MASK_HEAD.POINT_HEAD_ON", True, "PointRend"),
        ("fpn", "INPUT.FORMAT", "L", "only BGR and RGB"),
        ("fpn", "INPUT.MIN_SIZE_TEST", 0, "a whole number of at least 1"),
        ("fpn", "INPUT.MIN_SIZE_TEST", float("inf"), "must be a number"),
        ("fpn", "MODEL.PIXEL_MEAN", [128.0], "a list of 3 numbers"),
        ("fpn", "VERSION", 1, "only version 2 is read"),
        ("fpn", "MODEL.WEIGHT", "catalog://R-50", "of maskrcnn-benchmark or of version 1"),
    ],
)
def test_detectron2(kind: Kind, key: str, value: Any, reason: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, key, value, BASES[kind], "detectron2", kind)
    assert f"{key} is {value!r}; " in message
    assert reason in message


def test_detectron2s_heads_must_pool_alike(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("_BASE_: Base-RCNN-FPN.yaml\nMODEL: {MASK_ON: True, ROI_MASK_HEAD: {POOLER_TYPE: ROIAlign}}")
    message = "MODEL.ROI_MASK_HEAD.POOLER_TYPE is 'ROIAlign'; must be the same as MODEL.ROI_BOX_HEAD.POOLER_TYPE"
    with pytest.raises(ExportError, match=message):
        config_conventions(path, "detectron2", "fpn")


def test_what_the_mask_head_says_matters_only_with_masks(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = "_BASE_: Base-RCNN-FPN.yaml\nMODEL: {MASK_ON: %s, ROI_MASK_HEAD: {NAME: PointRendMaskHead}}"
    path.write_text(text % False)
    assert config_conventions(path, "detectron2", "fpn")
    path.write_text(text % True)
    with pytest.raises(ExportError, match="MODEL.ROI_MASK_HEAD.NAME is 'PointRendMaskHead'; PointRend"):
        config_conventions(path, "detectron2", "fpn")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("MODEL.RETINANET_ON", True, "this is a RetinaNet"),
        ("MODEL.RPN_ONLY", True, "a proposal network alone"),
        ("MODEL.KEYPOINT_ON", True, "keypoint heads are not supported"),
        ("MODEL.BACKBONE.CONV_BODY", "FBNet", "not FBNet"),
        ("MODEL.BACKBONE.CONV_BODY", "R-50-FPN-RETINANET", "only R-50-C4, R-101-C4, R-50-FPN"),
        ("MODEL.RESNETS.TRANS_FUNC", "BottleneckWithBatchNorm", "only BottleneckWithFixedBatchNorm and"),
        ("MODEL.RESNETS.RES5_DILATION", 2, "dilated convolutions"),
        ("MODEL.GROUP_NORM.DIM_PER_GP", 8, "number of groups"),
        ("MODEL.RPN.RPN_HEAD", "FBNet.rpn_head", "only SingleConvRPNHead"),
        ("MODEL.RPN.USE_FPN", True, "has no pyramid"),
        ("MODEL.RPN.ANCHOR_STRIDE", [8], "stride of a C4 body is 16"),
        ("MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR", "FBNet.roi_head", "only ResNet50Conv5ROIFeatureExtractor"),
        ("MODEL.ROI_MASK_HEAD.PREDICTOR", "MaskRCNNConv1x1Predictor", "only MaskRCNNC4Predictor"),
        ("MODEL.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR", False, "a fifth stage of its own"),
        ("MODEL.WEIGHTS", "detectron2://x.pkl", "a configuration of Detectron2"),
        ("MODEL.ROI_BOX_HEAD.NUM_CLASSES", 1, "a whole number of at least 2"),
        ("INPUT.MIN_SIZE_TEST", 2000, "sizes must be 0 < min_size <= max_size"),
    ],
)
def test_maskrcnn_benchmark(key: str, value: Any, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "base.yaml"
    path.write_text("MODEL: {MASK_ON: True}")
    message = refusal(tmp_path, key, value, "base.yaml", "maskrcnn-benchmark", "c4")
    assert reason in message
    assert reason.startswith("sizes") or f"{key} is {value!r}" in message


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("MODEL.FPN.USE_RELU", True, "pyramids with ReLUs"),
        ("DATALOADER.SIZE_DIVISIBILITY", 0, "whole 32 pixels"),
        ("MODEL.RPN.POST_NMS_TOP_N_TEST", 100, "limits of each level"),
        ("MODEL.RPN.ANCHOR_SIZES", [32, 64, 128], "one size for each of the 5 levels"),
        (
            "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO",
            0,
            "must be the same as MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO",
        ),
        ("MODEL.ROI_MASK_HEAD.DILATION", 2, "dilated convolutions"),
    ],
)
def test_maskrcnn_benchmark_with_a_pyramid(key: str, value: Any, reason: str, tmp_path: Path) -> None:
    # A named configuration serves as the base; maskrcnn-benchmark itself has no _BASE_.
    message = refusal(
        tmp_path, key, value, "e2e_mask_rcnn_R_50_FPN_1x_periodically_testing", "maskrcnn-benchmark", "fpn"
    )
    assert reason in message
    assert f"{key} is {value!r}" in message


def test_a_switch_is_no_number() -> None:
    config = Config("mine", {"A": 0, "B": True}, {})
    with pytest.raises(ExportError, match="mine: A is 0; no"):
        config.require([Allowed("A", (False,), "no")])
    with pytest.raises(ExportError, match="B is True; must be a number"):
        config.number("B")
