"""Detectron2's names of the weights."""

from export.names.table import NameTable, Rows, affine, norm

# Models with an FPN keep the body one step deeper than those without.
_BODIES = ("backbone.bottom_up", "backbone")


def _layer(foreign: str, canonical: str) -> Rows:
    """Rows of a layer with a bias, or with a norm in its place."""
    return affine(foreign, canonical) | norm(f"{foreign}.norm", f"{canonical}.norm")


def _stage(foreign: str, canonical: str) -> Rows:
    return {
        **_layer(f"{foreign}.{{b}}.conv{{c}}", f"{canonical}.{{b}}.conv{{c}}"),
        **affine(f"{foreign}.{{b}}.conv{{c}}_offset", f"{canonical}.{{b}}.conv{{c}}.offset"),
        **_layer(f"{foreign}.{{b}}.shortcut", f"{canonical}.{{b}}.shortcut"),
    }


def _body(foreign: str) -> Rows:
    return _layer(f"{foreign}.stem.conv1", "body.stem") | _stage(f"{foreign}.res{{s+1}}", "body.stage{s}")


def _box_head(head: str, predictor: str, canonical: str) -> Rows:
    return {
        **_layer(f"{head}.conv{{n+1}}", f"{canonical}.conv{{n}}"),
        **affine(f"{head}.fc{{n+1}}", f"{canonical}.linear{{n}}"),
        **affine(f"{predictor}.cls_score", f"{canonical}.scores"),
        **affine(f"{predictor}.bbox_pred", f"{canonical}.deltas"),
    }


_RPN = "proposal_generator.rpn_head"
ROWS: Rows = {
    **_body(_BODIES[0]),
    **_body(_BODIES[1]),
    **_layer("backbone.fpn_lateral{l+2}", "fpn.lateral{l}"),
    **_layer("backbone.fpn_output{l+2}", "fpn.output{l}"),
    **affine(f"{_RPN}.conv", "rpn.conv0"),
    **affine(f"{_RPN}.conv.conv{{n}}", "rpn.conv{n}"),
    **affine(f"{_RPN}.objectness_logits", "rpn.objectness"),
    **affine(f"{_RPN}.anchor_deltas", "rpn.deltas"),
    **_stage("roi_heads.res5", "region_stage"),
    **_box_head("roi_heads.box_head", "roi_heads.box_predictor", "box.0"),
    **_box_head("roi_heads.box_head.{k}", "roi_heads.box_predictor.{k}", "box.{k}"),
    **_layer("roi_heads.mask_head.mask_fcn{n+1}", "mask.conv{n}"),
    **affine("roi_heads.mask_head.deconv", "mask.deconv"),
    **affine("roi_heads.mask_head.predictor", "mask.logits"),
    # Buffers that older files carry along.
    "proposal_generator.anchor_generator.cell_anchors.{l}": "trained.anchors{l}",
    "pixel_mean": "trained.mean",
    "pixel_std": "trained.std",
}

TABLE = NameTable("detectron2", ROWS)
