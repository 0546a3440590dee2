"""Each convention, changed alone, is noticed by a golden or by a slow reference: the tests do see it.

A row names a field, the comparison that other tests make too, and another value, another framework's where there is
one. A field without a row fails here.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any

import pytest

from export.conventions import Conventions
from export.presets import preset
from handler.model_card import Postprocessing
from tests.export import test_presets
from tests.export.golden_comparison import complaints
from tests.export.golden_models import GOLDENS, recorded
from tests.export.golden_parts import (
    FRAMEWORKS,
    anchor_complaints,
    anchor_rules,
    level_complaints,
    pixel_complaints,
    preprocessing_complaints,
    size_complaints,
    tiny_complaints,
    tiny_rules,
)


@dataclass(frozen=True)
class Comparison:
    """The conventions of some network or of a part, and what differs if it has others."""

    rules: Callable[[], Conventions]
    complaints: Callable[..., Iterable[str]]
    slow: bool = False


def model(network: str) -> Comparison:
    return Comparison(GOLDENS[network].conventions, lambda *given: complaints(recorded(network), *given), slow=True)


def tiny(framework: str, variant: str) -> Comparison:
    return Comparison(partial(tiny_rules, framework, variant), partial(tiny_complaints, framework, variant))


def anchors(framework: str, kind: Any) -> Comparison:
    return Comparison(partial(anchor_rules, framework, kind), partial(anchor_complaints, framework, kind))


def pictures(framework: str) -> Comparison:
    return Comparison(partial(preset, FRAMEWORKS[framework], "fpn"), partial(preprocessing_complaints, framework))


TABLE_OF_SIZES = Comparison(partial(preset, "torchvision", "fpn"), size_complaints)
LEVELS = Comparison(partial(preset, "torchvision", "fpn"), level_complaints)
PIXELS = Comparison(partial(preset, "detectron2", "fpn"), pixel_complaints)
D2, MRB, V1 = model("d2_R_50_FPN"), model("mb_R_50_FPN"), model("v1_frozen")

ROWS: list[tuple[str, Comparison, Any]] = [
    ("preprocessing.min_size", TABLE_OF_SIZES, 799),
    ("preprocessing.max_size", TABLE_OF_SIZES, 1332),
    ("preprocessing.size_rule", pictures("tv"), "detectron2"),
    ("preprocessing.size_rule", pictures("tv"), "maskrcnn_benchmark"),
    ("preprocessing.size_rule", pictures("d2"), "torchvision"),
    ("preprocessing.size_rule", pictures("d2"), "maskrcnn_benchmark"),
    ("preprocessing.size_rule", pictures("mb"), "torchvision"),
    ("preprocessing.size_rule", pictures("mb"), "detectron2"),
    ("preprocessing.size_divisor", pictures("tv"), 1),
    ("preprocessing.size_divisor", D2, 64),
    ("preprocessing.resize_filter", pictures("tv"), "pillow"),
    ("preprocessing.resize_filter", pictures("d2"), "bilinear"),
    ("preprocessing.resize_filter", pictures("mb"), "bilinear"),
    ("preprocessing.bgr", pictures("tv"), True),
    ("preprocessing.bgr", D2, False),
    ("preprocessing.pixel_divisor", D2, 255.0),
    ("preprocessing.pixel_divisor", pictures("tv"), 1.0),
    ("preprocessing.mean", D2, (102.9801, 115.9465, 122.7717)),
    ("preprocessing.mean", MRB, (103.53, 116.28, 123.675)),
    ("preprocessing.std", D2, (57.375, 57.12, 58.395)),
    ("preprocessing.std", pictures("tv"), (1.0, 1.0, 1.0)),
    ("body.norm_eps", V1, 1e-5),
    ("body.norm_eps", D2, 0.0),
    ("body.group_norm_eps", tiny("detectron2", "gn"), 1e-3),
    ("body.norm_groups", tiny("detectron2", "gn"), 16),
    ("body.stride_in_1x1", D2, False),
    ("body.stride_in_1x1", V1, True),
    ("body.last_dilation", tiny("detectron2", "dc5"), 1),
    ("boxes.legacy", D2, True),
    ("boxes.legacy", MRB, False),
    ("boxes.inclusive_nms", tiny("maskrcnn-benchmark", "cpu_nms"), False),
    ("boxes.inclusive_nms", tiny("maskrcnn-benchmark", "cuda_nms"), True),
    ("proposals.anchor_sizes", D2, ((32.0,), (64.0,), (128.0,), (256.0,), (480.0,))),
    ("proposals.anchor_ratios", D2, (2.0, 1.0, 0.5)),
    ("proposals.anchor_order", anchors("mb", "c4"), "sizes"),
    ("proposals.anchor_order", anchors("d2", "c4"), "ratios"),
    ("proposals.anchor_order", anchors("tv", "c4"), "sizes"),
    ("proposals.anchor_rounding", D2, "round"),
    ("proposals.anchor_rounding", D2, "windows"),
    ("proposals.anchor_rounding", MRB, "round"),
    ("proposals.anchor_rounding", V1, "exact"),
    ("proposals.strides_from_grid", D2, True),
    ("proposals.strides_from_grid", MRB, True),
    ("proposals.strides_from_grid", tiny("torchvision", "mobilenet_v3_large_batch_norm"), False),
    ("proposals.pre_nms_top_n", D2, 900),
    ("proposals.post_nms_top_n", MRB, 999),
    ("proposals.nms_threshold", D2, 0.69),
    ("proposals.min_size", D2, 1.0),
    ("proposals.score_threshold", tiny("torchvision", "mobilenet_v3_large"), 0.0),
    ("proposals.sigmoid", D2, True),
    ("proposals.sigmoid", MRB, False),
    ("pooling.sampling_ratio", D2, 2),
    ("pooling.sampling_ratio", MRB, 0),
    ("pooling.sampling_ratio", V1, 0),
    ("pooling.aligned", D2, False),
    ("pooling.aligned", MRB, True),
    ("pooling.aligned", V1, True),
    ("pooling.mask_pool", D2, 7),
    ("pooling.canonical_level", D2, 3),
    ("pooling.canonical_size", D2, 200.0),
    ("pooling.ratio_epsilon", LEVELS, 1e-6),
    ("pooling.level_epsilon", LEVELS, 0.0),
    ("detections.box_weights", D2, ((10.0, 10.0, 10.0, 10.0),)),
    (
        "detections.box_weights",
        tiny("detectron2", "cascade"),
        ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (20.0, 20.0, 10.0, 10.0)),
    ),
    ("detections.activation", D2, "sigmoid"),
    ("detections.activation", D2, "none"),
    ("detections.background_first", tiny("detectron2", "faster"), True),
    ("detections.background_first", tiny("maskrcnn-benchmark", "faster"), False),
    ("detections.score_threshold", D2, 0.06),
    ("detections.nms_threshold", D2, 0.49),
    ("detections.max_detections", D2, 99),
    ("detections.min_size", D2, 1.0),
    ("answers.paste_rule", D2, "integer"),
    ("answers.paste_rule", MRB, "exact"),
    ("answers.paste_rule", V1, "exact"),
    ("answers.paste_inclusive", PIXELS, False),
    ("answers.clip_boxes", PIXELS, False),
    ("postprocessing.score_threshold", D2, 0.06),
    ("postprocessing.mask_threshold", D2, 0.45),
    ("postprocessing.masks", D2, False),
    ("postprocessing.paste_rule", D2, "integer"),
    ("postprocessing.paste_inclusive", PIXELS, False),
    ("postprocessing.clip_boxes", PIXELS, False),
]


def test_a_card_repeats_the_limit() -> None:
    assert Conventions().with_options("detections", max_detections=7).postprocessing().max_detections == 7


# What no answer depends on, and the test that holds it.
UNSEEN = {
    "class_names": test_presets.test_class_names_are_by_label,  # names are beside the labels
    "postprocessing.max_detections": test_a_card_repeats_the_limit,  # how many rows the handler prepares for
}


def changed(
    rules: Conventions, section: str, name: str, value: Any
) -> tuple[Conventions] | tuple[Conventions, Postprocessing]:
    """The conventions, or the card that follows from them, with one other value."""
    given = rules.postprocessing() if section == "postprocessing" else getattr(rules, section)
    assert getattr(given, name) != value
    other = replace(given, **{name: value})
    return (rules, other) if section == "postprocessing" else (replace(rules, **{section: other}),)


@pytest.mark.parametrize(
    ("path", "comparison", "value"),
    [
        pytest.param(*row, id=f"{row[0]}-{number}", marks=[pytest.mark.slow] if row[1].slow else [])
        for number, row in enumerate(ROWS)
    ],
)
def test_a_change_is_seen(path: str, comparison: Comparison, value: Any) -> None:
    assert list(comparison.complaints(*changed(comparison.rules(), *path.split("."), value))) != []


def test_every_convention_is_there() -> None:
    sections = {each.name: getattr(Conventions(), each.name) for each in fields(Conventions)}
    sections["postprocessing"] = Conventions().postprocessing()
    paths = {
        f"{name}.{each.name}" if is_dataclass(section) else name
        for name, section in sections.items()
        for each in (fields(section) if is_dataclass(section) else [None])
    }
    seen = {row[0] for row in ROWS}
    assert seen | UNSEEN.keys() == paths
    assert not seen & UNSEEN.keys()
