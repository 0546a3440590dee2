"""An answer that differs by more than the noise of a shared pass is seen, whatever its form."""

import base64
import copy
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco

from handler.draw import draw_detections
from tests.soak.cases import ID
from tests.soak.comparing import difference


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    packed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in packed["size"]], "counts": packed["counts"].decode()}


def square(size: int, shift: int = 0) -> np.ndarray:
    plane = np.zeros((60, 80), np.uint8)
    plane[10 : 10 + size, 20 + shift : 20 + shift + size] = 1
    return plane


def detection(score: float, size: int) -> dict[str, Any]:
    return {
        "label": 1,
        "class": "circle",
        "score": score,
        "box": [20.0, 10.0, 20.0 + size, 10.0 + size],
        "mask": run_lengths(square(size)),
    }


ANSWER = {
    "model": "demo",
    "image": {"width": 80, "height": 60},
    "detections": [detection(0.9, 30), detection(0.500001, 20), detection(0.5, 10)],
}


def different(change: Any, answer: Any = ANSWER) -> str | None:
    changed = copy.deepcopy(answer)
    change(changed)
    return difference("json", json.dumps(answer).encode(), json.dumps(changed).encode(), "r-1")


def test_noise_is_no_difference() -> None:
    def noise(answer: dict[str, Any]) -> None:
        first = answer["detections"][0]
        first["score"] += 2e-6
        first["box"][2] -= 0.001
        plane = square(30)
        plane[10, 20] = 0
        first["mask"] = run_lengths(plane)

    assert different(lambda answer: None) is None
    assert different(noise) is None


def test_two_that_are_equal_but_for_noise_may_change_places_and_no_others() -> None:
    def swap(answer: dict[str, Any], one: int, two: int) -> None:
        found = answer["detections"]
        found[one], found[two] = found[two], found[one]

    assert different(lambda answer: swap(answer, 1, 2)) is None
    assert different(lambda answer: swap(answer, 0, 1)) is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: answer["detections"].pop(),
        lambda answer: answer["detections"].append(detection(0.5, 10)),
        lambda answer: answer["detections"][0].update(score=0.90002),
        lambda answer: answer["detections"][0].update(score="0.9"),
        lambda answer: answer["detections"][0].update(label=2),
        lambda answer: answer["detections"][0].update({"class": "star"}),
        lambda answer: answer["detections"][1]["box"].__setitem__(0, 20.01),
        lambda answer: answer["detections"][2].update(mask=run_lengths(square(10, shift=1))),
        lambda answer: answer["detections"][2].pop("mask"),
        lambda answer: answer["detections"][2].update(mask=None),
        lambda answer: answer["image"].update(width=81),
        lambda answer: answer.update(truncated={"left_out": "masks"}),
        lambda answer: answer.clear(),
    ],
)
def test_each_change_is_seen(change: Any) -> None:
    assert different(change) is not None


def test_polygons_are_compared_as_pixels() -> None:
    def polygons(right: int) -> dict[str, Any]:
        mask = {"polygons": [[20, 10, right, 10, right, 40, 20, 40]]}
        return {
            "image": {"width": 80, "height": 60},
            "detections": [{"score": 0.9, "box": [20, 10, 50, 40], "mask": mask}],
        }

    listed = polygons(50)
    more_points = copy.deepcopy(listed)
    more_points["detections"][0]["mask"]["polygons"] = [[20, 10, 30, 10, 50, 10, 50, 40, 20, 40]]
    expected = json.dumps(listed).encode()
    assert difference("json", expected, json.dumps(more_points).encode(), "") is None
    assert difference("json", expected, json.dumps(polygons(51)).encode(), "") is not None


def test_a_coco_list_is_of_this_request() -> None:
    listed = [{"image_id": ID, "category_id": 1, "bbox": [1.0, 2.0, 3.0, 4.0], "score": 0.9}]
    expected = json.dumps(listed).encode()
    assert difference("coco", expected, expected.replace(ID.encode(), b"t-1"), "t-1") is None
    assert difference("coco", expected, expected.replace(ID.encode(), b"t-2"), "t-1") is not None


