"""Every key of the two tables of defaults is read: another value changes something, or is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from export.configs import (
    detectron2,
    detectron2_names,
    detectron2_values,
    maskrcnn_benchmark,
    maskrcnn_benchmark_names,
    maskrcnn_benchmark_values,
)
from export.configs.config import Values
from export.errors import ExportError

READERS: dict[str, Callable[[Values], Any]] = {
    "detectron2": lambda values: (
        detectron2.detectron2_conventions(detectron2.detectron2_config("mine", values)),
        detectron2.detectron2_claims(detectron2.detectron2_config("mine", values)),
    ),
    "maskrcnn-benchmark": lambda values: (
        maskrcnn_benchmark.maskrcnn_benchmark_conventions(maskrcnn_benchmark.maskrcnn_benchmark_config("mine", values)),
        maskrcnn_benchmark.maskrcnn_benchmark_claims(maskrcnn_benchmark.maskrcnn_benchmark_config("mine", values)),
    ),
}
TABLES = {"detectron2": detectron2_values, "maskrcnn-benchmark": maskrcnn_benchmark_values}
NAMES = {"detectron2": detectron2_names.NAMED, "maskrcnn-benchmark": maskrcnn_benchmark_names.NAMED}
MASKS = {"MODEL.MASK_ON": True}
# Read where another key asks for them.
ALSO: dict[str, dict[str, Any]] = {
    "MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS": {"MODEL.ROI_HEADS.NAME": "CascadeROIHeads"},
    "MODEL.ROI_BOX_HEAD.NUM_STACKED_CONVS": {"MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR": "FPNXconv1fcFeatureExtractor"},
}

# Of these the number counts, and whose it is.
OTHERS: dict[str, Any] = {
    "DATASETS.TEST": ("mine",),
    "MODEL.RPN.CONV_DIMS": (-1, -1),
    "MODEL.ROI_MASK_HEAD.CONV_LAYERS": (256, 256),
}


def outcome(framework: str, values: Values) -> Any:
    try:
        return READERS[framework](values)
    except ExportError as error:
        return str(error)


def another(value: Any) -> Any:
    """A value of the same type: another number, the other switch, another text."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return f"{value} of another kind"
    return tuple(another(item) for item in value) if value else ("one more",)


@pytest.mark.parametrize(
    ("framework", "key"), [(framework, key) for framework, table in TABLES.items() for key in table.DEFAULTS]
)
def test_another_value_makes_a_difference(framework: str, key: str) -> None:
    table, differences = TABLES[framework], []
    for base in table.BASES.values():
        values = {**base, **MASKS, **ALSO.get(key, {})}
        changed = {**values, key: OTHERS.get(key) or another(values.get(key, table.DEFAULTS[key]))}
        differences.append(outcome(framework, changed) != outcome(framework, values))
    assert any(differences)


@pytest.mark.parametrize("framework", TABLES)
def test_the_tables_of_names_hold_known_keys_only(framework: str) -> None:
    for name, values in NAMES[framework].items():
        assert set(values) <= set(TABLES[framework].DEFAULTS), name
