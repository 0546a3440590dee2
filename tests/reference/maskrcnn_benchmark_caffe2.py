"""A network's weights under the blob names of Caffe2 Detectron, as its model files hold them.

    blobs = caffe2_file(module)      # pickle it: {"blobs": {name: array}, "cfg": text}

The two frameworks compute the same, so ``module`` still gives the expected answer. Detectron knows no deformable
convolution and no group norm of fully connected layers.
"""

from typing import Any

import numpy as np
from torch import Tensor

from tests.reference.legacy_layers import FrozenNorm
from tests.reference.maskrcnn_benchmark import MaskRCNN
from tests.reference.maskrcnn_benchmark_settings import Settings


def caffe2_file(network: MaskRCNN) -> dict[str, Any]:
    """What Detectron would have pickled, with what importers must leave aside: momenta and the old classifier."""
    blobs = {}
    for name, tensor in layers(network).items():
        blobs[name] = tensor.astype(np.float32)
        blobs[f"{name}_momentum"] = np.full_like(blobs[name], 7)
    leftovers = {
        "fc1000_w": (10, 8),
        "fc1000_b": (10,),
        "pred_w": (10, 8),
        "pred_b": (10,),
        "conv1_b": (len(blobs["conv1_w"]),),
    }
    return {
        "blobs": blobs | {name: np.zeros(shape, np.float32) for name, shape in leftovers.items()},
        "cfg": cfg(network.settings),
    }


def cfg(settings: Settings) -> str:
    """The part of Detectron's YAML that says what shapes cannot."""
    body = "FPN.add_fpn_ResNet50_conv5_body" if settings.kind == "fpn" else "ResNet.add_ResNet50_conv4_body"
    return f"""MODEL:
  CONV_BODY: {body}
  MASK_ON: {settings.masks}
  NUM_CLASSES: {settings.classes}
RESNETS:
  NUM_GROUPS: {settings.groups}
  STRIDE_1X1: {settings.stride_in_1x1}
"""


def layers(network: MaskRCNN) -> dict[str, np.ndarray]:
    """Every blob by its name."""
    if any(network.settings.deformable) or (network.settings.group_norm and not network.settings.box_convs):
        raise ValueError("Detectron has no such network")
    blobs: dict[str, np.ndarray] = {}
    for blob, module in names(network.settings).items():
        found = network.get_submodule(module)
        if isinstance(found, FrozenNorm):
            gain, shift = folded(found)
            blobs |= {f"{blob}_s": gain, f"{blob}_b": shift}
        else:
            weight, bias = ("_s", "_b") if blob.endswith("_gn") else ("_w", "_b")
            parts = {weight: found.weight, bias: found.bias}
            blobs |= {blob + end: value.detach().numpy() for end, value in parts.items() if value is not None}
    return blobs


def folded(norm: FrozenNorm) -> tuple[np.ndarray, np.ndarray]:
    """The gain and shift that the norm amounts to, its mean and variance being gone."""

    def double(tensor: Tensor) -> np.ndarray:
        return tensor.double().numpy()

    gain = double(norm.weight) / np.sqrt(double(norm.running_var) + norm.eps)
    return gain, double(norm.bias) - double(norm.running_mean) * gain


def names(settings: Settings) -> dict[str, str]:
    """Blob name without its ending, and the path of the module that holds its numbers."""
    fpn = settings.kind == "fpn"
    table = body_names(settings)
    level = "_fpn2" if fpn else ""
    table |= {
        f"conv_rpn{level}": "rpn.head.conv",
        f"rpn_cls_logits{level}": "rpn.head.cls_logits",
        f"rpn_bbox_pred{level}": "rpn.head.bbox_pred",
        "cls_score": "roi_heads.box.predictor.cls_score",
        "bbox_pred": "roi_heads.box.predictor.bbox_pred",
    }
    if fpn:
        table |= fpn_names(settings) | box_names(settings)
    if settings.masks:
        table |= mask_names(settings)
    return table


def body_names(settings: Settings) -> dict[str, str]:
    gn = settings.body_group_norm
    table = {"conv1": "backbone.body.stem.conv1", "conv1_gn" if gn else "res_conv1_bn": "backbone.body.stem.bn1"}
    end = "gn" if gn else "bn"
    for stage, depth in enumerate(settings.depths):
        outside = settings.kind == "c4" and stage == 3
        folder = "roi_heads.box.feature_extractor.head" if outside else "backbone.body"
        for block in range(depth):
            blob, module = f"res{stage + 2}_{block}_branch", f"{folder}.layer{stage + 1}.{block}"
            for index, letter in enumerate("abc", start=1):
                table[f"{blob}2{letter}"] = f"{module}.conv{index}"
                table[f"{blob}2{letter}_{end}"] = f"{module}.bn{index}"
            if not block:
                table[f"{blob}1"], table[f"{blob}1_{end}"] = f"{module}.downsample.0", f"{module}.downsample.1"
    return table


def fpn_names(settings: Settings) -> dict[str, str]:
    """A level is named for the last block of its stage, so the names depend on the depth."""
    table = {}
    for stage, depth in enumerate(settings.depths):
        source = f"res{stage + 2}_{depth - 1}_sum"
        inner = f"fpn_inner_{source}" + ("" if stage == 3 else "_lateral")
        table |= normed_names(inner, f"backbone.fpn.fpn_inner{stage + 1}", settings.group_norm)
        table |= normed_names(f"fpn_{source}", f"backbone.fpn.fpn_layer{stage + 1}", settings.group_norm)
    return table


def box_names(settings: Settings) -> dict[str, str]:
    features, each = "roi_heads.box.feature_extractor", 3 if settings.group_norm else 2
    if not settings.box_convs:
        return {"fc6": f"{features}.fc6", "fc7": f"{features}.fc7"}
    table = {"fc6": f"{features}.fc6"}
    for index in range(len(settings.box_convs)):
        table[f"head_conv{index + 1}"] = f"{features}.xconvs.{each * index}"
        if settings.group_norm:
            table[f"head_conv{index + 1}_gn"] = f"{features}.xconvs.{each * index + 1}"
    return table


def mask_names(settings: Settings) -> dict[str, str]:
    predictor, table = "roi_heads.mask.predictor", {}
    if settings.kind == "fpn":
        for index in range(1, len(settings.mask_convs) + 1):
            module = f"roi_heads.mask.feature_extractor.mask_fcn{index}"
            table |= normed_names(f"_[mask]_fcn{index}", module, settings.group_norm)
    return table | {"conv5_mask": f"{predictor}.conv5_mask", "mask_fcn_logits": f"{predictor}.mask_fcn_logits"}


def normed_names(blob: str, module: str, group_norm: bool) -> dict[str, str]:
    return {blob: f"{module}.0", f"{blob}_gn": f"{module}.1"} if group_norm else {blob: module}
