"""The networks behind the presets, as their frameworks' configs name them: what each is, at its real size.

Written by hand from the names and the files of the configs (maskrcnn-benchmark 57eec25, Detectron2 02b5c4e2,
torchvision 0.28.0), and by nothing in ``export``. The modules are those of ``tests.reference``, without memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tests.reference import detectron2_settings, maskrcnn_benchmark, torchvision
from tests.reference.detectron2_boxes import cell_anchors as detectron2_anchors
from tests.reference.detectron2_model import Detectron2
from tests.reference.legacy_layers import FrozenNorm
from tests.reference.maskrcnn_benchmark_caffe2 import names as caffe2_names
from tests.reference.maskrcnn_benchmark_rpn import cell_anchors as window_anchors
from tests.reference.torchvision_settings import MOBILENET, RESNET50_FPN, RESNET50_FPN_V2, SIZES

MASK, FASTER = "Mask R-CNN", "Faster R-CNN"


@dataclass(frozen=True)
class Network:
    """One network under one framework's names.

    Attributes:
        format: Whose names.
        summary: What ``export inspect`` must say of it.
        settings: Of the reference that builds it.
    """

    format: str
    summary: str
    settings: Any

    def tensors(self) -> dict[str, Tensor]:
        """A checkpoint: zeros that share one number's memory, and the buffers of anchors as they are."""
        with torch.device("meta"):
            module = _MODULES[self.format](self.settings)
        shapes = _blobs(module) if self.format == "caffe2" else module.state_dict()
        zeros = {name: torch.zeros(()).expand(tensor.shape) for name, tensor in shapes.items()}
        return zeros | _BUFFERS[self.format](self.settings)


def _blobs(module: Any) -> dict[str, Tensor]:
    blobs = {"conv1_b": torch.empty(64, device="meta")}
    for blob, path in caffe2_names(module.settings).items():
        layer = module.get_submodule(path)
        scaled = isinstance(layer, FrozenNorm) or blob.endswith("_gn")
        parts = {"_s" if scaled else "_w": layer.weight, "_b": layer.bias}
        blobs |= {blob + end: part for end, part in parts.items() if part is not None}
    return blobs


def _detectron2_buffers(settings: detectron2_settings.Settings) -> dict[str, Tensor]:
    """What the files of its zoo, written before these buffers were dropped, carry beside the weights."""
    pixels = {"pixel_mean": settings.pixel_mean, "pixel_std": settings.pixel_std}
    anchors = {
        f"proposal_generator.anchor_generator.cell_anchors.{level}": detectron2_anchors(sizes, settings.anchor_ratios)
        for level, sizes in enumerate(settings.anchor_sizes)
    }
    return anchors | {name: torch.tensor(values).view(3, 1, 1) for name, values in pixels.items()}


def _window_buffers(settings: Any) -> dict[str, Tensor]:
    sizes = settings.anchor_sizes
    levels = [(16, sizes)] if settings.kind == "c4" else [(4 * 2**level, (size,)) for level, size in enumerate(sizes)]
    return {
        f"rpn.anchor_generator.cell_anchors.{level}": window_anchors(*stride_and_sizes)
        for level, stride_and_sizes in enumerate(levels)
    }


_MODULES: dict[str, type[nn.Module]] = {
    "torchvision": torchvision.MaskRCNN,
    "maskrcnn-benchmark": maskrcnn_benchmark.MaskRCNN,
    "caffe2": maskrcnn_benchmark.MaskRCNN,
    "detectron2": Detectron2,
}
_BUFFERS = {
    "torchvision": lambda _: {},
    "maskrcnn-benchmark": _window_buffers,
    "caffe2": lambda _: {},
    "detectron2": _detectron2_buffers,
}


def _summary(network: str, body: str, classes: int = 80) -> str:
    return f"{network}, {body}, {classes} classes and the background"


# --- Detectron2 -----------------------------------------------------------------------------------------------------

R_50 = detectron2_settings.Settings()
BODIES = {
    "R_50": ("ResNet-50", {}),
    "R_101": ("ResNet-101", {"blocks": (3, 4, 23, 3)}),
    "X_101_32x8d": (
        "ResNeXt-101-32x8d",
        {
            "blocks": (3, 4, 23, 3),
            "groups": 32,
            "width_per_group": 8,
            "stride_in_1x1": False,
            "pixel_std": detectron2_settings.DIVIDED,
        },
    ),
}
ONE_MAP = {"anchor_sizes": detectron2_settings.C4_ANCHORS, "pre_nms_top": 6000}
KINDS: dict[str, dict[str, Any]] = {
    "FPN": {},
    "C4": {"kind": "c4", "box_pool": 14, "mask_convs": 0, **ONE_MAP},
    "DC5": {"kind": "dc5", **ONE_MAP},
}


