"""Which framework a checkpoint is of, and what is refused by its name."""

import random

import pytest

from export.errors import ExportError
from export.network.recognise import TABLES, recognise
from tests.export.network.other_networks import OTHER_NETWORKS

FIRST_NAMES = {
    "torchvision": ["backbone.body.conv1.weight", "roi_heads.box_predictor.cls_score.weight"],
    "maskrcnn-benchmark": ["backbone.body.stem.conv1.weight", "roi_heads.box.predictor.cls_score.weight"],
    "caffe2": ["conv1_w", "res2_0_branch2a_w", "cls_score_w"],
    "detectron2": ["backbone.bottom_up.stem.conv1.weight", "roi_heads.box_predictor.cls_score.weight"],
}


@pytest.mark.parametrize(("format_", "names"), FIRST_NAMES.items())
def test_knows_every_framework(format_: str, names: list[str]) -> None:
    assert recognise(names) == format_
    assert recognise(names[::-1]) == format_


# One name that the network of each kind has and a Mask R-CNN has not.
OTHERS = {
    "roi_heads.keypoint_head.conv_fcn1.weight": "a keypoint model",
    "roi_heads.keypoint.feature_extractor.conv_fcn1.weight": "a keypoint model",
    "roi_heads.keypoint_predictor.kps_score_lowres.weight": "a keypoint model",
    "sem_seg_head.p2.0.weight": "a panoptic or semantic",
    "roi_heads.mask_head.point_head.fc1.weight": "a PointRend",
    "head.classification_head.conv.0.0.weight": "a RetinaNet",
    "head.cls_subnet.0.weight": "a RetinaNet",
    "rpn.head.cls_tower.0.weight": "a RetinaNet",
    "retnet_cls_conv_n0_fpn3_w": "a RetinaNet",
    "backbone.net.blocks.0.norm1.weight": "a ViTDet",
    "backbone.bottom_up.blocks.0.norm1.weight": "a ViTDet, MViT or Swin",
    "backbone.bottom_up.s1.b1.a.weight": "a RegNet",
    "backbone.body.xif0_0.pw.weight": "an FBNet",
    "transformer.encoder.layers.0.self_attn.in_proj_weight": "a transformer",
    "model.0.conv.weight": "a YOLO",
    "bbox_head.fc_cls.weight": "an MMDetection",
    "features.0.0.weight": "a classifier",
    "stem.conv1.weight": "a classifier's body",
    "res2.0.conv1.weight": "a classifier's body",
}


@pytest.mark.parametrize(("name", "network"), OTHERS.items())
def test_refuses_other_networks_by_name(name: str, network: str) -> None:
    """Whatever else the checkpoint holds."""
    with pytest.raises(ExportError, match=f"unexpected key {name}: this is {network}"):
        recognise([*FIRST_NAMES["detectron2"], name])


@pytest.mark.parametrize("network", OTHER_NETWORKS)
def test_names_other_networks_in_whatever_order_their_keys_come(network: str) -> None:
    described, text = OTHER_NETWORKS[network]
    names = text.split()
    for seed in range(5):
        shuffled = random.Random(seed).sample(names, len(names))
        with pytest.raises(ExportError, match=f"unexpected key .*: this is {described}"):
            recognise(shuffled)


@pytest.mark.parametrize(("format_", "names"), FIRST_NAMES.items())
def test_every_table_lists_its_first_names(format_: str, names: list[str]) -> None:
    for name in names:
        assert TABLES[format_].canonical(name)  # type: ignore[index]


def test_says_what_it_knows() -> None:
    with pytest.raises(ExportError, match=r"the 2 keys \(a.weight, b.weight, ...\) are of no Mask R-CNN of"):
        recognise(["b.weight", "a.weight"])