def test_the_texts_of_kserve_are_read() -> None:
    def envelope(score: float) -> bytes:
        text = json.dumps(ANSWER | {"detections": [detection(score, 30)]})
        return json.dumps({"id": "r-1", "outputs": [{"shape": [1], "data": [text]}]}).encode()

    assert difference("json", envelope(0.9), envelope(0.900001), "r-1") is None
    assert difference("json", envelope(0.9), envelope(0.91), "r-1") is not None


def palette(plane: np.ndarray) -> dict[str, Any]:
    packed = io.BytesIO()
    Image.fromarray(plane).save(packed, "PNG")
    return {"detections": [], "masks": {"png": base64.b64encode(packed.getvalue()).decode(), "legend": []}}


def test_a_palette_is_compared_as_pixels() -> None:
    assert different(lambda answer: answer.update(palette(square(30, shift=1))), palette(square(30))) is not None
    right, other = square(30), square(30)
    other[10, 20] = 2
    assert different(lambda answer: answer.update(palette(other)), palette(right)) is None


def drawn(*boxes: tuple[int, int, int, int]) -> bytes:
    picture, packed = Image.new("RGB", (160, 120), "grey"), io.BytesIO()
    for box in boxes:
        ImageDraw.Draw(picture).rectangle(box, outline="red", width=2)
    picture.save(packed, "PNG")
    return packed.getvalue()


def test_a_drawing_may_differ_by_a_few_pixels_and_no_more() -> None:
    first, second = (10, 10, 60, 60), (70, 30, 120, 100)
    noisy = Image.open(io.BytesIO(drawn(first, second)))
    noisy.putpixel((5, 5), (0, 0, 0))
    packed = io.BytesIO()
    noisy.save(packed, "PNG")
    assert difference("image", drawn(first, second), packed.getvalue(), "") is None
    assert difference("image", drawn(first, second), drawn(first), "") is not None
    assert difference("image", drawn(first), b"no picture", "") is not None


def test_a_small_object_that_is_missing_or_has_another_colour_is_seen() -> None:
    plane = Image.new("RGB", (360, 320), "grey")
    others = [detection(0.9, 40) | {"mask": run_lengths(np.pad(square(40), ((0, 260), (0, 280))))}]
    small = np.zeros((320, 360), np.uint8)
    small[200:212, 200:212] = 1
    listed = [*others, detection(0.8, 12) | {"box": [200.0, 200.0, 212.0, 212.0], "mask": run_lengths(small)}]

    def packed(detections: list[dict[str, Any]]) -> bytes:
        file = io.BytesIO()
        draw_detections(plane, detections).save(file, "PNG")
        return file.getvalue()

    moved = copy.deepcopy(listed)
    moved[1]["box"] = [200.0, 200.0, 213.0, 212.0]
    assert difference("image", packed(listed), packed(moved), "") is None  # an outline, by one pixel
    assert difference("image", packed(listed), packed(others), "") is not None
    assert difference("image", packed(listed), packed(listed[::-1]), "") is not None


def test_a_page_is_compared_in_its_answer_and_around_it() -> None:
    page = '<p>{}</p><script type="application/json" id="facts">{}</script>'
    right = page.format("model", json.dumps(ANSWER)).encode()
    noisy = right.replace(b'"score": 0.9,', b'"score": 0.900001,')
    assert noisy != right
    assert difference("html", right, noisy, "") is None
    assert difference("html", right, right.replace(b"<p>model", b"<p>other"), "") is not None
    assert difference("html", right, right.replace(b'"score": 0.9,', b'"score": 0.8,'), "") is not None


@pytest.mark.parametrize("got", [b"", b"[]", b"null", b"{", b"\xff\xfe", b'{"detections": 1}'])
def test_what_cannot_be_read_is_a_difference(got: bytes) -> None:
    assert difference("json", json.dumps(ANSWER).encode(), got, "") is not None
