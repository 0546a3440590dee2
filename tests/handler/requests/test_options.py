"""Options: what is taken, what is refused, and with which words."""

from dataclasses import replace
from typing import Any

import pytest

from handler.errors import BadOptionError
from handler.requests.options import Given, OptionReader, Options
from handler.selection import default_selection
from handler.settings import Settings
from tests.handler.cards import CARD

NAMES = ("__background__", "Cat", "dog, hot", "hot", "3", "cat", "dog, hot, big", "N/A")
LIKE_DETECTRON2 = ("cat", "background image")


def reader(names: tuple[str, ...] = NAMES, masks: bool = True) -> OptionReader:
    card = replace(CARD, class_names=names, postprocessing=replace(CARD.postprocessing, masks=masks))
    return OptionReader(card, default_selection(card, Settings()))


def read(accept: str = "", /, **values: Any) -> Options:
    return reader().read({name: Given(value, f"field {name}") for name, value in values.items()}, accept)


TAKEN: dict[str, tuple[dict[str, Any], Any]] = {
    "text": ({"score_threshold": "0.7"}, 0.7),
    "JSON": ({"score_threshold": 0.7}, 0.7),
    "the floor": ({"score_threshold": "0.05"}, 0.05),
    "one": ({"score_threshold": 1}, 1.0),
    "an exponent": ({"score_threshold": "5e-1"}, 0.5),
    "no zero": ({"score_threshold": ".5"}, 0.5),
}


@pytest.mark.parametrize(("given", "expected"), TAKEN.values(), ids=TAKEN.keys())
def test_a_threshold(given: dict[str, Any], expected: float) -> None:
    assert read(**given).selection.score_threshold == expected


@pytest.mark.parametrize(("value", "expected"), [("7", 7), (7, 7), (7.0, 7), ("7.0", 7), ("1e2", 100)])
def test_a_count(value: Any, expected: int) -> None:
    assert read(max_detections=value).selection.max_detections == expected


NO_NUMBERS = ["nan", "inf", "-inf", "1e999", "0x1", "1_0", "١", "0,5", "", " ", "0.5 x", "1" * 10_001, True, None]
NO_NUMBERS += [[0.5], {"a": 1}, float("nan"), float("inf"), 10**400, "-0.1", 1.0001, "0.049", 0]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value)[:20])
def test_what_is_no_threshold(value: Any) -> None:
    with pytest.raises(BadOptionError, match="field score_threshold: score_threshold must be a number from 0.05 to 1"):
        read(score_threshold=value)


@pytest.mark.parametrize("value", ["0", "101", 2.5, "2.5", True, "1e999", [1], "٣"])
def test_what_is_no_count(value: Any) -> None:
    with pytest.raises(BadOptionError, match="max_detections must be an integer from 1 to 100, got"):
        read(max_detections=value)


CLASSES: dict[str, tuple[Any, set[int]]] = {
    "a name as written": ("Cat", {1}),
    "of two in another case": ("CAT", {1, 5}),
    "spaces": (" hot , 1 ", {1, 3}),
    "an id": ("1", {1}),
    "a name wins over an id": ("3", {4}),
    "an id of JSON is no name": (3, {3}),
    "a list": (["Cat", 3, "3"], {1, 3, 4}),
    "twice": ("hot,hot,3,3", {3, 4}),
    "a name with a comma": ("dog, hot", {2}),
    "the longer name with commas": ("dog, hot, big", {6}),
    "with a comma among others": ("hot,dog, hot,Cat", {3, 2, 1}),
    "with a comma in a list": (["dog, hot"], {2}),
}


@pytest.mark.parametrize(("value", "labels"), CLASSES.values(), ids=CLASSES.keys())
def test_classes(value: Any, labels: set[int]) -> None:
    assert read(classes=value).selection.labels == labels