def _detectron2(body: str, kind: str, network: str = MASK, classes: int = 80, **facts: Any) -> Network:
    name, of_body = BODIES[body]
    given = {"num_classes": classes, "masks": MASK in network, **of_body, **KINDS[kind], **facts}
    return Network("detectron2", _summary(network, f"{name} {kind}", classes), replace(R_50, **given))


def _detectron2_zoo() -> Iterator[tuple[str, Network]]:
    """Bodies and kinds, and how long each was trained."""
    trained = [("R_50", kind, times) for kind in KINDS for times in ("1x", "3x")]
    trained += [("R_101", kind, "3x") for kind in KINDS] + [("X_101_32x8d", "FPN", "3x")]
    for body, kind, times in trained:
        yield f"COCO-Detection/faster_rcnn_{body}_{kind}_{times}", _detectron2(body, kind, FASTER)
        yield f"COCO-InstanceSegmentation/mask_rcnn_{body}_{kind}_{times}", _detectron2(body, kind)
    for body in BODIES:
        lvis = {"score_threshold": 1e-4, "detections": 300}
        for version, classes in (("v0.5", 1230), ("v1", 1203)):
            name = f"LVIS{version}-InstanceSegmentation/mask_rcnn_{body}_FPN_1x"
            yield name, _detectron2(body, "FPN", classes=classes, **lvis)


def _four_convs(norm: str, **facts: Any) -> dict[str, Any]:
    """One norm everywhere, and a box head of four convolutions and one layer."""
    same = {"body_norm": norm, "fpn_norm": norm, "box_norm": norm, "mask_norm": norm}
    return {**same, "box_convs": 4, "box_fcs": 1, **facts}


CASCADE = {"box_weights": detectron2_settings.CASCADE, "class_agnostic_boxes": True}
MOVED = {"deform": ("", "v1", "v1", "v1")}
GN = _four_convs("GN", stride_in_1x1=False)
DIVIDED = {"pixel_std": detectron2_settings.DIVIDED}
# Nothing is frozen where a training starts from nothing, nor in the long ones.
LSJ = _four_convs("SyncBN", frozen_stages=0, rpn_convs=2)
X_152 = Network(
    "detectron2",
    _summary("Cascade Mask R-CNN", "ResNeXt-152-32x8d FPN"),
    replace(
        R_50,
        blocks=(3, 8, 36, 3),
        groups=32,
        width_per_group=8,
        stride_in_1x1=False,
        box_convs=4,
        box_fcs=1,
        box_norm="GN",
        mask_convs=8,
        mask_norm="GN",
        **CASCADE,
        **MOVED,
    ),
)
MISC = {
    "cascade_mask_rcnn_R_50_FPN_1x": _detectron2("R_50", "FPN", "Cascade Mask R-CNN", **CASCADE),
    "cascade_mask_rcnn_R_50_FPN_3x": _detectron2("R_50", "FPN", "Cascade Mask R-CNN", **CASCADE),
    "cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv": X_152,
    "mask_rcnn_R_50_FPN_1x_cls_agnostic": _detectron2(
        "R_50", "FPN", class_agnostic_boxes=True, class_agnostic_masks=True
    ),
    "mask_rcnn_R_50_FPN_1x_dconv_c3-c5": _detectron2("R_50", "FPN", **MOVED),
    "mask_rcnn_R_50_FPN_3x_dconv_c3-c5": _detectron2("R_50", "FPN", **MOVED),
    "mask_rcnn_R_50_FPN_3x_gn": _detectron2("R_50", "FPN", **GN),
    # The published weights are of its second training (facebookresearch/detectron2#909), which strode in the 1x1.
    "mask_rcnn_R_50_FPN_3x_syncbn": _detectron2("R_50", "FPN", **_four_convs("SyncBN")),
    "scratch_mask_rcnn_R_50_FPN_3x_gn": _detectron2("R_50", "FPN", **GN),
    "scratch_mask_rcnn_R_50_FPN_9x_gn": _detectron2("R_50", "FPN", **GN, **DIVIDED),
    "scratch_mask_rcnn_R_50_FPN_9x_syncbn": _detectron2(
        "R_50", "FPN", **_four_convs("SyncBN", frozen_stages=0, stride_in_1x1=False), **DIVIDED
    ),
}
DETECTRON1 = {"aligned": False, "sampling_ratio": 2}
DETECTRON2 = {
    **dict(_detectron2_zoo()),
    "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x_giou": _detectron2("R_50", "FPN"),
    "Cityscapes/mask_rcnn_R_50_FPN": _detectron2("R_50", "FPN", classes=8),
    "PascalVOC-Detection/faster_rcnn_R_50_C4": _detectron2("R_50", "C4", FASTER, classes=20),
    "PascalVOC-Detection/faster_rcnn_R_50_FPN": _detectron2("R_50", "FPN", FASTER, classes=20),
    "Detectron1-Comparisons/faster_rcnn_R_50_FPN_noaug_1x": _detectron2("R_50", "FPN", FASTER, **DETECTRON1),
    "Detectron1-Comparisons/mask_rcnn_R_50_FPN_noaug_1x": _detectron2("R_50", "FPN", **DETECTRON1),
    **{f"Misc/{name}": network for name, network in MISC.items()},
    **{f"new_baselines/mask_rcnn_R_50_FPN_{n}ep_LSJ": _detectron2("R_50", "FPN", **LSJ) for n in (50, 100, 200, 400)},
    **{f"new_baselines/mask_rcnn_R_101_FPN_{n}ep_LSJ": _detectron2("R_101", "FPN", **LSJ) for n in (100, 200, 400)},
}

