"""Named conventions: what a kind of checkpoint was trained with."""

from dataclasses import replace

from export.conventions import Body, Conventions
from export.errors import ExportError

# COCO's category ids run to 90 with ten gaps; torchvision keeps the ids as labels.
COCO_BY_ID = tuple(
    """background|person|bicycle|car|motorcycle|airplane|bus|train|truck|boat|traffic light|fire hydrant|N/A|stop sign
|parking meter|bench|bird|cat|dog|horse|sheep|cow|elephant|bear|zebra|giraffe|N/A|backpack|umbrella|N/A|N/A|handbag|tie
|suitcase|frisbee|skis|snowboard|sports ball|kite|baseball bat|baseball glove|skateboard|surfboard|tennis racket|bottle
|N/A|wine glass|cup|fork|knife|spoon|bowl|banana|apple|sandwich|orange|broccoli|carrot|hot dog|pizza|donut|cake|chair
|couch|potted plant|bed|N/A|dining table|N/A|N/A|toilet|N/A|tv|laptop|mouse|remote|keyboard|cell phone|microwave|oven
|toaster|sink|refrigerator|N/A|book|clock|vase|scissors|teddy bear|hair drier|toothbrush""".replace("\n", "").split("|")
)

_TORCHVISION = Conventions()

PRESETS: dict[str, Conventions] = {
    # torchvision's MaskRCNN with its defaults: what a training of your own gives.
    "torchvision": _TORCHVISION,
    # The published maskrcnn_resnet50_fpn weights: their frozen norms were trained without an eps.
    "torchvision-coco-v1": replace(_TORCHVISION, body=Body(norm_eps=0.0), class_names=COCO_BY_ID),
    # demo/shapes.pth, at the scale that its pictures were drawn in.
    "demo": replace(
        _TORCHVISION,
        preprocessing=replace(_TORCHVISION.preprocessing, min_size=240, max_size=400),
        class_names=("background", "circle", "square", "triangle", "star"),
    ),
}


def preset(name: str) -> Conventions:
    """Look up a preset.

    Raises:
        ExportError: There is none of that name.
    """
    if name not in PRESETS:
        raise ExportError(f"preset {name!r} is not known; there are: {', '.join(PRESETS)}")
    return PRESETS[name]
