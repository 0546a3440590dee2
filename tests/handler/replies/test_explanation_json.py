"""Explanations as JSON."""

import base64
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from handler.errors import RequestError
from handler.explanations import Explanations
from handler.replies.explanation_json import MOST_CLASSES, explanations_as_json
from tests.handler.found import made_up
from tests.reply_schema import parsed

NAMES = ("background", "ant", "bee")


def explained(class_scores: list[float], masks: Tensor | None = None, count: int = 1) -> Explanations:
    detections = replace(made_up(20, 30, count), masks=None)
    rows = torch.tensor(class_scores).repeat(count, 1)
    boxes, objectness = torch.tensor([[1.0, 2.00049, 3.5, 4.25]]).repeat(count, 1), torch.full((count,), 0.75)
    return Explanations(detections, boxes, objectness, rows, masks)


def answer(found: Explanations, names: tuple[str, ...] = NAMES) -> dict[str, Any]:
    """The parsed reply, which must be valid."""
    reply: dict[str, Any] = parsed(explanations_as_json(found, names, "shapes", "1.0", 100_000))
    return reply


def test_one_detection() -> None:
    reply = answer(explained([0.25, 0.5, 0.25]))
    assert {name: reply[name] for name in ("model", "version", "image")} == {
        "model": "shapes",
        "version": "1.0",
        "image": {"width": 30, "height": 20},
    }
    (one,) = reply["explanations"]
    assert one == {
        "label": 1,
        "class": "ant",
        "score": 0.9,
        "box": [0.0, 0.0, 1.235, 2.0],
        "proposal": {"box": [1.0, 2.0, 3.5, 4.25], "score": 0.75},
        "class_scores": [
            {"label": 1, "class": "ant", "score": 0.5},
            {"label": 0, "class": "background", "score": 0.25},
            {"label": 2, "class": "bee", "score": 0.25},
        ],
    }


def test_nothing_found() -> None:
    assert answer(explained([0.5, 0.5, 0.0], count=0))["explanations"] == []


def test_a_background_behind_the_last_label_has_none() -> None:
    (one,) = answer(explained([0.1, 0.2, 0.7]), names=("ant", "bee"))["explanations"]
    assert one["class_scores"][0] == {"class": "background", "score": pytest.approx(0.7)}


def test_the_best_classes_and_the_own_one() -> None:
    scores = [0.0, 0.001, *[0.01 * step for step in range(1, 31)]]  # its own, label 1, is the last but one
    names = ("background", *(f"class {number}" for number in range(1, 32)))
    (one,) = answer(explained(scores), names)["explanations"]
    assert [each["label"] for each in one["class_scores"]] == [*range(31, 31 - MOST_CLASSES, -1), 1]
    assert one["class_scores"][-1] == {"label": 1, "class": "class 1", "score": 0.001}


def test_two_classes_of_one_name_are_both_told() -> None:
    (one,) = answer(explained([0.2, 0.5, 0.3]), names=("background", "N/A", "N/A"))["explanations"]
    assert [(each["label"], each["class"]) for each in one["class_scores"]] == [
        (1, "N/A"),
        (2, "N/A"),
        (0, "background"),
    ]


def test_masks_are_grey_pictures() -> None:
    probabilities = torch.tensor([[0.0, 0.5], [0.25, 1.0]])[None]
    (one,) = answer(explained([0.0, 1.0, 0.0], probabilities))["explanations"]
    assert one["mask_probabilities"]["size"] == [2, 2]
    with Image.open(io.BytesIO(base64.b64decode(one["mask_probabilities"]["png"]))) as picture:
        assert (picture.format, picture.mode) == ("PNG", "L")
        assert np.array(picture).tolist() == [[0, 128], [64, 255]]


def test_a_number_that_is_none_is_loud() -> None:
    with pytest.raises(ValueError, match="JSON"):
        answer(replace(explained([0.0, 1.0, 0.0]), objectness=torch.tensor([float("nan")])))


def test_too_long_a_reply_is_refused() -> None:
    found = explained([0.0, 1.0, 0.0], count=9)
    length = len(explanations_as_json(found, NAMES, "shapes", "1.0", 100_000))
    explanations_as_json(found, NAMES, "shapes", "1.0", length)
    with pytest.raises(RequestError, match="9 detections has") as caught:
        explanations_as_json(found, NAMES, "shapes", "1.0", length - 1)
    assert (caught.value.code, caught.value.status) == ("reply_too_long", 413)
    assert "masks=none" in caught.value.hint
