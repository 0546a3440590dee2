"""Each format of a reply, and what becomes of one that is too long."""

import io
import json
from base64 import b64decode
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco
from pycocotools.coco import COCO

from handler.detections import Detections
from handler.draw import COLOURS
from handler.images import Picture
from handler.replies.limits import LongReplies
from handler.replies.reply import Reply
from handler.replies.writing import ReplyWriter
from handler.requests.options import Options
from handler.selection import Selection
from tests.handler.cards import CARD
from tests.handler.found import made_up
from tests.reply_schema import error_of, parsed

PICTURE = Picture(np.full((60, 90, 3), 40, dtype=np.uint8), 60, 90)
ASKED = Options(Selection(0.05, 100, 0.5))


def write(
    found: Detections,
    max_bytes: int = 10**6,
    long_replies: LongReplies = "boxes",
    picture: Picture = PICTURE,
    **options: Any,
) -> Reply:
    writer = ReplyWriter(CARD, "shapes", "1.0", max_bytes, long_replies)
    return writer.write(picture, found, replace(ASKED, **options))


def planes(found: Detections) -> list[np.ndarray[Any, Any]]:
    assert found.masks is not None
    size = [found.height, found.width]
    return [coco.decode({"size": size, "counts": counts}) for counts in found.masks]


def truth(image_id: int | str, found: Detections) -> COCO:
    """Annotations without one, to load results into."""
    annotations = COCO()
    images = [{"id": image_id, "width": found.width, "height": found.height}]
    annotations.dataset = {"images": images, "annotations": [], "categories": [{"id": 1}, {"id": 2}]}
    annotations.createIndex()
    return annotations


def test_polygons() -> None:
    found = made_up(60, 90, 3)
    answer = parsed(write(found, masks="polygon").body)
    for detection, plane in zip(answer["detections"], planes(found), strict=True):
        assert np.array_equal(coco.decode(coco.frPyObjects(detection["mask"]["polygons"], 60, 90))[..., 0], plane)


def test_a_palette_has_the_best_on_top_and_a_legend() -> None:
    found = made_up(60, 90, 3)  # each covers the ones before it
    answer = parsed(write(found, masks="png").body)
    assert all("mask" not in each for each in answer["detections"])
    with Image.open(io.BytesIO(b64decode(answer["masks"]["png"]))) as image:
        assert (image.mode, image.size) == ("P", (90, 60))
        values, palette = np.array(image), image.getpalette()
    assert values[0].tolist() == [1, 2, 3, *[0] * 87]
    assert palette is not None
    for detection, entry in zip(answer["detections"], answer["masks"]["legend"], strict=True):
        assert (entry["label"], entry["class"]) == (detection["label"], detection["class"])
        assert bytes(palette[3 * entry["value"] : 3 * entry["value"] + 3]).hex() == entry["colour"][1:]
    assert [entry["value"] for entry in answer["masks"]["legend"]] == [1, 2, 3]


def test_a_palette_without_detections_is_empty() -> None:
    answer = parsed(write(made_up(60, 90, 0), masks="png").body)
    assert answer["masks"]["legend"] == []
    with Image.open(io.BytesIO(b64decode(answer["masks"]["png"]))) as image:
        assert not np.array(image).any()


def test_a_palette_has_no_more_than_255_masks_and_says_so() -> None:
    found = made_up(4, 300, 258)
    found = replace(found, scores=torch.linspace(0.9, 0.1, 258))
    reply = write(found, masks="png")
    assert (reply.truncated, reply.headers) == (True, {"X-Detect-Truncated": "masks"})
    answer = parsed(reply.body)
    with Image.open(io.BytesIO(b64decode(answer["masks"]["png"]))) as image:
        assert np.array(image)[0, 253:258].tolist() == [254, 255, 0, 0, 0]
    assert len(answer["masks"]["legend"]) == 255
    assert "255" in answer["truncated"]["reason"]
    for whole in (write(found), write(found, masks="png", format="image")):
        assert (whole.truncated, whole.headers) == (False, {})


def test_without_masks() -> None:
    answer = parsed(write(replace(made_up(60, 90, 2), masks=None), masks="none").body)
    assert [set(each) for each in answer["detections"]] == [{"label", "class", "score", "box"}] * 2


@pytest.mark.parametrize("masks", ["rle", "polygon"])
@pytest.mark.parametrize("image_id", [7, "street.jpg"])
def test_pycocotools_takes_the_coco_list_as_it_is(image_id: int | str, masks: str) -> None:
    found = made_up(60, 90, 4)
    results = parsed(write(found, format="coco", image_id=image_id, masks=masks).body)
    loaded = truth(image_id, found).loadRes(results)
    for annotation, plane, box in zip(loaded.loadAnns(loaded.getAnnIds()), planes(found), found.boxes, strict=True):
        size = loaded.imgs[image_id]
        assert annotation["image_id"] == image_id
        assert np.array_equal(coco.decode(_rle(annotation["segmentation"], size)), plane)
        left, top, width, height = annotation["bbox"]
        assert [left, top, left + width, top + height] == pytest.approx(box.tolist(), abs=0.002)


def _rle(segmentation: Any, size: dict[str, int]) -> Any:
    if isinstance(segmentation, dict):
        return segmentation
    return coco.merge(coco.frPyObjects(segmentation, size["height"], size["width"]))


def test_an_empty_mask_is_empty_for_pycocotools_too() -> None:
    blank = coco.encode(np.zeros((60, 90), dtype=np.uint8, order="F"))["counts"].decode()
    found = replace(made_up(60, 90, 1), masks=(blank,))
    (result,) = parsed(write(found, format="coco", masks="polygon").body)
    assert not coco.decode(coco.frPyObjects(result["segmentation"], 60, 90)).any()
    (detection,) = parsed(write(found, masks="polygon").body)["detections"]
    assert detection["mask"] == {"polygons": []}


