"""The scenes that the demo model learns from: the same each time, and the truth about them is true."""

import json
from pathlib import Path

import numpy as np
import pytest

from demo.scenes import CLASSES, LEAST_VISIBLE, MOST_SHAPES, SIZES, draw

TRUTH = json.loads((Path(__file__).parent.parent / "demo" / "pictures" / "truth.json").read_text())
SEEDS = range(40)


def test_the_same_seed_gives_the_same_scene() -> None:
    one, again, other = draw(7), draw(7), draw(8)
    assert np.array_equal(one.image, again.image)
    assert np.array_equal(one.masks, again.masks)
    assert np.array_equal(one.labels, again.labels)
    assert not np.array_equal(one.image, other.image)


@pytest.mark.parametrize("size", [(240, 320), (64, 48)])
def test_a_size_can_be_asked_for(size: tuple[int, int]) -> None:
    scene = draw(3, size)
    assert scene.image.shape == (*size, 3)
    assert scene.image.dtype == np.uint8
    assert scene.masks.shape[1:] == size


def test_masks_and_boxes_agree() -> None:
    for scene in map(draw, SEEDS):
        for mask, (left, top, right, bottom) in zip(scene.masks, scene.boxes().astype(int), strict=True):
            inside = np.zeros_like(mask)
            inside[top:bottom, left:right] = True
            assert not (mask & ~inside).any()
            sides = mask[top], mask[bottom - 1], mask[:, left], mask[:, right - 1]
            assert all(side.any() for side in sides)  # no smaller box would do


def test_instances_do_not_overlap_and_can_be_seen() -> None:
    for scene in map(draw, SEEDS):
        assert scene.masks.sum(0).max(initial=0) <= 1
        assert all(mask.sum() >= LEAST_VISIBLE for mask in scene.masks)


def test_a_mask_shows_another_colour_than_what_surrounds_it() -> None:
    """Half a pixel off and the truth of small shapes would be wrong: the step of brightness lies on the mask's edge."""
    on_edge, beside = 0.0, 0.0
    for scene in map(draw, SEEDS):
        steps = np.abs(np.diff(scene.image.astype(float), axis=1)).sum(2)  # between a pixel and its right neighbour
        for mask in scene.masks:
            edge = mask[:, 1:] != mask[:, :-1]
            on_edge += steps[edge].mean()
            beside += steps[:, 4:][edge[:, :-4]].mean() + steps[:, :-4][edge[:, 4:]].mean()
    assert on_edge > 2 * beside  # of which there are two sides


def test_everything_appears() -> None:
    scenes = [draw(seed) for seed in range(60)]
    assert {int(label) for scene in scenes for label in scene.labels} == set(range(1, len(CLASSES)))
    assert {scene.image.shape[:2] for scene in scenes} == set(SIZES)
    counts = [len(scene.labels) for scene in scenes]
    assert 0 <= min(counts) <= 1
    assert max(counts) == MOST_SHAPES


def test_classes_and_sizes_are_those_of_the_pictures_here() -> None:
    assert {each["id"]: each["name"] for each in TRUTH["categories"]} == dict(list(enumerate(CLASSES))[1:])
    assert {(each["height"], each["width"]) for each in TRUTH["images"]} == set(SIZES)
