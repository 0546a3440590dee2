"""maskrcnn-benchmark's configuration, a user's or a named one, to conventions and claims.

Caffe2 Detectron's checkpoints follow the same conventions.

Source: maskrcnn-benchmark 57eec25, the files named beside each rule.
"""

from dataclasses import replace
from typing import cast

from export import conventions
from export.configs.claims import Claims
from export.configs.config import Config, Values
from export.configs.data_sets import data_set_names
from export.configs.keys import check_keys
from export.configs.maskrcnn_benchmark_values import BASES, BODIES, BOX_HEADS, DEFAULTS, KIND_RULES, NORMS, RULES
from export.conventions import BoxWeights, Conventions
from export.errors import ExportError
from export.kinds import Kind
from export.network.architecture import Norm
from handler.model_card import Preprocessing

_AUGMENTED = (
    "TEST.BBOX_AUG.ENABLED: only maskrcnn-benchmark's evaluation augments its test pictures, its predictor and this "
    "export do not"
)


def maskrcnn_benchmark_config(name: str, values: Values) -> Config:
    """Values over maskrcnn-benchmark's defaults, checked.

    Args:
        name: A preset's name or a file, for messages.
        values: Dotted keys; what is missing has maskrcnn-benchmark's default.

    Raises:
        ExportError: A key is misspelt, or a value means a network that is not supported.
    """
    check_keys(name, values, DEFAULTS)
    config = Config(name, values, DEFAULTS)
    config.require(RULES)
    config.require(KIND_RULES[config_kind(config)])
    return config


def family_values(kind: Kind) -> Values:
    """What all configurations of a kind say.

    Raises:
        ExportError: maskrcnn-benchmark has none of that kind.
    """
    if kind not in BASES:
        raise ExportError(f"maskrcnn-benchmark has no network of the kind {kind}, only {' and '.join(BASES)}")
    return BASES[kind]


def config_kind(config: Config) -> Kind:
    """The kind of network that a configuration builds."""
    return BODIES[config["MODEL.BACKBONE.CONV_BODY"]][0]


def maskrcnn_benchmark_conventions(config: Config) -> Conventions:
    """All that the shapes of a checkpoint do not say.

    Boxes are suppressed as on a GPU, above the threshold; on a CPU maskrcnn-benchmark suppresses at it too.

    Raises:
        ExportError: A value is not of its type, or not possible.
    """
    kind = config_kind(config)
    names = data_set_names(config["DATASETS.TEST"], config.whole("MODEL.ROI_BOX_HEAD.NUM_CLASSES", 2) - 1)
    try:
        return Conventions(
            preprocessing=_preprocessing(config),
            body=_body(config),
            boxes=conventions.Boxes(legacy=True, inclusive_nms=False),  # csrc/cuda/nms.cu
            proposals=_proposals(config, kind),
            pooling=_pooling(config, kind),
            detections=_detections(config),
            # modeling/roi_heads/mask_head/inference.py, Masker
            answers=conventions.Answers(clip_boxes=False, paste_rule="integer", paste_inclusive=False),
            class_names=("background", *names) if names else None,
        )
    except ValueError as error:
        raise ExportError(f"{config.name}: {error}") from error


def _preprocessing(config: Config) -> Preprocessing:
    # data/transforms/transforms.py; structures/image_list.py: a divisor of 0 pads nothing.
    in_255 = config.flag("INPUT.TO_BGR255")
    return Preprocessing(
        min_size=config.whole("INPUT.MIN_SIZE_TEST"),
        max_size=config.whole("INPUT.MAX_SIZE_TEST"),
        size_rule="maskrcnn_benchmark",
        size_divisor=max(config.whole("DATALOADER.SIZE_DIVISIBILITY", 0), 1),
        resize_filter="pillow",
        bgr=in_255,
        pixel_divisor=1.0 if in_255 else 255.0,
        mean=cast(tuple[float, float, float], config.numbers("INPUT.PIXEL_MEAN", 3)),
        std=cast(tuple[float, float, float], config.numbers("INPUT.PIXEL_STD", 3)),
    )


def _body(config: Config) -> conventions.Body:
    # layers/batch_norm.py has no eps; modeling/make_layers.py, group_norm.
    return conventions.Body(
        norm_eps=0.0,
        group_norm_eps=config.number("MODEL.GROUP_NORM.EPSILON"),
        norm_groups=config.whole("MODEL.GROUP_NORM.NUM_GROUPS"),
        stride_in_1x1=config.flag("MODEL.RESNETS.STRIDE_IN_1X1"),
        last_dilation=1,
    )


def _proposals(config: Config, kind: Kind) -> conventions.Proposals:
    # modeling/rpn/anchor_generator.py, modeling/rpn/inference.py
    return conventions.Proposals(
        anchor_sizes=_anchor_sizes(config, kind),
        anchor_ratios=config.numbers("MODEL.RPN.ASPECT_RATIOS"),
        anchor_order="ratios",
        anchor_rounding="windows",
        strides_from_grid=False,
        pre_nms_top_n=config.whole("MODEL.RPN.PRE_NMS_TOP_N_TEST"),
        post_nms_top_n=_post_nms_top_n(config, kind),
        nms_threshold=config.fraction("MODEL.RPN.NMS_THRESH"),
        min_size=config.number("MODEL.RPN.MIN_SIZE"),
        score_threshold=None,
        sigmoid=True,
    )


