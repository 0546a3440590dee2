"""The JSON that clients see."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pycocotools import mask as coco

from handler.errors import RequestError
from handler.images import BadImageError
from handler.replies.detections_json import detections_as_json
from handler.replies.errors import error_reply
from tests.handler.found import made_up
from tests.reply_schema import parsed

NAMES = ("__background__", "circle", "square")


def test_the_reply_is_compact_json_with_rounded_numbers() -> None:
    reply = detections_as_json(made_up(6, 9, count=1), NAMES, "shapes", "1.0", max_bytes=1000)
    assert reply.startswith(
        b'{"model":"shapes","version":"1.0","image":{"width":9,"height":6},"detections":[{"label":1,"class":"circle",'
        b'"score":0.9,"box":[0.0,0.0,1.235,2.0],"mask":{"size":[6,9],"counts":"'
    )


def test_pycocotools_decodes_the_masks_as_they_are() -> None:
    reply = parsed(detections_as_json(made_up(6, 9, count=4), NAMES, "shapes", "1.0", max_bytes=2000))
    for index, each in enumerate(reply["detections"]):
        plane = coco.decode(each["mask"])
        assert plane.shape == (6, 9)
        assert plane.sum(axis=0).tolist() == [6] * (index + 1) + [0] * (8 - index)


def test_nothing_found() -> None:
    reply = parsed(detections_as_json(made_up(6, 9, count=0), NAMES, "shapes", "", max_bytes=1000))
    assert reply == {"model": "shapes", "version": "", "image": {"width": 9, "height": 6}, "detections": []}


def test_names_are_not_escaped_into_something_else() -> None:
    names = ("__background__", 'say "héllo"\n', "square")
    reply = parsed(detections_as_json(made_up(6, 9, count=1), names, "shapes", "1.0", max_bytes=1000))
    assert reply["detections"][0]["class"] == names[1]


def test_the_limit_of_a_reply_is_kept() -> None:
    found = made_up(6, 9, count=3)
    length = len(detections_as_json(found, NAMES, "shapes", "1.0", max_bytes=10_000))
    assert len(detections_as_json(found, NAMES, "shapes", "1.0", max_bytes=length)) == length
    with pytest.raises(RequestError, match="the reply with 3 detections has .* the limit is") as caught:
        detections_as_json(found, NAMES, "shapes", "1.0", max_bytes=length - 1)
    assert (caught.value.code, caught.value.status) == ("reply_too_long", 413)


def test_a_number_that_json_cannot_hold_is_loud() -> None:
    found = replace(made_up(6, 9, count=1), scores=torch.tensor([np.nan]))
    with pytest.raises(ValueError, match="not JSON compliant"):
        detections_as_json(found, NAMES, "shapes", "1.0", max_bytes=1000)


def test_errors_have_a_code_a_message_and_a_hint() -> None:
    error = BadImageError("not_an_image", 'it is "text"', "send a picture")
    expected = {"error": {"code": "not_an_image", "message": 'it is "text"', "hint": "send a picture"}}
    assert parsed(error_reply(error).body) == expected