# --- maskrcnn-benchmark and Caffe2 ----------------------------------------------------------------------------------

_FPN, _C4 = maskrcnn_benchmark.R_50_FPN, maskrcnn_benchmark.R_50_C4
_RESNEXT = {"groups": 32, "width": 256, "stride_in_1x1": False}
LEGACY_BODIES = {
    "R_50_C4": ("ResNet-50 C4", _C4),
    "R_50_FPN": ("ResNet-50 FPN", _FPN),
    "R_101_FPN": ("ResNet-101 FPN", replace(_FPN, depths=(3, 4, 23, 3))),
    "X_101_32x8d_FPN": ("ResNeXt-101-32x8d FPN", replace(_FPN, depths=(3, 4, 23, 3), **_RESNEXT)),
}


def _legacy(body: str, network: str = MASK, classes: int = 80, format: str = "maskrcnn-benchmark", **facts: Any) -> Any:
    name, settings = LEGACY_BODIES[body]
    given = {"masks": network == MASK, "classes": classes + 1, **facts}
    return Network(format, _summary(network, name, classes), replace(settings, **given))


def _legacy_zoo() -> Iterator[tuple[str, Network]]:
    for task, network in (("faster", FASTER), ("mask", MASK)):
        for body in LEGACY_BODIES:
            name = f"e2e_{task}_rcnn_{body}"
            yield f"{name}_1x", _legacy(body, network)
            yield f"caffe2/{name}_1x_caffe2", _legacy(body, network, format="caffe2")
            if body != "R_101_FPN":
                yield f"quick_schedules/{name}_quick", _legacy(body, network)
        for start, times in (("", "1x"), ("scratch_", "3x")):
            gn: dict[str, Any] = {"body_group_norm": True, "group_norm": True, "stride_in_1x1": False}
            name = f"gn_baselines/{start}e2e_{task}_rcnn_R_50_FPN"
            yield f"{name}_{times}_gn", _legacy("R_50_FPN", network, **gn)
            yield f"{name}_Xconv1fc_{times}_gn", _legacy("R_50_FPN", network, box_convs=(256,) * 4, **gn)
        for name, version in (("dconv", 1), ("mdconv", 2)):
            moved = {"deformable": (0, version, version, version)}
            yield f"dcn/e2e_{task}_rcnn_{name}_R_50_FPN_1x", _legacy("R_50_FPN", network, **moved)


_VOC_C4 = _legacy("R_50_C4", FASTER, 20, anchor_sizes=(128, 256, 512))
LEGACY = {
    **dict(_legacy_zoo()),
    "e2e_mask_rcnn_R_50_FPN_1x_periodically_testing": _legacy("R_50_FPN"),
    "test_time_aug/e2e_mask_rcnn_R_50_FPN_1x": _legacy("R_50_FPN"),
    "caffe2/e2e_mask_rcnn_X-152-32x8d-FPN-IN5k_1.44x_caffe2": Network(
        "caffe2", _summary(MASK, "ResNeXt-152-32x8d FPN"), replace(_FPN, depths=(3, 8, 36, 3), **_RESNEXT)
    ),
    "cityscapes/e2e_faster_rcnn_R_50_FPN_1x": _legacy("R_50_FPN", FASTER, 8),
    "cityscapes/e2e_faster_rcnn_R_50_FPN_1x_cocostyle": _legacy("R_50_FPN", FASTER, 8),
    "cityscapes/e2e_mask_rcnn_R_50_FPN_1x": _legacy("R_50_FPN", classes=8),
    "cityscapes/e2e_mask_rcnn_R_50_FPN_1x_cocostyle": _legacy("R_50_FPN", classes=8),
    "cityscapes/e2e_mask_rcnn_R_50_FPN_1x_binarymask": _legacy("R_50_FPN", classes=8),
    "cityscapes/e2e_mask_rcnn_R_50_FPN_1x_poly": _legacy("R_50_FPN", classes=10),
    "pascal_voc/e2e_faster_rcnn_R_50_C4_1x_1_gpu_voc": _VOC_C4,
    "pascal_voc/e2e_faster_rcnn_R_50_C4_1x_4_gpu_voc": _VOC_C4,
    "pascal_voc/e2e_mask_rcnn_R_50_FPN_1x": _legacy("R_50_FPN", classes=20),
    "pascal_voc/e2e_mask_rcnn_R_50_FPN_1x_cocostyle": _legacy("R_50_FPN", classes=20),
}

