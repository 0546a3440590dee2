"""A batch of requests in, replies out; the detector is made up."""

import base64
import errno
import json
from collections import defaultdict
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, cast

import pytest
import torch
from PIL import Image
from torch import Tensor

from handler.canvas import Size
from handler.detections import Detections
from handler.detector import Detector
from handler.errors import BadOptionError
from handler.images import BadImageError, Picture
from handler.metrics import METRICS, Observe, ignore
from handler.replies.errors import error_reply
from handler.replies.reply import Reply
from handler.requests.asked import Ask, Asked
from handler.requests.incoming import Incoming
from handler.requests.options import Given, Options
from handler.selection import Selection, default_selection
from handler.settings import Settings
from handler.worker import Worker
from tests.handler.cards import CARD
from tests.handler.found import made_up
from tests.handler.pictures import encoded, noise, png_header
from tests.reply_schema import error_of, parsed


class MadeUpDetector:
    """Finds as many instances as the picture's first pixel says."""

    card, device = CARD, torch.device("cpu")
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
    bodies = [parsed(reply.body) for reply in replies]
    assert [body["image"] for body in bodies] == [{"width": 20, "height": 10 + index} for index in range(4)]
    assert [len(body["detections"]) for body in bodies] == [0, 1, 2, 3]
    assert {reply.status for reply in replies} == {200}


def test_one_corrupt_picture_is_refused_alone() -> None:
    good = picture(10, 20, count=2)
    alone = answers(worker(), [{"data": good}])[0]
    replies = answers(worker(), [{"data": good}, {"data": good[:45]}, {"data": good}])
    assert [reply.status for reply in replies] == [200, 400, 200]
    assert replies[0] == replies[2] == alone
    assert error_of(replies[1].body)["code"] == "truncated_image"


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "nothing": ({}, 400, "empty_body"),
    "empty": ({"body": bytearray()}, 400, "empty_body"),
    "text": ({"body": "hello"}, 415, "unsupported_media_type"),
    "JSON": ({"body": {"image": "aGVsbG8="}}, 415, "unsupported_media_type"),
    "JSON list": ({"body": [1, 2]}, 400, "bad_json"),
    "JSON number": ({"body": 7}, 415, "unsupported_media_type"),
    "bytes": ({"body": b"\x80hello"}, 415, "not_an_image"),
    "bytes of text": ({"body": b"hello"}, 415, "unsupported_media_type"),
    "another field": ({"photo": picture(10, 20, 1)}, 400, "bad_option"),
    "too large": ({"data": png_header(101, 100)}, 413, "too_many_pixels"),
}


