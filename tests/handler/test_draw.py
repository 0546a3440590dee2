"""Run lengths without pycocotools, checked against it; pictures for people."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from handler.draw import COLOURS, decode_mask, draw_detections

RNG = np.random.default_rng(3)
PLANES = {
    "empty": np.zeros((5, 7), dtype=np.uint8),
    "full": np.ones((5, 7), dtype=np.uint8),
    "first pixel": np.eye(1, 35, dtype=np.uint8).reshape(5, 7),
    "last pixel": np.eye(1, 35, 34, dtype=np.uint8).reshape(5, 7),
    "one pixel picture": np.ones((1, 1), dtype=np.uint8),
    "noise": RNG.integers(0, 2, (40, 30), dtype=np.uint8),
    "long runs": np.repeat(RNG.integers(0, 2, (1, 30), dtype=np.uint8), 2000, axis=0),
    "runs that shrink and grow": (np.add.outer(np.arange(300), np.arange(200) ** 2) % 977 < 300).astype(np.uint8),
}


def as_reply_mask(plane: NDArray[np.uint8]) -> dict[str, object]:
    encoded = coco.encode(np.asfortranarray(plane))
    return {"size": list(plane.shape), "counts": encoded["counts"].decode()}


@pytest.mark.parametrize("plane", PLANES.values(), ids=PLANES.keys())
def test_masks_decode_as_pycocotools_encoded_them(plane: NDArray[np.uint8]) -> None:
    assert np.array_equal(decode_mask(as_reply_mask(plane)), plane.astype(bool))


def test_lengths_that_do_not_fill_the_plane_are_refused() -> None:
    mask = as_reply_mask(PLANES["noise"]) | {"size": [40, 31]}
    with pytest.raises(ValueError, match=r"run lengths must add up to 40 \* 31, got 1200"):
        decode_mask(mask)


def detection(plane: NDArray[np.uint8], box: list[float]) -> dict[str, object]:
    return {"class": "circle", "score": 0.9, "box": box, "mask": as_reply_mask(plane)}


def test_masks_are_tinted_and_outlined_and_the_rest_is_left_alone() -> None:
    plane = np.zeros((60, 80), dtype=np.uint8)
    plane[30:50, 20:60] = 1
    drawn = np.array(draw_detections(Image.new("RGB", (80, 60)), [detection(plane, [20, 30, 60, 50])]))
    assert drawn[40, 40].tolist() == [104, 11, 34]  # 115 / 255 of the first colour on black
    assert drawn[30, 40].tolist() == [230, 25, 75]  # outline
    assert not drawn[55:, :].any()


def test_detections_have_colours_of_their_own() -> None:
    left, right = np.zeros((60, 80), dtype=np.uint8), np.zeros((60, 80), dtype=np.uint8)
    left[30:50, 5:35], right[30:50, 45:75] = 1, 1
    detections = [detection(left, [5, 30, 35, 50]), detection(right, [45, 30, 75, 50])]
    drawn = np.array(draw_detections(Image.new("RGB", (80, 60)), detections))
    assert drawn[40, 20].tolist() != drawn[40, 60].tolist()


def test_nothing_found_changes_nothing() -> None:
    picture = Image.fromarray(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    assert draw_detections(picture, []).tobytes() == picture.tobytes()


def test_a_box_past_the_edges_is_drawn() -> None:
    plane = np.ones((20, 30), dtype=np.uint8)
    assert draw_detections(Image.new("RGB", (30, 20)), [detection(plane, [-5.5, -3, 40, 33])]).size == (30, 20)


def test_a_small_picture_is_drawn_larger() -> None:
    plane = np.zeros((20, 30), dtype=np.uint8)
    plane[10:15, 5:25] = 1
    drawn = np.array(draw_detections(Image.new("RGB", (30, 20)), [detection(plane, [5, 10, 25, 15])], scale=3))
    assert drawn.shape == (60, 90, 3)
    assert drawn[37, 45].tolist() == [104, 11, 34]  # inside the mask
    assert not drawn[50:, :].any()


def test_names_at_one_corner_lie_below_each_other() -> None:
    """The best one stays where it was; each other is whole, below."""
    same = [{"class": "circle", "score": score, "box": [1, 1, 90, 55]} for score in (0.9, 0.8, 0.7)]
    drawn = np.array(draw_detections(Image.new("RGB", (100, 60)), same)).astype(int)
    first = np.array(draw_detections(Image.new("RGB", (100, 60)), same[:1]))
    filled = [np.flatnonzero((drawn[:50, 5:40] == colour).all(2).sum(1) > 8) for colour in COLOURS[:3]]
    assert all(len(rows) >= 8 for rows in filled)
    assert filled[0].max() < filled[1].min() <= filled[1].max() < filled[2].min()
    assert np.array_equal(drawn[2 : filled[0].max(), 2:60], first[2 : filled[0].max(), 2:60])


def test_names_without_room_below_stay_in_the_picture() -> None:
    same = [{"class": "circle", "score": 0.5, "box": [1, 1, 90, 20]}] * 5
    assert draw_detections(Image.new("RGB", (100, 24)), same).size == (100, 24)
