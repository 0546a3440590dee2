"""torchvision's names of the weights of ``maskrcnn_resnet*_fpn``, and the names they get here.

``{s}`` stands for a number; ``{n-1}`` for that number less one. None means: dropped on purpose.
The first spelling of a weight is the one that torchvision writes today.
"""

import re

from torch import Tensor

from export.errors import ExportError

_NORM = {"weight": "weight", "bias": "bias", "running_mean": "mean", "running_var": "variance"}


def _norm(foreign: str, canonical: str) -> dict[str, str | None]:
    rows: dict[str, str | None] = {f"{foreign}.{theirs}": f"{canonical}.{ours}" for theirs, ours in _NORM.items()}
    return rows | {f"{foreign}.num_batches_tracked": None}  # a counter of training


def _affine(foreign: str, canonical: str) -> dict[str, str | None]:
    return {f"{foreign}.{part}": f"{canonical}.{part}" for part in ("weight", "bias")}


NAMES: dict[str, str | None] = {
    "backbone.body.conv1.weight": "body.stem.conv.weight",
    **_norm("backbone.body.bn1", "body.stem.norm"),
    "backbone.body.layer{s}.{b}.conv{c}.weight": "body.stage{s}.{b}.conv{c}.weight",
    **_norm("backbone.body.layer{s}.{b}.bn{c}", "body.stage{s}.{b}.norm{c}"),
    "backbone.body.layer{s}.{b}.downsample.0.weight": "body.stage{s}.{b}.shortcut.conv.weight",
    **_norm("backbone.body.layer{s}.{b}.downsample.1", "body.stage{s}.{b}.shortcut.norm"),
    **_affine("backbone.fpn.inner_blocks.{l}.0", "fpn.lateral{l}"),
    **_affine("backbone.fpn.layer_blocks.{l}.0", "fpn.output{l}"),
    **_affine("rpn.head.conv.0.0", "rpn.conv"),
    **_affine("rpn.head.cls_logits", "rpn.objectness"),
    **_affine("rpn.head.bbox_pred", "rpn.deltas"),
    **_affine("roi_heads.box_head.fc6", "box.fc6"),
    **_affine("roi_heads.box_head.fc7", "box.fc7"),
    **_affine("roi_heads.box_predictor.cls_score", "box.scores"),
    **_affine("roi_heads.box_predictor.bbox_pred", "box.deltas"),
    **_affine("roi_heads.mask_head.{n}.0", "mask.conv{n}"),
    **_affine("roi_heads.mask_predictor.conv5_mask", "mask.deconv"),
    **_affine("roi_heads.mask_predictor.mask_fcn_logits", "mask.logits"),
    # Spellings of files saved before torchvision 0.13.
    **_affine("backbone.fpn.inner_blocks.{l}", "fpn.lateral{l}"),
    **_affine("backbone.fpn.layer_blocks.{l}", "fpn.output{l}"),
    **_affine("rpn.head.conv", "rpn.conv"),
    **_affine("roi_heads.mask_head.mask_fcn{n+1}", "mask.conv{n}"),
}

# Names of models that are not read: where they come from, so that the error can say it.
LIKELY_CAUSES = {
    r"backbone\.bottom_up\.|proposal_generator\.": "this is a Detectron2 checkpoint",
    r"backbone\.body\.stem\.|roi_heads\.(box|mask)\.": "this is a maskrcnn-benchmark checkpoint",
    r"roi_heads\.box_head\.\d+\.|rpn\.head\.conv\.1\.|backbone\.fpn\.\w+\.\d+\.1\.|roi_heads\.mask_head\.\d+\.1\.": (
        "this looks like maskrcnn_resnet50_fpn_v2, whose heads have norms and more convolutions"
    ),
    r"roi_heads\.keypoint": "this is a keypoint model, not a Mask R-CNN",
    r"backbone\.(body\.)?features\.|backbone\.body\.\d+\.": "the body is a MobileNet, not a ResNet",
    r"backbone\.fpn\.extra_blocks": "the FPN has extra levels of its own (P6, P7)",
    r"head\.(classification|regression)_head": "this is a RetinaNet, not a Mask R-CNN",
    r"(conv1|bn1|layer\d|fc)\.": "this is a classifier's ResNet without a detector around it",
}

_PLACEHOLDER = re.compile(r"\{(\w)([+-]\d+)?\}")


def _pattern(template: str) -> tuple[re.Pattern[str], dict[str, int]]:
    """The regular expression of a template, and the number to take off each placeholder's value."""
    offsets = {match[1]: int(match[2] or 0) for match in _PLACEHOLDER.finditer(template)}
    literal = _PLACEHOLDER.sub(lambda match: f"<{match[1]}>", template)
    return re.compile(re.sub(r"<(\w)>", r"(?P<\1>\\d+)", re.escape(literal))), offsets


_ROWS = [(*_pattern(foreign), canonical) for foreign, canonical in NAMES.items()]


def canonical_name(foreign: str) -> str | None:
    """The name of one weight here; None where it is dropped on purpose.

    Raises:
        ExportError: The table does not list the name; the text says the likely cause.
    """
    for pattern, offsets, canonical in _ROWS:
        if match := pattern.fullmatch(foreign):
            values = {key: int(value) - offsets[key] for key, value in match.groupdict().items()}
            return canonical.format(**values) if canonical else None
    causes = (cause for prefix, cause in LIKELY_CAUSES.items() if re.match(prefix, foreign))
    cause = next(causes, "it is not part of torchvision's MaskRCNN with a ResNet-FPN backbone")
    raise ExportError(f"unexpected key {foreign}: {cause}")


def foreign_name(canonical: str) -> str:
    """The name that torchvision writes today for a canonical one (for messages)."""
    for foreign, template in NAMES.items():
        if template and (match := _pattern(template)[0].fullmatch(canonical)):
            return _PLACEHOLDER.sub(lambda found, values=match: values[found[1]], foreign)  # type: ignore[misc]
    raise KeyError(canonical)


def to_canonical(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename every weight of a torchvision checkpoint.

    Args:
        tensors: torchvision name to tensor.

    Returns:
        Canonical name to tensor, less what is dropped on purpose.

    Raises:
        ExportError: A name is not in the table, or two names mean the same weight.
    """
    renamed: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for foreign, tensor in tensors.items():
        canonical = canonical_name(foreign)
        if canonical is None:
            continue
        if canonical in renamed:
            raise ExportError(f"keys {origin[canonical]} and {foreign} are two spellings of one weight; keep one")
        renamed[canonical], origin[canonical] = tensor, foreign
    return renamed
