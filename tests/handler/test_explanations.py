"""Explanations of pictures by the demo model, from a request to its reply."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from handler.detector import Detector
from handler.errors import RequestError
from handler.explanations import Explanations
from handler.gpu.lane import CudaLane
from handler.gpu.settings import Graphs
from handler.metrics import METRICS, ignore
from handler.replies.reply import Reply
from handler.requests.incoming import Incoming, Verb
from handler.settings import Settings
from handler.worker import Worker
from tests.demo_model import export_demo_model
from tests.handler.made_up_model import save_made_up_model
from tests.handler.test_detector import CARD, plain
from tests.reply_schema import error_of, parsed
from tests.served import PICTURES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_demo_model(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def detector(folder: Path) -> Detector:
    return Detector.load(folder, Settings(warm_up_sizes=((32, 32),)))


@pytest.fixture(scope="module")
def worker(detector: Detector) -> Worker:
    return Worker(detector, "demo", "1.0")


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    with Image.open(PICTURES[2]) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB")))


def ask(worker: Worker, verb: Verb = "explain", **options: str) -> Reply:
    headers = {f"X-Detect-{name.replace('_', '-')}": value for name, value in options.items()}
    (reply,) = worker.answer([Incoming.of({"body": PICTURES[2].read_bytes()}, headers, verb)], ignore)
    return reply


def explanations(worker: Worker, **options: str) -> list[dict[str, Any]]:
    reply = ask(worker, **options)
    assert reply.status == 200, reply.body
    content = parsed(reply.body)
    found: list[dict[str, Any]] = content["explanations"]
    return found


def detections(worker: Worker, **options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(ask(worker, "predict", **options).body)["detections"]
    return found


def error(reply: Reply) -> tuple[int, str]:
    return reply.status, json.loads(reply.body)["error"]["code"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"score_threshold": "0.7"},
        {"max_detections": "2"},
        {"classes": "circle", "max_detections": "1"},
        {"masks": "none"},
        {"score_threshold": "1"},
    ],
    ids=str,
)
def test_explains_what_is_predicted(worker: Worker, options: dict[str, str]) -> None:
    found, expected = explanations(worker, **options), detections(worker, **options)
    assert [[each[part] for part in ("label", "class", "score", "box")] for each in found] == [
        [each[part] for part in ("label", "class", "score", "box")] for each in expected
    ]
    assert all(("mask_probabilities" in each) == (options.get("masks") != "none") for each in found)


def test_reasons_fit_what_was_found(worker: Worker) -> None:
    found = explanations(worker, score_threshold="0.5")
    assert len(found) >= 3
    for each in found:
        own = next(score for score in each["class_scores"] if score["label"] == each["label"])
        assert own["score"] == pytest.approx(each["score"], abs=2e-6)
        assert each["class_scores"][0] == own  # above a half, so none is better
        assert sum(score["score"] for score in each["class_scores"]) == pytest.approx(1, abs=1e-5)  # all five classes
        assert overlap(each["box"], each["proposal"]["box"]) > 0.3
    assert max(each["proposal"]["score"] for each in found) > 0.9


def overlap(one: list[float], other: list[float]) -> float:
    sides = [max(0.0, min(one[i + 2], other[i + 2]) - max(one[i], other[i])) for i in (0, 1)]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return sides[0] * sides[1] / (sum(areas) - sides[0] * sides[1])


def test_masks_are_those_before_the_threshold(worker: Worker) -> None:
    """Cells at a half or more cover nearly the share of the box that the mask covers."""
    from pycocotools import mask as coco

    options = {"score_threshold": "0.9"}
    for why, answered in zip(explanations(worker, **options), detections(worker, **options), strict=True):
        with Image.open(io.BytesIO(base64.b64decode(why["mask_probabilities"]["png"]))) as picture:
            share = float((np.array(picture) >= 127.5).mean())
        x1, y1, x2, y2 = answered["box"]
        assert share == pytest.approx(float(coco.area(answered["mask"])) / ((x2 - x1) * (y2 - y1)), abs=0.08)


def test_asks_of_a_batch_keep_their_places(worker: Worker) -> None:
    picture = PICTURES[2].read_bytes()
    verbs: list[Verb] = ["explain", "predict", "describe", "explain", "predict"]
    bodies = [picture, picture, b"", b"broken", PICTURES[3].read_bytes()]
    requests = [Incoming.of({"body": body}, {}, verb) for body, verb in zip(bodies, verbs, strict=True)]
    seen: list[str] = []
    replies = worker.answer(requests, lambda name, *_: seen.append(name))
    assert [reply.status for reply in replies] == [200, 200, 200, 415, 200]
    parts = [sorted(json.loads(reply.body)) for reply in replies]
    assert "explanations" in parts[0]
    assert "detections" in parts[1]
    assert "class_names" in parts[2]
    assert "detections" in parts[4]
    assert replies[0] == ask(worker)
    assert set(seen) <= set(METRICS)


@pytest.mark.parametrize("form", ["coco", "image", "html"])
def test_other_formats_are_refused(worker: Worker, form: str) -> None:
    assert error(ask(worker, format=form)) == (400, "bad_option")


def test_too_long_a_reply_is_refused(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "settings", replace(detector.settings, max_reply_bytes=2000))
    small = Worker(detector, "demo", "1.0")
    assert error(ask(small)) == (413, "reply_too_long")
    assert len(explanations(small, max_detections="1", masks="none")) == 1


def test_an_archive_from_before_says_so(tmp_path: Path) -> None:
    older = Worker(Detector.load(save_made_up_model(tmp_path, CARD)), "old", "1.0")
    reply = ask(older)
    assert error(reply) == (501, "not_explained")
    assert "export it again" in json.loads(reply.body)["error"]["hint"]
    assert ask(older, "predict").status == 200
    with pytest.raises(RequestError, match="exported by a version that could not explain"):
        older.detector.explain(plain(32, 48, 1))


@pytest.mark.parametrize(("failures", "status"), [(1, 200), (2, 503)])
def test_out_of_memory(
    worker: Worker, detector: Detector, monkeypatch: pytest.MonkeyPatch, failures: int, status: int
) -> None:
    """Freed and tried once more; then refused, while its neighbour is answered."""
    calls: list[int] = []
    explain = detector.explain

    def small(*arguments: Any) -> Explanations:
        calls.append(1)
        if len(calls) <= failures:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return explain(*arguments)

    freed: list[int] = []
    monkeypatch.setattr(detector, "explain", small)
    monkeypatch.setattr(detector, "free_memory", lambda: freed.append(1))
    picture = {"body": PICTURES[2].read_bytes()}
    replies = worker.answer([Incoming(picture, verb="explain"), Incoming(picture)], ignore)
    assert [reply.status for reply in replies] == [status, 200]
    assert len(freed) == 1


def test_our_own_fault_is_said(worker: Worker, detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "explain", lambda *_: [][0])
    reply = ask(worker)
    assert (reply.status, error_of(reply.body)["code"]) == (500, "internal_error")


@pytest.fixture
def over_a_gpu(folder: Path, fake_gpu: None) -> Detector:
    settings, cpu = Settings(warm_up_sizes=((32, 32),), graphs=Graphs(8, after=1)), torch.device("cpu")
    plainly = Detector.load(folder, settings)
    network = plainly._steps._network
    return Detector(plainly.card, settings, cpu, network, CudaLane(network, settings, cpu))


def test_a_gpu_explains_the_same(over_a_gpu: Detector, detector: Detector, pixels: torch.Tensor) -> None:
    over_a_gpu.detect([pixels])  # by a graph, whose memory an explanation must neither read nor spoil
    found, expected = over_a_gpu.explain(pixels), detector.explain(pixels)
    assert len(found.detections) == len(expected.detections) > 3
    for part in ("proposals", "objectness", "class_scores", "mask_probabilities"):
        torch.testing.assert_close(getattr(found, part), getattr(expected, part), rtol=0, atol=1e-3)
    assert found.mask_probabilities is not None
    assert len(found.mask_probabilities) == len(found.detections)


def test_a_shrunken_picture_is_explained_in_its_own_pixels(detector: Detector, pixels: torch.Tensor) -> None:
    twice = detector.explain(pixels, image_size=(2 * pixels.shape[0], 2 * pixels.shape[1]))
    assert (twice.detections.height, twice.detections.width) == (2 * pixels.shape[0], 2 * pixels.shape[1])
    once = detector.explain(pixels)
    torch.testing.assert_close(twice.proposals[:2], 2 * once.proposals[:2], rtol=0.05, atol=4)