# --- torchvision ----------------------------------------------------------------------------------------------------

_MOBILE = replace(
    MOBILENET, masks=False, fpn=256, hidden=1024, head=256, classes=91, anchor_sizes=(SIZES,) * 3, rpn_score=0.05
)
_DEMO = replace(
    RESNET50_FPN, depths=(2, 2, 2, 2), width=16, frozen=False, fpn=128, hidden=256, head=128, classes=5, eps=1e-5
)


def _torchvision(name: str, classes: int = 90, network: str = MASK, **facts: Any) -> Network:
    given = {"classes": classes + 1, "masks": network == MASK, "eps": 1e-5, **facts}
    return Network("torchvision", _summary(network, f"{name} FPN", classes), replace(RESNET50_FPN, **given))


_BASIC = {"body": "basic", "out": 64}
_101, _152 = (3, 4, 23, 3), (3, 8, 36, 3)
# torchvision's resnet_fpn_backbone around any ResNet, trained on classes of one's own.
OWN_TORCHVISION = {
    "resnet18": _torchvision("ResNet-18", 2, depths=(2, 2, 2, 2), **_BASIC),
    "resnet34": _torchvision("ResNet-34", 2, **_BASIC),
    "resnet50, one class": _torchvision("ResNet-50", 1),
    "resnet50, from scratch": _torchvision("ResNet-50", 2, frozen=False),
    "resnet101": _torchvision("ResNet-101", 2, depths=_101),
    "resnet152": _torchvision("ResNet-152", 2, FASTER, depths=_152),
    "resnext50_32x4d": _torchvision("ResNeXt-50-32x4d", 2, width=128, groups=32),
    "resnext101_32x8d": _torchvision("ResNeXt-101-32x8d", 2, depths=_101, width=256, groups=32),
    "resnext101_64x4d": _torchvision("ResNeXt-101-64x4d", 2, depths=_101, width=256, groups=64),
    "wide_resnet50_2": _torchvision("Wide ResNet-50-2", 2, width=128),
    "wide_resnet101_2": _torchvision("Wide ResNet-101-2", 2, depths=_101, width=128),
}
_COCO_V1 = _torchvision("ResNet-50", eps=0.0)
TORCHVISION = {
    "torchvision": OWN_TORCHVISION["resnet101"],
    "torchvision-coco-v1": _COCO_V1,
    "torchvision-coco-v2": replace(_COCO_V1, settings=RESNET50_FPN_V2),
    "torchvision-mobilenet-v3-large": Network("torchvision", _summary(FASTER, "MobileNetV3-Large FPN", 90), _MOBILE),
    "torchvision-mobilenet-v3-large-320": Network(
        "torchvision", _summary(FASTER, "MobileNetV3-Large FPN", 90), _MOBILE
    ),
    "demo": Network("torchvision", _summary(MASK, "ResNet-26 FPN", 4), _DEMO),
}

# The published Faster R-CNNs that follow the rules of a Mask R-CNN.
FASTER_TORCHVISION = {
    "torchvision-coco-v1": _torchvision("ResNet-50", network=FASTER, eps=0.0),
    "torchvision-coco-v2": Network(
        "torchvision", _summary(FASTER, "ResNet-50 FPN", 90), replace(RESNET50_FPN_V2, masks=False)
    ),
}

NAMED: dict[str, Network] = {**TORCHVISION, **LEGACY, **DETECTRON2}
# What a family's rules are right for where nobody says more, and what needs a name or a config.
FAMILIES = {
    "maskrcnn-benchmark": (_legacy("R_50_FPN"), _legacy("R_50_C4", classes=3)),
    "maskrcnn-benchmark-cpu": (_legacy("R_101_FPN", FASTER), _legacy("R_50_FPN", classes=1)),
    "detectron2": (_detectron2("R_101", "DC5"), _detectron2("R_50", "C4", classes=1), _detectron2("R_50", "FPN")),
}
