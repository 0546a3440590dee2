"""Checkpoints of every kind, with what the slow references say of them, and how each is exported.

A row names the framework's own config whose conventions the network has. What is tiny about it (fewer anchors, smaller
ones) is said as a user would: by changing single options.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from export.conventions import Conventions
from export.network.weights import Imported
from export.presets import preset
from tests.reference import detectron2, maskrcnn_benchmark, torchvision
from tests.reference.maskrcnn_benchmark_caffe2 import caffe2_file

_MRB = "e2e_mask_rcnn_R_50_FPN_1x"
_D2 = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"

MASKRCNN_BENCHMARK = {
    "fpn": _MRB,
    "c4": "e2e_mask_rcnn_R_50_C4_1x",
    "gn": "gn_baselines/e2e_mask_rcnn_R_50_FPN_1x_gn",
    "gn_4conv1fc": "gn_baselines/e2e_mask_rcnn_R_50_FPN_Xconv1fc_1x_gn",
    "4conv1fc": _MRB,
    "dcn_v1": "dcn/e2e_mask_rcnn_dconv_R_50_FPN_1x",
    "dcn_v2": "dcn/e2e_mask_rcnn_mdconv_R_50_FPN_1x",
    "resnext": "e2e_mask_rcnn_X_101_32x8d_FPN_1x",
    "class_agnostic": _MRB,
    "faster": "e2e_faster_rcnn_R_50_FPN_1x",
    "faster_c4": "e2e_faster_rcnn_R_50_C4_1x",
    "cuda_nms": _MRB,
    "cpu_nms": "maskrcnn-benchmark-cpu",
}
DETECTRON2 = {
    "fpn": _D2,
    "c4": "COCO-InstanceSegmentation/mask_rcnn_R_50_C4_3x",
    "dc5": "COCO-InstanceSegmentation/mask_rcnn_R_50_DC5_3x",
    "gn": "Misc/mask_rcnn_R_50_FPN_3x_gn",
    "syncbn": "Misc/mask_rcnn_R_50_FPN_3x_syncbn",
    "resnext": "COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x",
    "deform_v1": "Misc/mask_rcnn_R_50_FPN_3x_dconv_c3-c5",
    "deform_v2": "Misc/mask_rcnn_R_50_FPN_3x_dconv_c3-c5",
    "cascade": "Misc/cascade_mask_rcnn_R_50_FPN_3x",
    "class_agnostic": "Misc/mask_rcnn_R_50_FPN_1x_cls_agnostic",
    "lsj": "new_baselines/mask_rcnn_R_50_FPN_400ep_LSJ",
    "basic_blocks": _D2,
    "faster": "COCO-Detection/faster_rcnn_R_50_FPN_3x",
    "detectron1": "Detectron1-Comparisons/mask_rcnn_R_50_FPN_noaug_1x",
    "x152": "Misc/cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv",
}
TORCHVISION = {
    "v1": "torchvision",
    "v1_eps_0": "torchvision-coco-v1",
    "v2": "torchvision-coco-v2",
    "resnet18": "torchvision",
    "resnext": "torchvision",
    "batch_norm": "torchvision",
    "mobilenet_v3_large": "torchvision-mobilenet-v3-large",
    "mobilenet_v3_large_batch_norm": "torchvision-mobilenet-v3-large",
    "faster": "torchvision",
}
# The same networks as maskrcnn-benchmark's, under the names that Detectron gave them.
CAFFE2 = {
    "fpn": "caffe2/e2e_mask_rcnn_R_50_FPN_1x_caffe2",
    "c4": "caffe2/e2e_mask_rcnn_R_50_C4_1x_caffe2",
    "gn_4conv1fc": "gn_baselines/e2e_mask_rcnn_R_50_FPN_Xconv1fc_1x_gn",
    "4conv1fc": "caffe2/e2e_mask_rcnn_R_50_FPN_1x_caffe2",
    "resnext": "caffe2/e2e_mask_rcnn_X_101_32x8d_FPN_1x_caffe2",
    "faster": "caffe2/e2e_faster_rcnn_R_50_FPN_1x_caffe2",
}
NETWORKS = [
    (framework, variant)
    for framework, variants in (
        ("torchvision", TORCHVISION),
        ("maskrcnn-benchmark", MASKRCNN_BENCHMARK),
        ("caffe2", CAFFE2),
        ("detectron2", DETECTRON2),
    )
    for variant in variants
]


@dataclass(frozen=True)
class Expected:
    """What a reference finds in one picture: boxes in canvas pixels, scores, labels, masks (N, M, M) if any."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None


