"""The presets against what the frameworks made of pictures, anchors and boxes at the edges of the levels."""

import pytest

from export.presets import preset
from tests.export.golden_parts import (
    FRAMEWORKS,
    anchor_complaints,
    anchor_rules,
    level_complaints,
    pixel_complaints,
    preprocessing_complaints,
    size_complaints,
)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_pictures_lie_on_the_canvas_as_the_framework_laid_them(framework: str) -> None:
    rules = preset(FRAMEWORKS[framework], "fpn")
    assert list(preprocessing_complaints(framework, rules)) == []


def test_sizes_are_torchvisions() -> None:
    assert list(size_complaints(preset("torchvision", "fpn"))) == []


@pytest.mark.parametrize("kind", ["fpn", "c4"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_anchors_are_the_frameworks(framework: str, kind: str) -> None:
    assert list(anchor_complaints(framework, kind, anchor_rules(framework, kind))) == []


def test_levels_are_torchvisions() -> None:
    assert list(level_complaints(preset("torchvision", "fpn"))) == []


def test_empty_boxes_and_even_probabilities_are_detectron2s() -> None:
    assert list(pixel_complaints(preset("detectron2", "fpn"))) == []
