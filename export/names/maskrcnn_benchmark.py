"""maskrcnn-benchmark's names of the weights."""

import re
from collections.abc import Iterator

import torch
from torch import Tensor

from export.errors import ExportError
from export.names.table import NameTable, Rows, Tensors, affine, norm

_BOX, _MASK = "roi_heads.box.feature_extractor", "roi_heads.mask.feature_extractor"
_PLAIN_CONV = re.compile(rf"({re.escape(_BOX)}\.xconvs\.)(\d{{0,8}}[02468])(\.weight|\.bias)")
_COPY = "copy_of."  # before our names of the weights that a C4 model saves twice


def _stage(foreign: str, canonical: str) -> Rows:
    """Rows of a residual stage; a deformable convolution keeps its kernel one step deeper."""
    return {
        f"{foreign}.{{b}}.conv{{c}}.weight": f"{canonical}.{{b}}.conv{{c}}.weight",
        f"{foreign}.{{b}}.conv{{c}}.conv.weight": f"{canonical}.{{b}}.conv{{c}}.weight",
        **affine(f"{foreign}.{{b}}.conv{{c}}.offset", f"{canonical}.{{b}}.conv{{c}}.offset"),
        **norm(f"{foreign}.{{b}}.bn{{c}}", f"{canonical}.{{b}}.conv{{c}}.norm"),
        f"{foreign}.{{b}}.downsample.0.weight": f"{canonical}.{{b}}.shortcut.weight",
        **norm(f"{foreign}.{{b}}.downsample.1", f"{canonical}.{{b}}.shortcut.norm"),
    }


def _layer(foreign: str, canonical: str) -> Rows:
    """Rows of a layer with a bias, or with a group norm in its place."""
    return {
        **affine(foreign, canonical),
        f"{foreign}.0.weight": f"{canonical}.weight",
        **affine(f"{foreign}.1", f"{canonical}.norm"),
    }


ROWS: Rows = {
    "backbone.body.stem.conv1.weight": "body.stem.weight",
    **norm("backbone.body.stem.bn1", "body.stem.norm"),
    **_stage("backbone.body.layer{s}", "body.stage{s}"),
    **_layer("backbone.fpn.fpn_inner{l+1}", "fpn.lateral{l}"),
    **_layer("backbone.fpn.fpn_layer{l+1}", "fpn.output{l}"),
    **affine("rpn.head.conv", "rpn.conv0"),
    **affine("rpn.head.cls_logits", "rpn.objectness"),
    **affine("rpn.head.bbox_pred", "rpn.deltas"),
    "rpn.anchor_generator.cell_anchors.{l}": "trained.anchors{l}",
    **_stage(f"{_BOX}.head.layer4", "region_stage"),
    **_stage(f"{_MASK}.head.layer4", f"{_COPY}region_stage"),
    **_layer(f"{_BOX}.fc6", "box.0.linear0"),
    **_layer(f"{_BOX}.fc7", "box.0.linear1"),
    f"{_BOX}.xconvs.{{n*3}}.weight": "box.0.conv{n}.weight",
    **affine(f"{_BOX}.xconvs.plain{{n}}", "box.0.conv{n}"),
    **affine(f"{_BOX}.xconvs.{{n*3+1}}", "box.0.conv{n}.norm"),
    **affine("roi_heads.box.predictor.cls_score", "box.0.scores"),
    **affine("roi_heads.box.predictor.bbox_pred", "box.0.deltas"),
    **_layer(f"{_MASK}.mask_fcn{{n+1}}", "mask.conv{n}"),
    **affine("roi_heads.mask.predictor.conv5_mask", "mask.deconv"),
    **affine("roi_heads.mask.predictor.mask_fcn_logits", "mask.logits"),
}


def _without_norms(tensors: Tensors) -> dict[str, Tensor]:
    """Box convolutions without norms are every second layer, not every third: they get a spelling of their own."""
    if f"{_BOX}.xconvs.1.weight" in tensors:
        return dict(tensors)
    found = ((_PLAIN_CONV.fullmatch(name), name, tensor) for name, tensor in tensors.items())
    return {f"{m[1]}plain{int(m[2]) // 2}{m[3]}" if m else name: tensor for m, name, tensor in found}


def without_copies(tensors: Tensors) -> dict[str, Tensor]:
    """Drop the second copy of the stage that box and mask head share.

    Raises:
        ExportError: The copies differ, or one has what the other has not.
    """
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(_COPY)}
    for copy in tensors.keys() - kept.keys():
        name = copy.removeprefix(_COPY)
        if name not in kept or not torch.equal(kept[name], tensors[copy]):
            raise ExportError(
                f"key {TABLE.foreign(copy)} must equal {TABLE.foreign(name)}: box and mask head share their last stage"
            )
    return kept


def one_box_a_region(tensors: Tensors) -> dict[str, Tensor]:
    """Class-agnostic heads have two boxes, of which the second is used."""
    return dict(tensors) | dict(_second_boxes(tensors))


def _second_boxes(tensors: Tensors) -> Iterator[tuple[str, Tensor]]:
    scores = tensors.get("box.0.scores.bias")
    for name in ("box.0.deltas.weight", "box.0.deltas.bias"):
        deltas = tensors.get(name)
        if scores is None or deltas is None or not scores.dim() or not deltas.dim():
            continue  # said in the words of the user's file elsewhere
        if len(deltas) == 8 != 4 * len(scores):
            yield name, deltas[4:]


def _mended(tensors: Tensors) -> dict[str, Tensor]:
    return one_box_a_region(without_copies(tensors))


TABLE = NameTable("maskrcnn-benchmark", ROWS, before=_without_norms, after=_mended)