@dataclass(frozen=True)
class Trained:
    """One tiny network.

    Attributes:
        framework: Whose names it has.
        module: The reference; its ``state_dict()`` is the checkpoint.
        preset: The config whose conventions it has.
        changes: What differs from that config.
        images: (B, 3, H, W) pictures on a canvas, normalised.
        sizes: (B, 2) their heights and widths.
    """

    framework: str
    module: Any
    preset: str
    changes: Mapping[str, Mapping[str, Any]]
    images: Tensor
    sizes: Tensor

    def expected(self) -> list[Expected]:
        """The reference's answers."""
        return [
            Expected(found.boxes, found.scores, found.labels, found.masks)
            for found in self.module(self.images, self.sizes)
        ]

    def conventions(self, imported: Imported) -> Conventions:
        """Those of the config, changed where this network is another: it is far smaller than the config's."""
        made = preset(self.preset, imported.architecture.kind)
        for section, fields in self.changes.items():
            made = made.with_options(section, **fields)
        return replace(made, class_names=None)

    def save(self, folder: Path) -> Path:
        """Write the checkpoint as its framework would."""
        weights = self.module.state_dict()
        if self.framework == "torchvision":
            torch.save(weights, folder / "model.pth")
            return folder / "model.pth"
        if self.framework == "maskrcnn-benchmark":
            parallel = {f"module.{name}": tensor for name, tensor in weights.items()}
            torch.save({"model": parallel, "optimizer": {"state": {}}, "iteration": 90000}, folder / "model.pth")
            return folder / "model.pth"
        content: dict[str, Any] = {"model": {name: tensor.numpy() for name, tensor in weights.items()}}
        if self.framework == "caffe2":
            content = caffe2_file(self.module)
        (folder / "model.pkl").write_bytes(pickle.dumps(content | {"__author__": "zoo"}, protocol=2))
        return folder / "model.pkl"


def trained(framework: str, variant: str) -> Trained:
    """A network by the name of its framework and its variant."""
    if framework == "detectron2":
        return _detectron2(variant)
    if framework == "torchvision":
        module, settings = torchvision.made(variant)
        changes = {"body": {"norm_eps": settings.eps}} | _proposals(settings)
        changes["proposals"]["score_threshold"] = settings.rpn_score
        pictures = torchvision.pictures(torchvision.CONTRAST)
        return Trained(framework, module, TORCHVISION[variant], changes, *pictures)
    module, settings = maskrcnn_benchmark.made(variant)
    changes = {"body": {"stride_in_1x1": settings.stride_in_1x1}} | _proposals(settings)
    pictures = maskrcnn_benchmark.pictures(maskrcnn_benchmark.CONTRAST)
    preset_name = (CAFFE2 if framework == "caffe2" else MASKRCNN_BENCHMARK)[variant]
    return Trained(framework, module, preset_name, changes, *pictures)


def _proposals(settings: Any) -> dict[str, dict[str, Any]]:
    """Fewer proposals of smaller anchors than in the configs."""
    sizes = settings.anchor_sizes
    if isinstance(sizes[0], int):
        sizes = (sizes,) if settings.kind == "c4" else tuple((size,) for size in sizes)
    anchors = tuple(tuple(float(size) for size in level) for level in sizes)
    counts = {"pre_nms_top_n": settings.per_level, "post_nms_top_n": settings.proposals}
    return {"proposals": {"anchor_sizes": anchors, **counts}}


def _detectron2(variant: str) -> Trained:
    module, settings = detectron2.made(variant)
    changes = {"body": {"stride_in_1x1": settings.stride_in_1x1}}
    images = detectron2.canvas(detectron2.pictures(), settings)
    return Trained("detectron2", module, DETECTRON2[variant], changes, *images)
