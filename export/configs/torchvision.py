"""torchvision's models, whose configuration is Python code: the arguments of its builders as conventions.

Source: torchvision 0.28.0, ``models/detection/faster_rcnn.py`` and ``mask_rcnn.py``.
"""

from dataclasses import replace
from typing import Any

from export.class_names import class_list
from export.configs.claims import Claims
from export.conventions import Body, Conventions, Proposals

TORCHVISION = Conventions()
_COCO = class_list("coco-by-id")

# Five sizes on each of three levels; scores of proposals have a floor.
_MOBILE = Proposals(anchor_sizes=((32.0, 64.0, 128.0, 256.0, 512.0),) * 3, score_threshold=0.05)


def _sized(min_size: int, max_size: int, **sections: Any) -> Conventions:
    preprocessing = replace(TORCHVISION.preprocessing, min_size=min_size, max_size=max_size)
    return replace(TORCHVISION, preprocessing=preprocessing, **sections)


CONVENTIONS: dict[str, Conventions] = {
    # torchvision's MaskRCNN with its defaults: what a training of your own gives.
    "torchvision": TORCHVISION,
    # The published weights of maskrcnn_resnet50_fpn and fasterrcnn_resnet50_fpn: trained before frozen norms had an
    # eps, so their builders set it to 0.
    "torchvision-coco-v1": replace(TORCHVISION, body=Body(norm_eps=0.0), class_names=_COCO),
    "torchvision-coco-v2": replace(TORCHVISION, class_names=_COCO),
    "torchvision-mobilenet-v3-large": replace(TORCHVISION, proposals=_MOBILE, class_names=_COCO),
    "torchvision-mobilenet-v3-large-320": _sized(
        320, 640, proposals=replace(_MOBILE, pre_nms_top_n=150, post_nms_top_n=150), class_names=_COCO
    ),
    # demo/shapes.pth, at the scale that its pictures were drawn in.
    "demo": _sized(240, 400, class_names=("background", "circle", "square", "triangle", "star")),
}

_RESNET_50 = Claims(kind="fpn", depth=50, groups=1, group_width=64, body_norm="batch", anchors_per_cell=3, classes=90)
CLAIMS: dict[str, Claims] = {
    "torchvision": Claims(kind="fpn"),
    "torchvision-coco-v1": replace(_RESNET_50, rpn_convs=1, box_convs=0, box_fcs=2),
    "torchvision-coco-v2": replace(_RESNET_50, rpn_convs=2, box_convs=4, box_fcs=1),
    "torchvision-mobilenet-v3-large": Claims(kind="fpn", anchors_per_cell=15, classes=90),
    "torchvision-mobilenet-v3-large-320": Claims(kind="fpn", anchors_per_cell=15, classes=90),
    "demo": Claims(kind="fpn", classes=4),
}
