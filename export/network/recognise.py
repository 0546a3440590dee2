"""Whose checkpoint it is, by the names of its weights, and what is no Mask R-CNN at all."""

import re
from collections.abc import Collection, Mapping

from torch import Tensor

from export.errors import ExportError
from export.kinds import Format
from export.names import caffe2, detectron2, maskrcnn_benchmark, torchvision
from export.names.table import NameTable

TABLES: dict[Format, NameTable] = {
    table.format: table for table in (torchvision.TABLE, maskrcnn_benchmark.TABLE, caffe2.TABLE, detectron2.TABLE)
}

# A training module may hold the network as ``model.``, and be wrapped itself.
_MOST_WRAPPERS = 3
# Names that only one framework gives.
_SIGNS: dict[Format, str] = {
    "detectron2": r"backbone\.bottom_up\.|backbone\.(stem|res\d)\.|proposal_generator\.|roi_heads\.res5\.",
    "maskrcnn-benchmark": r"backbone\.body\.stem\.|backbone\.fpn\.fpn_(inner|layer)|roi_heads\.(box|mask)\.",
    "caffe2": r"conv1_w$|res\d_\d+_branch|conv_rpn|fpn_inner_res",
    "torchvision": r"backbone\.body\.(conv1|bn1|layer\d|\d)|backbone\.fpn\.(inner|layer)_blocks|roi_heads\.box_",
}

# What is near a Mask R-CNN but none, by a name that only it has. The first that fits is said, so what has the names of
# another (an FCOS those of a RetinaNet, a Mask2Former those of a Panoptic FPN) stands before it.
_OTHERS = {
    r"(.*\.)?keypoint_head\.|roi_heads\.keypoint|kps_": "a keypoint model (Keypoint R-CNN)",
    r"roi_heads\.mask_(head\.)?(coarse|point)_head|sem_seg_head\.(coarse|point)": "a PointRend model",
    r"sem_seg_head\.(pixel_decoder|predictor\.\w+\.)": "a Mask2Former or MaskFormer",
    r"sem_seg_head\.|aux_classifier\.|segmentation_head\.": "a panoptic or semantic segmentation model",
    r"roi_heads\.(densepose|mask_?iou|mesh|voxel|z_head)": "an R-CNN with heads of its own (DensePose, Mask Scoring)",
    r"head\.classification_head\.module_list": "an SSD",
    r"head\.(regression_head\.bbox_)?ctrness|rpn\.head\.centerness|proposal_generator\.fcos": "an FCOS",
    r"proposal_generator\.centernet": "a CenterNet2",
    r"head\.(classification|regression)_head|head\.(cls|bbox)_subnet|retnet_": "a RetinaNet",
    r"rpn\.head\.(cls|bbox)_tower": "a RetinaNet",
    r"backbone\.(net|bottom_up)\.(blocks|layers|patch_embed|pos_embed)": "a ViTDet, MViT or Swin (a transformer body)",
    r"backbone\.(bottom_up\.)?s\d\.b\d|backbone\.bottom_up\.stem\.conv\.": "a RegNet model",
    r".*fbnetv2_|backbone\.body\.(xif|stages\.|first\.)|rpn\.head\.\d\.": "an FBNet model",
    r"bbox_head\.|rpn_head\.|roi_head\.|neck\.": "an MMDetection checkpoint",
    r"(image_encoder|(sam_)?mask_decoder|(sam_)?prompt_encoder)\.": "a Segment Anything model (SAM)",
    r"proto_net\.|prediction_layers\.|fpn\.(lat|pred)_layers\.": "a YOLACT",
    r"(detr\.|model\.)?(transformer|(encoder|decoder)\.layers|class_embed|query_embed|query_position_embeddings)\.": (
        "a transformer detector (DETR or its kin)"
    ),
    r"(model\.)+\d+\.(conv|cv\d|m)\.": "a YOLO",
    r"features\.\d|classifier\.": "a classifier without a detector around it",
    r"(stem\.)?(conv1|bn1|layer\d|res\d|fc)\.": "a classifier's body without a detector around it",
}


def recognise(names: Collection[str]) -> Format:
    """Tell the framework that named the weights.

    Args:
        names: Names of all weights of a checkpoint.

    Raises:
        ExportError: It is a known network of another kind, or no framework is known by these names.
    """
    refuse_other_networks(names)
    if format_ := _signed(names):
        return format_
    some = ", ".join(sorted(names)[:3])
    raise ExportError(
        f"the {len(names)} keys ({some}, ...) are of no Mask R-CNN of {', '.join(_SIGNS)}; "
        "say --format if it is one of them with names of its own"
    )


def without_wrapper(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop what a training module put before every name (Lightning's ``model.``), where the rest is known here."""
    bare = dict(tensors)
    for _ in range(_MOST_WRAPPERS):
        if _signed(bare) or len({name.partition(".")[0] for name in bare}) != 1:
            break
        bare = {name.partition(".")[2]: tensor for name, tensor in bare.items()}
    return bare if _signed(bare) else dict(tensors)


def _signed(names: Collection[str]) -> Format | None:
    return next((of for of, sign in _SIGNS.items() if any(re.match(sign, name) for name in names)), None)


def refuse_other_networks(names: Collection[str]) -> None:
    """Refuse what is no Mask R-CNN or Faster R-CNN, by its name.

    Raises:
        ExportError: See above.
    """
    for sign, network in _OTHERS.items():
        for name in names:
            if re.match(sign, name):
                raise ExportError(
                    f"unexpected key {name}: this is {network}; only Mask R-CNN and Faster R-CNN of "
                    f"{', '.join(_SIGNS)} with a ResNet, ResNeXt or MobileNetV3 body can be exported"
                )
