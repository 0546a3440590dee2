"""The blobs that tests take for a file of Caffe2 Detectron."""

import numpy as np
import pytest
import torch

from tests.reference.maskrcnn_benchmark import CONTRAST, R_50_C4, R_50_FPN, MaskRCNN, made, pictures
from tests.reference.maskrcnn_benchmark_caffe2 import caffe2_file, names

NAMES = {  # one of each kind, as Detectron's model zoo has them
    "conv1",
    "res_conv1_bn",
    "res2_0_branch1",
    "res2_0_branch1_bn",
    "res4_5_branch2b",
    "res5_2_branch2c_bn",
    "fpn_inner_res5_2_sum",
    "fpn_inner_res4_5_sum_lateral",
    "fpn_inner_res2_2_sum_lateral",
    "fpn_res3_3_sum",
    "conv_rpn_fpn2",
    "rpn_cls_logits_fpn2",
    "rpn_bbox_pred_fpn2",
    "fc6",
    "fc7",
    "cls_score",
    "bbox_pred",
    "_[mask]_fcn4",
    "conv5_mask",
    "mask_fcn_logits",
}


def test_names_of_r_50_fpn() -> None:
    assert set(names(R_50_FPN)) >= NAMES


def test_names_of_r_50_c4() -> None:
    table = names(R_50_C4)
    assert table["res5_2_branch2a"] == "roi_heads.box.feature_extractor.head.layer4.2.conv1"
    assert {"conv_rpn", "rpn_cls_logits", "rpn_bbox_pred"} <= set(table)
    assert not any("fpn" in name or "fc" in name.removesuffix("mask_fcn_logits") for name in table)


@pytest.mark.parametrize("variant", ["fpn", "c4", "gn_4conv1fc", "resnext", "faster", "class_agnostic"])
def test_the_blobs_hold_the_whole_network(variant: str) -> None:
    """A network loaded from them alone, by their table, answers the same."""
    network, settings = made(variant)
    blobs, images, sizes = caffe2_file(network)["blobs"], *pictures(CONTRAST)
    again = MaskRCNN(settings).eval()
    for blob, module in names(settings).items():
        layer = again.get_submodule(module)
        weight = "_s" if blob.endswith(("_bn", "_gn")) else "_w"
        layer.weight.data = torch.from_numpy(blobs[blob + weight])
        if layer.bias is not None:
            layer.bias.data = torch.from_numpy(blobs[blob + "_b"])
    for found, expected in zip(again(images, sizes), network(images, sizes), strict=True):
        assert found.labels.tolist() == expected.labels.tolist()
        torch.testing.assert_close(found.boxes, expected.boxes, atol=0.02, rtol=0)


def test_the_file_has_what_importers_must_leave_aside() -> None:
    file = caffe2_file(made("fpn")[0])
    assert {"conv1_w_momentum", "fc1000_w", "pred_b"} <= set(file["blobs"])
    assert all(value.dtype == np.float32 for value in file["blobs"].values())
    assert "STRIDE_1X1: True" in file["cfg"]


@pytest.mark.parametrize("variant", ["dcn_v1", "gn"])
def test_what_detectron_cannot_hold_is_refused(variant: str) -> None:
    with pytest.raises(ValueError, match="no such network"):
        caffe2_file(made(variant)[0])
