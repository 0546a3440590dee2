"""A batch of requests in, replies out; the detector is made up."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, cast

import pytest
import torch
from PIL import Image
from torch import Tensor

from handler.canvas import Size
from handler.detections import Detections
from handler.detector import Detector
from handler.metrics import METRICS, Observe, ignore
from handler.replies.reply import Reply
from handler.requests.incoming import Incoming
from handler.selection import Selection, default_selection
from handler.settings import Settings
from handler.worker import Worker
from tests.handler.cards import CARD
from tests.handler.found import made_up
from tests.handler.pictures import encoded, noise, png_header


class MadeUpDetector:
    """Finds as many instances as the picture's first pixel says."""

    card = CARD
    selection = default_selection(CARD, Settings())

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def detect(
        self,
        images: Sequence[Tensor],
        observe: Observe,
        image_sizes: Sequence[Size],
        selections: Sequence[Selection],
    ) -> list[Detections]:
        return [made_up(*size, int(image[0, 0, 0])) for image, size in zip(images, image_sizes, strict=True)]


def worker(settings: Settings | None = None) -> Worker:
    return Worker(cast(Detector, MadeUpDetector(settings or Settings(max_pixels=10_000))), "shapes", "1.0")


def answers(worker: Worker, bodies: Sequence[dict[str, Any]], observe: Observe = ignore) -> list[Reply]:
    return worker.answer([Incoming(fields) for fields in bodies], observe)


def picture(height: int, width: int, count: int) -> bytes:
    return encoded(Image.new("RGB", (width, height), (count, 0, 0)), "PNG")


def test_replies_come_in_the_order_of_the_requests() -> None:
    requests = [{"body": bytearray(picture(10 + index, 20, count=index))} for index in range(4)]
    replies = answers(worker(), requests)
    bodies = [json.loads(reply.body) for reply in replies]
    assert [body["image"] for body in bodies] == [{"width": 20, "height": 10 + index} for index in range(4)]
    assert [len(body["detections"]) for body in bodies] == [0, 1, 2, 3]
    assert {reply.status for reply in replies} == {200}


def test_one_corrupt_picture_is_refused_alone() -> None:
    good = picture(10, 20, count=2)
    alone = answers(worker(), [{"data": good}])[0]
    replies = answers(worker(), [{"data": good}, {"data": good[:45]}, {"data": good}])
    assert [reply.status for reply in replies] == [200, 400, 200]
    assert replies[0] == replies[2] == alone
    assert json.loads(replies[1].body)["error"]["code"] == "truncated_image"


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "nothing": ({}, 400, "empty_body"),
    "empty": ({"body": bytearray()}, 400, "empty_body"),
    "text": ({"body": "hello"}, 415, "unsupported_media_type"),
    "JSON": ({"body": {"image": "aGVsbG8="}}, 400, "not_an_image"),
    "JSON list": ({"body": [1, 2]}, 400, "bad_json"),
    "JSON number": ({"body": 7}, 415, "unsupported_media_type"),
    "bytes": ({"body": b"hello"}, 400, "not_an_image"),
    "another field": ({"photo": picture(10, 20, 1)}, 400, "bad_option"),
    "too large": ({"data": png_header(101, 100)}, 413, "too_many_pixels"),
}


@pytest.mark.parametrize(("request_", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_read_gets_a_reason_and_a_hint(request_: dict[str, Any], status: int, code: str) -> None:
    reply = answers(worker(), [request_])[0]
    error = json.loads(reply.body)["error"]
    assert (reply.status, error["code"]) == (status, code)
    assert error["message"]
    assert error["hint"]


def test_a_reply_over_the_limit_is_refused_alone() -> None:
    few, many = picture(10, 20, count=1), picture(10, 20, count=9)
    replies = answers(worker(Settings(max_reply_bytes=600)), [{"data": few}, {"data": many}])
    assert [reply.status for reply in replies] == [200, 422]


def test_our_own_fault_fails_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = worker()
    monkeypatch.setattr(broken.detector, "detect", lambda *_: [][0])
    with pytest.raises(IndexError):
        answers(broken, [{"data": picture(10, 20, 1)}])


def test_metrics_are_those_of_the_table() -> None:
    seen: defaultdict[str, float] = defaultdict(float)

    def observe(name: str, value: float) -> None:
        seen[name] += value

    answers(worker(), [{"data": picture(10, 20, 3)}, {"data": b"x"}, {"data": picture(10, 20, 2)}], observe)
    assert set(seen) <= set(METRICS)
    assert seen["maskrcnn_batch_size"] == 3
    assert seen["maskrcnn_detections_total"] == 5
    assert seen["maskrcnn_errors_total"] == 1
    assert seen["maskrcnn_decode_seconds"] > 0


def test_the_description_is_the_model_card() -> None:
    assert json.loads(worker().answer([Incoming({}, verb="describe")], ignore)[0].body)["class_names"] == list(
        CARD.class_names
    )


def test_pixels_reach_the_detector_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    looking = worker()

    def detect(images: list[Tensor], _: Observe, image_sizes: list[Size], __: object) -> list[Detections]:
        seen.extend(images)
        return [made_up(*size) for size in image_sizes]

    monkeypatch.setattr(looking.detector, "detect", detect)
    answers(looking, [{"data": encoded(Image.fromarray(noise()), "PNG")}])
    assert torch.equal(seen[0], torch.from_numpy(noise()))


def test_a_picture_without_memory_is_refused_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    small = worker()
    detect = small.detector.detect

    def limited(images: Sequence[Tensor], *others: Any) -> list[Detections]:
        if sum(image.numel() for image in images) > 3 * 300:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return detect(images, *others)

    monkeypatch.setattr(small.detector, "detect", limited)
    monkeypatch.setattr(small.detector, "free_memory", lambda: None, raising=False)
    replies = answers(small, [{"data": picture(10, width, 1)} for width in (20, 40, 25)])
    assert [reply.status for reply in replies] == [200, 503, 200]
    assert json.loads(replies[1].body)["error"]["code"] == "out_of_memory"


def test_fast_jpeg_answers_in_pixels_of_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    fast = worker(Settings(fast_jpeg=True, max_pixels=20_000_000))
    detect = fast.detector.detect
    monkeypatch.setattr(fast.detector, "detect", lambda images, *others: seen.extend(images) or detect(images, *others))
    jpeg = encoded(Image.new("RGB", (4000, 3000), (1, 1, 1)), "JPEG")
    (reply,) = answers(fast, [{"data": jpeg}])
    assert json.loads(reply.body)["image"] == {"width": 4000, "height": 3000}
    assert seen[0].shape == (1500, 2000, 3)  # the card's network wants 800 x 1066
