"""torchvision's names of the weights of its Mask R-CNN and Faster R-CNN."""

from export.names.table import NameTable, Rows, affine, norm

_RESIDUAL_BODY: Rows = {
    "backbone.body.conv1.weight": "body.stem.weight",
    **norm("backbone.body.bn1", "body.stem.norm"),
    "backbone.body.layer{s}.{b}.conv{c}.weight": "body.stage{s}.{b}.conv{c}.weight",
    **norm("backbone.body.layer{s}.{b}.bn{c}", "body.stage{s}.{b}.conv{c}.norm"),
    "backbone.body.layer{s}.{b}.downsample.0.weight": "body.stage{s}.{b}.shortcut.weight",
    **norm("backbone.body.layer{s}.{b}.downsample.1", "body.stage{s}.{b}.shortcut.norm"),
}

# The layers of MobileNetV3: the first and the last are a convolution, the others blocks of up to four steps.
_MOBILE_BODY: Rows = {
    "backbone.body.{i}.0.weight": "body.layer{i}.conv.weight",
    **norm("backbone.body.{i}.1", "body.layer{i}.conv.norm"),
    "backbone.body.{i}.block.{j}.0.weight": "body.layer{i}.step{j}.weight",
    **norm("backbone.body.{i}.block.{j}.1", "body.layer{i}.step{j}.norm"),
    **affine("backbone.body.{i}.block.{j}.fc{f}", "body.layer{i}.step{j}.squeeze{f}"),
}

_PYRAMID_AND_PROPOSALS: Rows = {
    **affine("backbone.fpn.inner_blocks.{l}.0", "fpn.lateral{l}"),
    **norm("backbone.fpn.inner_blocks.{l}.1", "fpn.lateral{l}.norm"),
    **affine("backbone.fpn.layer_blocks.{l}.0", "fpn.output{l}"),
    **norm("backbone.fpn.layer_blocks.{l}.1", "fpn.output{l}.norm"),
    **affine("rpn.head.conv.{n}.0", "rpn.conv{n}"),
    **affine("rpn.head.cls_logits", "rpn.objectness"),
    **affine("rpn.head.bbox_pred", "rpn.deltas"),
}

_HEADS: Rows = {
    **affine("roi_heads.box_head.fc6", "box.0.linear0"),
    **affine("roi_heads.box_head.fc7", "box.0.linear1"),
    "roi_heads.box_head.{n}.0.weight": "box.0.conv{n}.weight",
    **norm("roi_heads.box_head.{n}.1", "box.0.conv{n}.norm"),
    **affine("roi_heads.box_head.5", "box.0.linear0"),  # four convolutions and a reshaping come before it
    **affine("roi_heads.box_predictor.cls_score", "box.0.scores"),
    **affine("roi_heads.box_predictor.bbox_pred", "box.0.deltas"),
    **affine("roi_heads.mask_head.{n}.0", "mask.conv{n}"),
    **norm("roi_heads.mask_head.{n}.1", "mask.conv{n}.norm"),
    **affine("roi_heads.mask_predictor.conv5_mask", "mask.deconv"),
    **affine("roi_heads.mask_predictor.mask_fcn_logits", "mask.logits"),
}

_BEFORE_0_13: Rows = {
    **affine("backbone.fpn.inner_blocks.{l}", "fpn.lateral{l}"),
    **affine("backbone.fpn.layer_blocks.{l}", "fpn.output{l}"),
    **affine("rpn.head.conv", "rpn.conv0"),
    **affine("roi_heads.mask_head.mask_fcn{n+1}", "mask.conv{n}"),
}

TABLE = NameTable(
    "torchvision",
    {**_RESIDUAL_BODY, **_MOBILE_BODY, **_PYRAMID_AND_PROPOSALS, **_HEADS, **_BEFORE_0_13},
    {
        r"backbone\.fpn\.extra_blocks": "the FPN has extra levels of its own (P6, P7)",
        r"backbone\.(features\.|\d+\.)": "the body has no FPN around it, which only its training script can describe",
    },
)