def _anchor_sizes(config: Config, kind: Kind) -> tuple[tuple[float, ...], ...]:
    key = "MODEL.RPN.ANCHOR_SIZES"
    if kind != "fpn":
        return (config.numbers(key),)
    sizes = config[key]
    if not isinstance(sizes, list | tuple) or len(sizes) != 5:
        raise config.wrong(key, "must have one size for each of the 5 levels")
    if all(isinstance(size, list | tuple) for size in sizes):
        return config.numbers_of_numbers(key)
    return tuple((size,) for size in config.numbers(key, 5))


def _post_nms_top_n(config: Config, kind: Kind) -> int:
    """Of all levels together; a limit of each level's own must never be what decides."""
    limit = config.whole("MODEL.RPN.POST_NMS_TOP_N_TEST")
    if kind != "fpn":
        return limit
    of_all = config.whole("MODEL.RPN.FPN_POST_NMS_TOP_N_TEST")
    if limit < min(of_all, config.whole("MODEL.RPN.PRE_NMS_TOP_N_TEST")):
        raise config.wrong(
            "MODEL.RPN.POST_NMS_TOP_N_TEST",
            "limits of each level below PRE_NMS_TOP_N_TEST and FPN_POST_NMS_TOP_N_TEST are not supported",
        )
    return of_all


def _pooling(config: Config, kind: Kind) -> conventions.Pooling:
    # modeling/poolers.py; modeling/roi_heads/roi_heads.py: the mask head of C4 sees what the box head sees.
    mask = "MODEL.ROI_BOX_HEAD" if kind == "c4" else "MODEL.ROI_MASK_HEAD"
    if config.flag("MODEL.MASK_ON"):
        config.require_same(f"{mask}.POOLER_SAMPLING_RATIO", "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO")
    return conventions.Pooling(
        sampling_ratio=config.whole("MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO", 0),
        aligned=False,
        mask_pool=config.whole(f"{mask}.POOLER_RESOLUTION"),
        canonical_level=4,
        canonical_size=224.0,
        ratio_epsilon=1e-6,
        level_epsilon=0.0,
    )


def _detections(config: Config) -> conventions.Detections:
    # modeling/roi_heads/box_head/inference.py
    return conventions.Detections(
        box_weights=(cast(BoxWeights, config.numbers("MODEL.ROI_HEADS.BBOX_REG_WEIGHTS", 4)),),
        activation="softmax",
        background_first=True,
        score_threshold=config.fraction("MODEL.ROI_HEADS.SCORE_THRESH"),
        nms_threshold=config.fraction("MODEL.ROI_HEADS.NMS"),
        max_detections=config.whole("MODEL.ROI_HEADS.DETECTIONS_PER_IMG"),
        min_size=0.0,
    )


def maskrcnn_benchmark_claims(config: Config) -> Claims:
    """What the configuration says of the shapes.

    Raises:
        ExportError: A value is not of its type.
    """
    kind, depth = BODIES[config["MODEL.BACKBONE.CONV_BODY"]]
    claims = Claims(
        kind=kind,
        depth=depth,
        groups=config.whole("MODEL.RESNETS.NUM_GROUPS"),
        group_width=config.whole("MODEL.RESNETS.WIDTH_PER_GROUP"),
        body_norm=cast(Norm, NORMS[config["MODEL.RESNETS.TRANS_FUNC"]]),
        pyramid_norm=_norm(config, "MODEL.FPN.USE_GN") if kind == "fpn" else None,
        rpn_convs=1,
        anchors_per_cell=len(_anchor_sizes(config, kind)[0]) * len(config.numbers("MODEL.RPN.ASPECT_RATIOS")),
        deformable_stages=config.flags("MODEL.RESNETS.STAGE_WITH_DCN", 4),
        modulated=config.flag("MODEL.RESNETS.WITH_MODULATED_DCN"),
        deformable_groups=config.whole("MODEL.RESNETS.DEFORMABLE_GROUPS"),
        classes=config.whole("MODEL.ROI_BOX_HEAD.NUM_CLASSES", 2) - 1,
        class_agnostic_boxes=config.flag("MODEL.CLS_AGNOSTIC_BBOX_REG"),
        has_masks=config.flag("MODEL.MASK_ON"),
        notes=(_AUGMENTED,) if config["TEST.BBOX_AUG.ENABLED"] else (),
    )
    return _with_mask_head(config, _with_box_head(config, claims))


def _with_box_head(config: Config, claims: Claims) -> Claims:
    has_convs, layers = BOX_HEADS[config["MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR"]]
    return replace(
        claims,
        box_heads=1,
        box_pool=config.whole("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION"),
        box_convs=config.whole("MODEL.ROI_BOX_HEAD.NUM_STACKED_CONVS", 0) if has_convs else 0,
        box_fcs=layers,
        box_norm="none" if claims.kind == "c4" else _norm(config, "MODEL.ROI_BOX_HEAD.USE_GN"),
    )


def _with_mask_head(config: Config, claims: Claims) -> Claims:
    if not claims.has_masks:
        return claims
    of_body = claims.kind == "c4"
    return replace(
        claims,
        mask_convs=0 if of_body else len(config.numbers("MODEL.ROI_MASK_HEAD.CONV_LAYERS")),
        mask_norm="none" if of_body else _norm(config, "MODEL.ROI_MASK_HEAD.USE_GN"),
        class_agnostic_masks=False,
    )


def _norm(config: Config, key: str) -> Norm:
    return "group" if config.flag(key) else "none"
