"""Detectron2's configuration, a user's or a named one, to conventions and claims.

Source: detectron2 02b5c4e2, the files named beside each rule.
"""

from dataclasses import replace
from typing import cast

import numpy

from export import conventions
from export.configs.claims import Claims
from export.configs.config import Config, Values
from export.configs.data_sets import data_set_names
from export.configs.detectron2_values import BASES, DEFAULTS, KIND_RULES, NORMS, RULES
from export.configs.keys import check_keys
from export.conventions import BoxWeights, Conventions
from export.errors import ExportError
from export.kinds import Kind
from export.network.architecture import Norm
from handler.model_card import Preprocessing

_AUGMENTED = (
    "TEST.AUG.ENABLED: only Detectron2's evaluation augments its test pictures, its predictor and this export do not"
)


def detectron2_config(name: str, values: Values) -> Config:
    """Values over Detectron2's defaults, checked.

    Args:
        name: A preset's name or a file, for messages.
        values: Dotted keys; what is missing has Detectron2's default.

    Raises:
        ExportError: A key is misspelt, or a value means a network that is not supported.
    """
    check_keys(name, values, DEFAULTS)
    config = Config(name, values, DEFAULTS)
    config.require(RULES)
    config.require(KIND_RULES[config_kind(config)])
    return config


def family_values(kind: Kind) -> Values:
    """What Detectron2's base configuration of a kind says."""
    return BASES[kind]


def config_kind(config: Config) -> Kind:
    """The kind of network that a configuration builds.

    Raises:
        ExportError: It is none that is supported.
    """
    if config["MODEL.BACKBONE.NAME"] == "build_resnet_fpn_backbone":
        return "fpn"
    if config["MODEL.ROI_HEADS.NAME"] == "Res5ROIHeads":
        return "c4"
    if config["MODEL.RESNETS.OUT_FEATURES"] in (["res5"], ("res5",)):
        return "dc5"
    raise config.wrong("MODEL.ROI_HEADS.NAME", "only FPN, C4 (Res5ROIHeads) and DC5 (heads on res5) are supported")


def detectron2_conventions(config: Config) -> Conventions:
    """All that the shapes of a checkpoint do not say.

    Raises:
        ExportError: A value is not of its type, or not possible.
    """
    kind = config_kind(config)
    try:
        return Conventions(
            preprocessing=_preprocessing(config, kind),
            body=_body(config),
            boxes=conventions.Boxes(legacy=False, inclusive_nms=False),
            proposals=_proposals(config, kind),
            pooling=_pooling(config, kind),
            detections=_detections(config),
            answers=conventions.Answers(clip_boxes=True, paste_rule="exact", paste_inclusive=True),
            class_names=data_set_names(config["DATASETS.TEST"], config.whole("MODEL.ROI_HEADS.NUM_CLASSES")),
        )
    except ValueError as error:
        raise ExportError(f"{config.name}: {error}") from error


def _preprocessing(config: Config, kind: Kind) -> Preprocessing:
    # data/transforms/augmentation_impl.py, ResizeShortestEdge; modeling/backbone/fpn.py, size_divisibility.
    return Preprocessing(
        min_size=config.whole("INPUT.MIN_SIZE_TEST"),
        max_size=config.whole("INPUT.MAX_SIZE_TEST"),
        size_rule="detectron2",
        size_divisor=32 if kind == "fpn" else 1,
        resize_filter="pillow",
        bgr=config["INPUT.FORMAT"] == "BGR",
        pixel_divisor=1.0,
        mean=cast(tuple[float, float, float], config.numbers("MODEL.PIXEL_MEAN", 3)),
        std=cast(tuple[float, float, float], config.numbers("MODEL.PIXEL_STD", 3)),
    )


def _body(config: Config) -> conventions.Body:
    # layers/batch_norm.py: eps 1e-5 in the frozen norm; torch's default is the same in all others; GN has 32 groups.
    return conventions.Body(
        norm_eps=1e-5,
        group_norm_eps=1e-5,
        norm_groups=32,
        stride_in_1x1=config.flag("MODEL.RESNETS.STRIDE_IN_1X1"),
        last_dilation=config.whole("MODEL.RESNETS.RES5_DILATION"),
    )


def _proposals(config: Config, kind: Kind) -> conventions.Proposals:
    # modeling/anchor_generator.py, modeling/proposal_generator/proposal_utils.py
    return conventions.Proposals(
        anchor_sizes=_anchor_sizes(config, 5 if kind == "fpn" else 1),
        anchor_ratios=_anchor_ratios(config),
        anchor_order="sizes",
        anchor_rounding="exact",
        strides_from_grid=False,
        pre_nms_top_n=config.whole("MODEL.RPN.PRE_NMS_TOPK_TEST"),
        post_nms_top_n=config.whole("MODEL.RPN.POST_NMS_TOPK_TEST"),
        nms_threshold=config.fraction("MODEL.RPN.NMS_THRESH"),
        min_size=_just_above(config.number("MODEL.PROPOSAL_GENERATOR.MIN_SIZE")),
        score_threshold=None,
        sigmoid=False,
    )


def _anchor_sizes(config: Config, levels: int) -> tuple[tuple[float, ...], ...]:
    key = "MODEL.ANCHOR_GENERATOR.SIZES"
    sizes = config.numbers_of_numbers(key)
    if len(sizes) not in (1, levels) or len({len(row) for row in sizes}) != 1:
        raise config.wrong(key, f"must have one list for all levels or {levels} of the same length, one a level")
    return sizes * levels if len(sizes) == 1 else sizes


