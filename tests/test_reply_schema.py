"""The schema refuses what is no reply of ours, and travels with the model."""

import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.reply_schema import FILE, validator

DETECTION = {"label": 1, "class": "circle", "score": 0.5, "box": [0, 0, 1.5, 2]}
REPLY = {"model": "m", "version": "1.0", "image": {"width": 3, "height": 2}, "detections": [DETECTION]}
RESULT = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 2], "score": 0.5}
ERROR = {"error": {"code": "bad_option", "message": "m", "hint": "h"}}
EXPLANATION = DETECTION | {"proposal": {"box": [0, 0, 1, 1], "score": 1}, "class_scores": [{"class": "c", "score": 1}]}
EXPLAINED = {"model": "m", "version": "1.0", "image": {"width": 3, "height": 2}, "explanations": []}
OUTPUT = {"name": "detections", "datatype": "BYTES", "shape": [1], "data": ["{}"]}
KSERVE2 = {"model_name": "m", "model_version": "1.0", "id": "7", "outputs": [OUTPUT]}
RLE = {"size": [2, 3], "counts": "06"}
REPLIES: dict[str, Any] = {
    "detections": REPLY,
    "run lengths": REPLY | {"detections": [DETECTION | {"mask": RLE}]},
    "polygons": REPLY | {"detections": [DETECTION | {"mask": {"polygons": [[0, 0, 1, 0, 1, 1, 0, 1]]}}]},
    "results": [RESULT, RESULT | {"segmentation": RLE}, RESULT | {"segmentation": [[0, 0, 1, 0, 1, 1]]}],
    "no results": [],
    "error": ERROR,
    "an explanation": EXPLAINED | {"explanations": [EXPLANATION]},
    "KServe v1": {"predictions": [REPLY, ERROR, [], EXPLAINED, {"b64": "aaaa", "media_type": "image/png"}]},
    "KServe v2": KSERVE2,
    "KServe v2, none answered": KSERVE2 | ERROR,
}
NO_REPLIES: dict[str, Any] = {
    "nothing": {},
    "another key": REPLY | {"masks_": 1},
    "no image": {key: value for key, value in REPLY.items() if key != "image"},
    "no size": REPLY | {"image": {"width": 0, "height": 2}},
    "score above 1": REPLY | {"detections": [DETECTION | {"score": 1.5}]},
    "box of three": REPLY | {"detections": [DETECTION | {"box": [0, 0, 1]}]},
    "label as text": REPLY | {"detections": [DETECTION | {"label": "1"}]},
    "dense mask": REPLY | {"detections": [DETECTION | {"mask": [[0, 1], [1, 0]]}]},
    "uncompressed lengths": REPLY | {"detections": [DETECTION | {"mask": {"size": [2, 3], "counts": [0, 6]}}]},
    "both masks": REPLY | {"detections": [DETECTION | {"mask": RLE | {"polygons": []}}]},
    "truncated without a reason": REPLY | {"truncated": {"left_out": "masks"}},
    "colour by name": REPLY
    | {"masks": {"png": "aaaa", "legend": [{"value": 1, "label": 1, "class": "c", "colour": "red"}]}},
    "results without a score": [{key: value for key, value in RESULT.items() if key != "score"}],
    "an empty polygon": [RESULT | {"segmentation": [[]]}],
    "an error without a hint": {"error": {"code": "bad_option", "message": "m"}},
    "an explanation without a proposal": EXPLAINED | {"explanations": [DETECTION]},
    "an explanation and detections": EXPLAINED | {"detections": []},
    "no prediction": {"predictions": []},
    "a prediction that is none": {"predictions": [{}]},
    "predictions in predictions": {"predictions": [{"predictions": [REPLY]}]},
    "KServe v2 without an id": {key: value for key, value in KSERVE2.items() if key != "id"},
    "KServe v2 with an object": KSERVE2 | {"outputs": [OUTPUT | {"data": [REPLY]}]},
    "an error with more": {"error": {"code": "bad_option", "message": "m", "hint": "h", "trace": "..."}},
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES.keys())
def test_replies(reply: Any) -> None:
    validator().validate(reply)


@pytest.mark.parametrize("reply", NO_REPLIES.values(), ids=NO_REPLIES.keys())
def test_what_is_none(reply: Any) -> None:
    assert not validator().is_valid(reply)


def test_the_archive_carries_it(archive: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        assert packed.read("handler/replies/reply.schema.json") == FILE.read_bytes()
