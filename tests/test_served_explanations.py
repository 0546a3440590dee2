"""Explanations over HTTP, by a real TorchServe."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from server.torchserve import TorchServe
from tests.reply_schema import parsed
from tests.served import MODEL, PICTURES, detections


def explain(server: TorchServe, picture: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    status, body = server.request("inference", f"/explanations/{MODEL}", picture, headers)
    content: dict[str, Any] = parsed(body)
    return status, content


def assert_explains(content: dict[str, Any], answer: dict[str, Any]) -> None:
    assert content["image"] == answer["image"]
    assert [each["label"] for each in content["explanations"]] == [each["label"] for each in answer["detections"]]
    for why, found in zip(content["explanations"], answer["detections"], strict=True):
        assert why["score"] == pytest.approx(found["score"], abs=1e-4)
        assert why["box"] == pytest.approx(found["box"], abs=0.02)


def test_a_picture_is_explained(server: TorchServe) -> None:
    picture = PICTURES[2].read_bytes()
    status, content = explain(server, picture)
    assert status == 200
    assert_explains(content, detections(server, picture))
    assert all("mask_probabilities" in each for each in content["explanations"])


def test_options_hold_for_explanations(server: TorchServe) -> None:
    picture = PICTURES[2].read_bytes()
    _, content = explain(server, picture, **{"x-detect-masks": "none", "X-Detect-Max-Detections": "1"})
    (only,) = content["explanations"]
    assert "mask_probabilities" not in only
    status, refused = explain(server, picture, **{"X-Detect-Format": "coco"})
    assert (status, refused["error"]["code"]) == (400, "bad_option")
    status, refused = explain(server, b"no picture")
    assert (status, refused["error"]["code"]) == (415, "unsupported_media_type")


def test_a_form_is_explained(server: TorchServe) -> None:
    edge = uuid.uuid4().hex
    parts = [
        b'name="masks"\r\n\r\nnone',
        b'name="data"; filename="picture.jpg"\r\nContent-Type: image/jpeg\r\n\r\n' + PICTURES[2].read_bytes(),
    ]
    body = b"".join(b"--%s\r\nContent-Disposition: form-data; %s\r\n" % (edge.encode(), part) for part in parts)
    kind = f"multipart/form-data; boundary={edge}"
    status, content = explain(server, body + f"--{edge}--\r\n".encode(), **{"Content-Type": kind})
    assert status == 200, content
    assert not any("mask_probabilities" in each for each in content["explanations"])


def test_predictions_beside_explanations_are_as_ever(server: TorchServe) -> None:
    pictures = [path.read_bytes() for path in PICTURES[:3]]
    expected = [detections(server, picture) for picture in pictures]
    with ThreadPoolExecutor(6) as pool:
        explained = [pool.submit(explain, server, picture) for picture in pictures]
        answered = [pool.submit(detections, server, picture) for picture in pictures]
        for why, found, alone in zip(explained, answered, expected, strict=True):
            assert why.result()[0] == 200
            assert_explains(why.result()[1], alone)
            assert len(found.result()["detections"]) == len(alone["detections"])