def _anchor_ratios(config: Config) -> tuple[float, ...]:
    key = "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"
    ratios = config.numbers_of_numbers(key)
    if len(set(ratios)) != 1:
        raise config.wrong(key, "must be the same on every level")
    return ratios[0]


def _just_above(limit: float) -> float:
    """The frameworks that keep what is longer than the limit keep what is at least the next float32."""
    return float(numpy.nextafter(numpy.float32(limit), numpy.float32(numpy.inf)))


def _pooling(config: Config, kind: Kind) -> conventions.Pooling:
    # modeling/poolers.py; modeling/roi_heads/roi_heads.py: the mask head of C4 sees what the box head sees.
    mask = "MODEL.ROI_BOX_HEAD" if kind == "c4" else "MODEL.ROI_MASK_HEAD"
    if config.flag("MODEL.MASK_ON"):
        for option in ("POOLER_SAMPLING_RATIO", "POOLER_TYPE"):
            config.require_same(f"{mask}.{option}", f"MODEL.ROI_BOX_HEAD.{option}")
    return conventions.Pooling(
        sampling_ratio=config.whole("MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO", 0),
        aligned=config["MODEL.ROI_BOX_HEAD.POOLER_TYPE"] == "ROIAlignV2",
        mask_pool=config.whole(f"{mask}.POOLER_RESOLUTION"),
        canonical_level=4,
        canonical_size=224.0,
        ratio_epsilon=1e-8,
        level_epsilon=0.0,
    )


def _detections(config: Config) -> conventions.Detections:
    # modeling/roi_heads/fast_rcnn.py. Empty boxes go at the very end there (postprocessing.py, nonempty); they
    # suppress nothing, so dropping them before the NMS can only let a detection in after the last place.
    return conventions.Detections(
        box_weights=_box_weights(config),
        activation="sigmoid" if config.flag("MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE") else "softmax",
        background_first=False,
        score_threshold=config.fraction("MODEL.ROI_HEADS.SCORE_THRESH_TEST"),
        nms_threshold=config.fraction("MODEL.ROI_HEADS.NMS_THRESH_TEST"),
        max_detections=config.whole("TEST.DETECTIONS_PER_IMAGE"),
        min_size=_just_above(0.0),
    )


def _is_cascade(config: Config) -> bool:
    return bool(config["MODEL.ROI_HEADS.NAME"] == "CascadeROIHeads")


def _box_weights(config: Config) -> tuple[BoxWeights, ...]:
    if not _is_cascade(config):
        return (cast(BoxWeights, config.numbers("MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS", 4)),)
    key = "MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS"
    weights = config.numbers_of_numbers(key)
    if any(len(row) != 4 for row in weights):
        raise config.wrong(key, "must be lists of 4 numbers")
    return cast(tuple[BoxWeights, ...], weights)


def detectron2_claims(config: Config) -> Claims:
    """What the configuration says of the shapes.

    Raises:
        ExportError: A value is not of its type.
    """
    kind = config_kind(config)
    sizes, ratios = config.numbers_of_numbers("MODEL.ANCHOR_GENERATOR.SIZES"), _anchor_ratios(config)
    claims = Claims(
        kind=kind,
        depth=config.whole("MODEL.RESNETS.DEPTH"),
        groups=config.whole("MODEL.RESNETS.NUM_GROUPS"),
        group_width=config.whole("MODEL.RESNETS.WIDTH_PER_GROUP"),
        body_norm=_norm(config, "MODEL.RESNETS.NORM"),
        pyramid_norm=_norm(config, "MODEL.FPN.NORM") if kind == "fpn" else None,
        rpn_convs=len(config.numbers("MODEL.RPN.CONV_DIMS")),
        anchors_per_cell=len(sizes[0]) * len(ratios),
        deformable_stages=config.flags("MODEL.RESNETS.DEFORM_ON_PER_STAGE", 4),
        modulated=config.flag("MODEL.RESNETS.DEFORM_MODULATED"),
        deformable_groups=config.whole("MODEL.RESNETS.DEFORM_NUM_GROUPS"),
        classes=config.whole("MODEL.ROI_HEADS.NUM_CLASSES"),
        class_agnostic_boxes=config.flag("MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG"),
        has_masks=config.flag("MODEL.MASK_ON"),
        notes=(_AUGMENTED,) if config["TEST.AUG.ENABLED"] else (),
    )
    return _with_mask_head(config, _with_box_head(config, claims))


def _with_box_head(config: Config, claims: Claims) -> Claims:
    of_body = claims.kind == "c4"
    return replace(
        claims,
        box_heads=len(_box_weights(config)),
        box_pool=config.whole("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION"),
        box_convs=0 if of_body else config.whole("MODEL.ROI_BOX_HEAD.NUM_CONV", 0),
        box_fcs=0 if of_body else config.whole("MODEL.ROI_BOX_HEAD.NUM_FC", 0),
        box_norm="none" if of_body else _norm(config, "MODEL.ROI_BOX_HEAD.NORM"),
    )


def _with_mask_head(config: Config, claims: Claims) -> Claims:
    if not claims.has_masks:
        return claims
    return replace(
        claims,
        mask_convs=config.whole("MODEL.ROI_MASK_HEAD.NUM_CONV", 0),
        mask_norm=_norm(config, "MODEL.ROI_MASK_HEAD.NORM"),
        class_agnostic_masks=config.flag("MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK"),
    )


def _norm(config: Config, key: str) -> Norm:
    return cast(Norm, NORMS[config[key]])