@pytest.mark.parametrize(("request_", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_read_gets_a_reason_and_a_hint(request_: dict[str, Any], status: int, code: str) -> None:
    reply = answers(worker(), [request_])[0]
    error = error_of(reply.body)
    assert (reply.status, error["code"]) == (status, code)
    assert error["message"]
    assert error["hint"]


def test_a_reply_over_the_limit_is_refused_alone() -> None:
    few, many = picture(10, 20, count=1), picture(10, 20, count=9)
    replies = answers(worker(Settings(max_reply_bytes=600)), [{"data": few}, {"data": many}])
    assert [reply.status for reply in replies] == [200, 413]
    assert error_of(replies[1].body)["code"] == "reply_too_long"


class Hostile(MadeUpDetector):
    """Fails with every batch that has the picture whose first pixel is 7."""

    error: Exception = IndexError("secret")

    def detect(
        self,
        images: Sequence[Tensor],
        observe: Observe,
        image_sizes: Sequence[Size],
        selections: Sequence[Selection],
    ) -> list[Detections]:
        if any(int(image[0, 0, 0]) == 7 for image in images):
            raise self.error
        return super().detect(images, observe, image_sizes, selections)


def test_our_own_fault_is_the_error_of_the_request_that_meets_it(caplog: pytest.LogCaptureFixture) -> None:
    failing, seen = Worker(cast(Detector, Hostile(Settings())), "shapes", "1.0"), Seen()
    replies = answers(failing, [{"data": picture(10, 20, count)} for count in (1, 7, 2)], seen)
    assert [reply.status for reply in replies] == [200, 500, 200]
    assert [len(parsed(replies[index].body)["detections"]) for index in (0, 2)] == [1, 2]
    error = error_of(replies[1].body)
    assert error["code"] == "internal_error"
    assert "IndexError" in error["message"]
    assert "secret" not in str(error)
    assert "secret" in caplog.text
    assert seen["maskrcnn_errors_total:internal_error"] == 1
    assert [reply.status for reply in answers(failing, [{"data": picture(10, 20, 3)}])] == [200]


def test_our_own_fault_answers_kserve_in_its_form() -> None:
    failing = Worker(cast(Detector, Hostile(Settings())), "shapes", "1.0")
    pixels = {"name": "image", "datatype": "UINT8", "shape": [1, 1, 3], "data": [7, 0, 0]}
    (reply,) = answers(failing, [{"body": {"id": "a", "inputs": [pixels]}}])
    body = parsed(reply.body)
    assert (reply.status, body["id"], body["model_name"]) == (500, "a", "shapes")
    assert body["error"]["code"] == "internal_error"


@pytest.mark.parametrize(("given", "told"), [({}, ""), ({"id": "a"}, "a")])
def test_where_even_reading_fails_kserve_gets_its_form(
    given: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TorchServe's gRPC ends a worker that answers it without an id."""
    failing = worker()

    def fail(request: object) -> None:
        raise IndexError("secret")

    monkeypatch.setattr(failing._reader, "read", fail)
    (reply,) = answers(failing, [{"body": {**given, "inputs": []}}])
    body = json.loads(reply.body)
    assert (reply.status, body["id"], body["error"]["code"]) == (500, told, "internal_error")


def test_a_broken_device_is_nobodys_error(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Worker(cast(Detector, Hostile(Settings())), "shapes", "1.0")
    monkeypatch.setattr(Hostile, "error", torch.AcceleratorError("CUDA error: an illegal memory access"))
    with pytest.raises(torch.AcceleratorError):
        answers(failing, [{"data": picture(10, 20, count)} for count in (1, 7)])


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory")], ids=repr)
def test_a_reply_that_memory_is_too_small_for_is_refused_alone(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = worker()
    write = working._writer.write

    def small(asked: Picture, found: Detections, options: Options) -> Reply:
        if len(found) == 7:
            raise error
        return write(asked, found, options)

    monkeypatch.setattr(working._writer, "write", small)
    monkeypatch.setattr(MadeUpDetector, "free_memory", lambda _: None, raising=False)
    replies = answers(working, [{"data": picture(10, 20, count)} for count in (1, 7, 2)])
    assert [reply.status for reply in replies] == [200, 503, 200]
    assert error_of(replies[1].body)["code"] == "out_of_memory"


class Seen(defaultdict[str, float]):
    """Adds up what is observed; a label follows the name after a colon."""

    def __init__(self) -> None:
        super().__init__(float)

    def __call__(self, name: str, value: float, label: str = "") -> None:
        metric = METRICS[name]
        assert label in (metric.label.values if metric.label else ("",)), (name, label)
        self[f"{name}:{label}" if label else name] += value


def test_metrics_are_those_of_the_table() -> None:
    seen = Seen()
    answers(worker(), [{"data": picture(10, 20, 3)}, {"data": b"\x80"}, {"data": picture(10, 20, 2)}], seen)
    assert seen["maskrcnn_batch_size"] == 3
    assert seen["maskrcnn_detections_total"] == 5
    assert seen["maskrcnn_replies_total:json"] == 2
    assert {name: value for name, value in seen.items() if name.startswith("maskrcnn_errors_total") and value} == {
        "maskrcnn_errors_total:not_an_image": 1
    }
    assert seen["maskrcnn_batch_seconds"] > seen["maskrcnn_decode_seconds"] > 0


def test_errors_are_counted_by_code_where_they_arise() -> None:
    seen, limited = Seen(), worker(Settings(max_pixels=10_000, max_reply_bytes=600))
    bodies = [
        {"data": picture(10, 20, 9)},
        {"body": b""},
        {"data": png_header(101, 100)},
        {"data": png_header(101, 100)},
    ]
    replies = answers(limited, [*bodies, {"masks": b"none of these", "data": picture(10, 20, 1)}], seen)
    codes = [json.loads(reply.body)["error"]["code"] for reply in replies]
    assert codes == ["reply_too_long", "empty_body", "too_many_pixels", "too_many_pixels", "bad_option"]
    for code in codes:
        assert seen[f"maskrcnn_errors_total:{code}"] == codes.count(code)
    assert seen["maskrcnn_replies_total:json"] == 0


def test_counters_begin_at_zero_once() -> None:
    seen, working = [], worker()
    for _ in range(2):
        answers(working, [{"data": picture(10, 20, 0)}], lambda *each: seen.append(each))
    zeros = [(name, *label) for name, value, *label in seen if value == 0 and label]
    counters = {name: metric for name, metric in METRICS.items() if metric.kind == "counter"}
    labels = [
        (name, label) for name, each in counters.items() for label in (each.label.values if each.label else ("",))
    ]
    assert zeros == labels


def reading(asked: Asked) -> Worker:
    """A worker to which every request asks for the same."""
    made = worker()
    made._reader.read = lambda _: asked  # type: ignore[method-assign]
    return made


def test_each_picture_of_a_request_counts_and_the_envelopes_own_error_too() -> None:
    seen, good = Seen(), Ask(picture(10, 20, 2), worker()._options.read({"format": Given("coco", "field format")}))
    refused = BadOptionError("wrong", "correct it")
    answers(reading(Asked([good, refused, good], lambda replies: Reply(HTTPStatus.OK, b"[]"))), [{}], seen)
    assert (seen["maskrcnn_replies_total:coco"], seen["maskrcnn_errors_total:bad_option"]) == (2, 1)
    too_long = error_reply(BadImageError("reply_too_long", "together they are too long"))
    answers(reading(Asked([good, good], lambda replies: too_long)), [{}], seen)
    assert (seen["maskrcnn_replies_total:coco"], seen["maskrcnn_errors_total:reply_too_long"]) == (4, 1)


def test_truncated_replies_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, shortening = Seen(), worker()
    replies = iter([Reply(HTTPStatus.OK, b"{}", truncated=True), Reply(HTTPStatus.OK, b"{}")])
    monkeypatch.setattr(shortening._writer, "write", lambda *_: next(replies))
    answers(shortening, [{"data": picture(10, 20, 1)}] * 2, seen)
    assert seen["maskrcnn_truncated_replies_total"] == 1


def described(worker: Worker) -> dict[str, Any]:
    card: dict[str, Any] = json.loads(worker.answer([Incoming({}, verb="describe")], ignore)[0].body)
    return card


def test_the_description_is_the_model_card_and_what_is_served() -> None:
    told = described(worker(Settings(max_pixels=10_000, max_reply_bytes=600, dtype="bfloat16")))
    serving = told.pop("serving")
    assert told == json.loads(CARD.to_json())
    assert (serving["model"], serving["version"]) == ("shapes", "1.0")
    assert (serving["device"], serving["dtype"]) == ({"type": "cpu"}, "bfloat16")
    assert serving["limits"] == {"max_pixels": 10_000, "max_reply_bytes": 600, "max_pass_size": 8}
    assert serving["versions"]["torch"] == torch.__version__
    assert serving["versions"]["ops"].startswith("sha256 ")


def test_the_described_options_are_those_that_are_read() -> None:
    """Each default, sent as the option itself, changes nothing."""
    described_worker = worker()
    reader, options = described_worker._options, described(described_worker)["serving"]["options"]
    assert {name: each["allowed"] for name, each in options.items()} == dict(reader.allowed)
    given = {name: Given(each["default"], "here") for name, each in options.items() if each["default"] is not None}
    assert len(given) == len(options) - 1  # all but the classes
    assert reader.read(given) == reader.read({})


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
    assert error_of(replies[1].body)["code"] == "out_of_memory"


def test_fast_jpeg_answers_in_pixels_of_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    fast = worker(Settings(fast_jpeg=True, max_pixels=20_000_000))
    detect = fast.detector.detect
    monkeypatch.setattr(fast.detector, "detect", lambda images, *others: seen.extend(images) or detect(images, *others))
    jpeg = encoded(Image.new("RGB", (4000, 3000), (1, 1, 1)), "JPEG")
    (reply,) = answers(fast, [{"data": jpeg}])
    assert json.loads(reply.body)["image"] == {"width": 4000, "height": 3000}
    assert seen[0].shape == (1500, 2000, 3)  # the card's network wants 800 x 1066


def test_pictures_of_one_request_share_the_limit_of_pixels() -> None:
    """Small files may be large pictures, and all of a request are in memory at a time."""
    sizes = [(50, 100), (60, 80), (10, 20), (1, 1)]
    pictures = [base64.b64encode(picture(*size, count=1)).decode() for size in sizes]
    body = {"body": {"instances": [pictures[0], "AAAA", *pictures[1:]]}}
    reply, beside = answers(worker(Settings(max_pixels=10_000)), [body, {"data": picture(100, 100, 1)}])
    predictions = json.loads(reply.body)["predictions"]
    codes = [each.get("error", {}).get("code") for each in predictions]
    assert codes == [None, "not_an_image", None, None, "too_many_pixels"]
    reply, _ = answers(worker(Settings(max_pixels=9_800)), [body, {"data": picture(10, 10, 1)}])
    codes = [each.get("error", {}).get("code") for each in json.loads(reply.body)["predictions"]]
    assert codes == [None, "not_an_image", None, "too_many_pixels", "too_many_pixels"]
    assert beside.status == 200
