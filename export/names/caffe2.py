"""Names of the blobs of the Caffe2 Detectron, whose weights maskrcnn-benchmark runs as they are."""

import torch
from torch import Tensor

from export.names.maskrcnn_benchmark import one_box_a_region
from export.names.table import NameTable, Rows, Tensors

# Parts of the names of a norm: its scale and shift, and (where it was not frozen) its statistics.
_NORM_PARTS = {"s": "weight", "b": "bias", "rm": "mean", "riv": "variance"}
_BATCH_SCALE = "_bn_s"


def _norm(foreign: str, canonical: str) -> Rows:
    rows: Rows = {f"{foreign}_bn_{part}": f"{canonical}.norm.{ours}" for part, ours in _NORM_PARTS.items()}
    return rows | {f"{foreign}_gn_{part}": f"{canonical}.norm.{_NORM_PARTS[part]}" for part in ("s", "b")}


def _stage(foreign: str, canonical: str) -> Rows:
    rows: dict[str, str | None] = {}
    for branch, name in (("branch2a", "conv1"), ("branch2b", "conv2"), ("branch2c", "conv3"), ("branch1", "shortcut")):
        rows[f"{foreign}_{{b}}_{branch}_w"] = f"{canonical}.{{b}}.{name}.weight"
        rows |= _norm(f"{foreign}_{{b}}_{branch}", f"{canonical}.{{b}}.{name}")
    return rows


def _layer(foreign: str, canonical: str) -> Rows:
    """Rows of a layer with a bias, or with a group norm in its place."""
    return {f"{foreign}_w": f"{canonical}.weight", f"{foreign}_b": f"{canonical}.bias"} | _norm(foreign, canonical)


# The number behind the stage of an FPN's blobs is that of its last block, which the depth gives.
ROWS: Rows = {
    "conv1_w": "body.stem.weight",
    "conv1_b": None,  # zero: the convolution had no bias
    **_norm("res_conv1", "body.stem"),
    **_norm("conv1", "body.stem"),
    **_stage("res{s+1}", "body.stage{s}"),
    **_stage("res5", "region_stage"),  # the way back only: the row before it reads these names
    **_layer("fpn_inner_res{l+2}_{x}_sum_lateral", "fpn.lateral{l}"),
    **_layer("fpn_inner_res{l+2}_{x}_sum", "fpn.lateral{l}"),  # the coarsest has nothing beside it
    **_layer("fpn_res{l+2}_{x}_sum", "fpn.output{l}"),
    **_layer("conv_rpn_fpn2", "rpn.conv0"),
    **_layer("conv_rpn", "rpn.conv0"),
    **_layer("rpn_cls_logits_fpn2", "rpn.objectness"),
    **_layer("rpn_cls_logits", "rpn.objectness"),
    **_layer("rpn_bbox_pred_fpn2", "rpn.deltas"),
    **_layer("rpn_bbox_pred", "rpn.deltas"),
    **_layer("fc6", "box.0.linear0"),
    **_layer("fc7", "box.0.linear1"),
    **_layer("head_conv{n+1}", "box.0.conv{n}"),
    **_layer("cls_score", "box.0.scores"),
    **_layer("bbox_pred", "box.0.deltas"),
    **_layer("_[mask]_fcn{n+1}", "mask.conv{n}"),
    **_layer("conv5_mask", "mask.deconv"),
    **_layer("mask_fcn_logits", "mask.logits"),
    # The classifier that the body was trained in before.
    **{f"{name}_{part}": None for name in ("fc1000", "pred") for part in "wb"},
}


def _with_statistics(tensors: Tensors) -> dict[str, Tensor]:
    """Frozen norms are a scale and a shift: those of a mean of 0 and a variance of 1."""
    made = dict(tensors)
    for name, scale in tensors.items():
        if name.endswith(_BATCH_SCALE):
            made.setdefault(name.removesuffix("s") + "rm", torch.zeros_like(scale))
            made.setdefault(name.removesuffix("s") + "riv", torch.ones_like(scale))
    return made


def _mended(tensors: Tensors) -> dict[str, Tensor]:
    """A C4's last stage runs on regions: only its models have no pyramid."""
    if "fpn.lateral0.weight" not in tensors:
        tensors = {name.replace("body.stage4.", "region_stage."): tensor for name, tensor in tensors.items()}
    return one_box_a_region(tensors)


TABLE = NameTable("caffe2", ROWS, before=_with_statistics, after=_mended)
