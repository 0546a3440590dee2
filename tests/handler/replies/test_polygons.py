"""Polygons, painted again by pycocotools, are the masks."""

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco

from handler.errors import RequestError
from handler.replies.polygons import MOST_CHARACTERS, polygons_of

Plane = NDArray[np.bool_]
RNG = np.random.default_rng(11)


def plane(*rows: str) -> Plane:
    return np.array([[letter == "#" for letter in row] for row in rows])


def traced(*planes: Plane) -> list[list[list[int]]]:
    height, width = planes[0].shape
    counts = [coco.encode(np.asfortranarray(each, dtype=np.uint8))["counts"].decode() for each in planes]
    return polygons_of(counts, height, width)


def painted(polygons: list[list[int]], height: int, width: int) -> Plane:
    if not polygons:
        return np.zeros((height, width), dtype=bool)
    return np.asarray(coco.decode(coco.merge(coco.frPyObjects(polygons, height, width))), dtype=bool)


def area(polygon: list[int]) -> float:
    x, y = np.array(polygon).reshape(-1, 2).T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


# By hand: y grows downwards, and a walk with the mask on the right hand is clockwise as seen.
KNOWN = {
    "empty": (plane("..", ".."), []),
    "one pixel": (plane("...", ".#."), [[1, 2, 1, 1, 2, 1, 2, 2]]),
    "all": (plane("##", "##", "##"), [[0, 3, 0, 0, 2, 0, 2, 3]]),
    "a step": (plane("#.", "##"), [[0, 2, 0, 0, 1, 0, 1, 1, 2, 1, 2, 2]]),
    "two": (plane("#.#"), [[0, 1, 0, 0, 1, 0, 1, 1], [2, 1, 2, 0, 3, 0, 3, 1]]),
    "corner to corner": (plane("#.", ".#"), [[0, 1, 0, 0, 1, 0, 1, 1], [1, 2, 1, 1, 2, 1, 2, 2]]),
    # The cut runs along x = 1 from the upper border down to the hole.
    "a hole": (plane("###", "#.#", "###"), [[0, 3, 0, 0, 1, 0, 1, 2, 2, 2, 2, 1, 1, 1, 1, 0, 3, 0, 3, 3]]),
}


@pytest.mark.parametrize(("mask", "polygons"), KNOWN.values(), ids=KNOWN.keys())
def test_known_shapes(mask: Plane, polygons: list[list[int]]) -> None:
    assert traced(mask) == [polygons]
    assert np.array_equal(painted(polygons, *mask.shape), mask)


def discs(count: int) -> list[Plane]:
    rows, columns = np.mgrid[0:80, 0:120]
    found = []
    for _ in range(count):
        y, x, outer, inner = RNG.uniform((0, 0, 3, 0), (80, 120, 50, 20))
        distance = np.hypot((rows - y) * RNG.uniform(0.5, 2), columns - x)
        found.append((distance < outer) & (distance >= inner))
    return found


HARD = {
    "discs and rings": discs(12),
    "noise": [RNG.random((23, 31)) < share for share in (0.05, 0.3, 0.5, 0.7, 0.95)],
    "tiny noise": [RNG.random((3, 4)) < 0.5 for _ in range(300)],
    "checkers": [(np.add.outer(np.arange(9), np.arange(8)) % 2 == odd) for odd in (0, 1)],
    "rings in rings": [np.maximum.outer(abs(np.arange(-9, 10)), abs(np.arange(-9, 10))) % 2 == odd for odd in (0, 1)],
    "one row": [RNG.random((1, 500)) < 0.5],
    "one column": [RNG.random((500, 1)) < 0.5],
    "as long as can be": [np.arange(65_500)[None] % 65_499 > 0],
}


@pytest.mark.parametrize("masks", HARD.values(), ids=HARD.keys())
def test_pycocotools_paints_every_mask_back_to_the_pixel(masks: list[Plane]) -> None:
    for mask, polygons in zip(masks, traced(*masks), strict=True):
        assert np.array_equal(painted(polygons, *mask.shape), mask)
        assert sum(map(area, polygons)) == mask.sum()
        assert all(area(polygon) > 0 for polygon in polygons)


def test_no_masks() -> None:
    assert polygons_of([], 5, 7) == []


def test_masks_that_would_take_minutes_are_refused() -> None:
    noisy = "1" * (MOST_CHARACTERS // 10 + 1)
    with pytest.raises(RequestError, match="too long for polygons") as raised:
        polygons_of([noisy] * 10, 1, 5_000_000)
    assert (raised.value.code, raised.value.status) == ("reply_too_long", 413)