def drawn(reply: Reply) -> np.ndarray[Any, Any]:
    assert reply.status == 200, reply.body
    with Image.open(io.BytesIO(reply.body)) as image:
        assert Image.MIME[image.format or ""] == reply.media_type
        return np.array(image.convert("RGB")).astype(int)


@pytest.mark.parametrize("picture_type", ["image/png", "image/jpeg"])
def test_a_drawn_picture(picture_type: str) -> None:
    found = replace(made_up(60, 90, 1), boxes=torch.tensor([[50.0, 40, 80, 55]]))
    pixels = drawn(write(found, format="image", picture_type=picture_type))
    assert pixels.shape == (60, 90, 3)
    if picture_type == "image/png":
        assert pixels[30, 0].tolist() == list(COLOURS[0])  # the mask, one column wide, is all outline
        assert pixels[40, 60].tolist() == list(COLOURS[0])  # the box
    assert np.abs(pixels[58, 85] - 40).max() < 20  # nothing


def test_a_picture_that_was_shrunk_is_drawn_at_its_own_size() -> None:
    shrunk = Picture(np.full((15, 23, 3), 40, dtype=np.uint8), 60, 90)
    whole = write(made_up(60, 90, 2), format="image")
    assert np.array_equal(drawn(write(made_up(60, 90, 2), format="image", picture=shrunk)), drawn(whole))


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (1, 65_500), (65_500, 1)])
def test_pictures_without_room_for_a_name_are_drawn_without(size: tuple[int, int]) -> None:
    picture = Picture(np.zeros((*size, 3), dtype=np.uint8), *size)
    blank = coco.encode(np.zeros(size, dtype=np.uint8, order="F"))["counts"].decode()
    found = replace(made_up(*size, 1), boxes=torch.tensor([[-5.0, -5, -3, -3]]), masks=(blank,))
    assert not drawn(write(found, format="image", picture=picture)).any()


def test_a_jpeg_cannot_be_as_long_as_a_png() -> None:
    picture = Picture(np.zeros((1, 65_501, 3), dtype=np.uint8), 1, 65_501)
    found = made_up(1, 65_501, 1)
    assert write(found, format="image", picture=picture).status == 200
    refused = write(found, format="image", picture=picture, picture_type="image/jpeg")
    assert (refused.status, error_of(refused.body)["code"]) == (400, "bad_option")


@pytest.mark.parametrize("masks", ["rle", "polygon", "png"])
def test_a_reply_that_is_too_long_loses_its_masks_and_says_so(masks: str) -> None:
    found = made_up(60, 90, 5)
    room = len(write(found, masks=masks).body) - 1
    short = write(found, room, masks=masks)
    answer = parsed(short.body)
    assert len(short.body) <= room
    assert short.headers == {"X-Detect-Truncated": "masks"}
    assert answer["truncated"]["left_out"] == "masks"
    assert f"the limit is {room}" in answer["truncated"]["reason"]
    assert len(answer["detections"]) == 5
    assert "masks" not in answer
    assert all("mask" not in each for each in answer["detections"])


def test_a_coco_list_that_is_too_long_loses_its_masks() -> None:
    found = made_up(60, 90, 5)
    whole = write(found, format="coco")
    short = write(found, len(whole.body) - 1, format="coco")
    assert whole.headers == {}
    assert short.headers == {"X-Detect-Truncated": "masks"}
    assert all("segmentation" not in each for each in parsed(short.body))
    assert len(truth(0, found).loadRes(json.loads(short.body)).getAnnIds()) == 5


@pytest.mark.parametrize("options", [{}, {"format": "coco"}, {"masks": "polygon"}], ids=str)
def test_where_even_boxes_are_too_long_it_is_an_error(options: dict[str, Any]) -> None:
    refused = write(made_up(60, 90, 5), 200, **options)
    assert (refused.status, error_of(refused.body)["code"]) == (413, "reply_too_long")
    assert "X-Detect-Truncated" not in refused.headers


def test_where_so_set_a_reply_that_is_too_long_is_refused() -> None:
    found = made_up(60, 90, 5)
    room = len(write(found).body) - 1
    refused = write(found, room, "refuse")
    assert (refused.status, error_of(refused.body)["code"]) == (413, "reply_too_long")


NOISE = Picture(np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8), 300, 400)


@pytest.mark.parametrize("picture_type", ["image/png", "image/jpeg"])
def test_a_drawn_picture_that_is_too_long_is_made_smaller_and_says_so(picture_type: str) -> None:
    found = made_up(300, 400, 2)
    whole = write(found, picture=NOISE, format="image", picture_type=picture_type)
    exact = write(found, len(whole.body), picture=NOISE, format="image", picture_type=picture_type)
    assert (exact.body, exact.headers, exact.truncated) == (whole.body, {}, False)
    short = write(found, len(whole.body) - 1, picture=NOISE, format="image", picture_type=picture_type)
    assert drawn(short).shape == (150, 200, 3)
    assert (short.headers, short.truncated) == ({"X-Detect-Truncated": "size"}, True)
    refused = write(found, len(whole.body) - 1, "refuse", NOISE, format="image", picture_type=picture_type)
    assert (refused.status, error_of(refused.body)["code"]) == (413, "reply_too_long")


def test_a_drawn_picture_that_is_too_long_at_any_size_is_refused() -> None:
    refused = write(made_up(60, 90, 2), 100, format="image")
    assert (refused.status, error_of(refused.body)["code"]) == (413, "reply_too_long")
    assert "image/jpeg" in error_of(refused.body)["hint"]