NO_CLASSES: dict[str, tuple[Any, str]] = {
    "unknown": ("hott", "there is no class hott; did you mean hot?"),
    "unknown id": ("99", "there is no class 99"),
    "negative id": (-1, "there is no class -1"),
    "the background's id": ("0", "the background is never found"),
    "the background's name": ("__background__", "the background is never found"),
    "the background": (["Background"], "the background is never found"),
    "nothing": ("", "there is no class"),
    "nothing after a comma": ("hot,", "there is no class"),
    "an empty list": ([], "an empty list"),
    "true": ([True], "a class is a name or an id, not True"),
    "a number": ([1.0], "a class is a name or an id"),
    "lists": ([["hot"]], "a class is a name or an id"),
    "an object": ({"hot": 1}, "a class is a name or an id"),
    "too many": ([1] * 10_001, "more than 10,000 classes"),
    "a long text": ("x" * 10_001, "longer than 10,000 characters"),
    "other digits": ("\u0661", "there is no class"),
}


@pytest.mark.parametrize(("value", "said"), NO_CLASSES.values(), ids=NO_CLASSES.keys())
def test_what_is_no_class(value: Any, said: str) -> None:
    with pytest.raises(BadOptionError, match="classes must be names or ids of classes, got") as error:
        read(classes=value)
    assert said in str(error.value)
    assert len(str(error.value)) < 400


def test_a_class_whose_name_only_begins_like_the_background() -> None:
    options = reader(LIKE_DETECTRON2).read({"classes": Given("0,background image", "")})
    assert options.selection.labels == {0, 1}


@pytest.mark.parametrize("name", ["masks", "format"])
@pytest.mark.parametrize("value", ["", "rle,none", True, None, 1, [], ["json"], {}, "x" * 20_000])
def test_what_is_no_word(name: str, value: Any) -> None:
    with pytest.raises(BadOptionError, match=f"{name} must be one of"):
        read(**{name: value})


@pytest.mark.parametrize("value", ["a\nb", "x" * 257, "\ud800", 2**60, True, 1.5, [], ""])
def test_what_is_no_id(value: Any) -> None:
    with pytest.raises(BadOptionError, match="image_id must be an integer or a printable text"):
        read(image_id=value)


@pytest.mark.parametrize(("value", "expected"), [("17", 17), (17, 17), ("b-17", "b-17"), ("1" * 20, "1" * 20)])
def test_an_id(value: Any, expected: int | str) -> None:
    assert read(image_id=value).image_id == expected


def test_an_unknown_option_is_named_with_what_may_have_been_meant() -> None:
    with pytest.raises(
        BadOptionError, match="field treshold: there is no option score_treshold; did you mean"
    ) as error:
        reader().read({"score_treshold": Given("1", "field treshold")})
    assert "`data`" in error.value.hint
    with pytest.raises(BadOptionError) as error:
        reader().read({"x" * 1_000_000: Given("1", "field x")})
    assert len(str(error.value)) < 200


def test_an_option_beats_accept() -> None:
    assert read("image/png", format="json").format == "json"
    assert read("image/jpeg", format="image").picture_type == "image/jpeg"
    assert read("text/html", format="image").picture_type == "image/png"
    assert read("image/jpeg").format == "image"
    assert read("image/*;q=0.2").picture_type == "image/png"
    assert read("text/html").format == "html"
    assert read("application/xml").format == "json"


def test_masks_that_cannot_be() -> None:
    with pytest.raises(BadOptionError, match="boxes only"):
        reader(masks=False).read({"masks": Given("rle", "field masks")})
    assert reader(masks=False).read({}).masks == "none"
    with pytest.raises(BadOptionError, match="with the format coco"):
        read(masks="png", format="coco")
    assert not read(masks="None").selection.masks


def test_a_drawn_picture_shows_what_is_likely_unless_asked_for_more() -> None:
    assert read(format="image").selection.score_threshold == 0.5
    assert read("image/png").selection.score_threshold == 0.5
    assert read(format="image", score_threshold=0.1).selection.score_threshold == 0.1
    assert read(format="html").selection.score_threshold == read().selection.score_threshold < 0.5
