"""The whole way: a checkpoint exported by the command, served by a real TorchServe, asked over HTTP."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

import ops
from export.presets import preset
from handler.canvas import resized_size
from server.torchserve import TorchServe
from tests.demo_model import eager_demo_model
from tests.reply_schema import error_of, parsed
from tests.served import MODEL, PICTURES, detections, metric

SCORE = 0.5  # where a detection is no matter of rounding


def decode(detection: dict[str, Any]) -> NDArray[np.bool_]:
    return np.asarray(coco.decode(detection["mask"]), dtype=bool)


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def assert_same(answer: dict[str, Any], expected: dict[str, Any]) -> None:
    """Equal to float noise: what shares a batch must not change an answer."""
    assert answer["image"] == expected["image"]
    assert [each["label"] for each in answer["detections"]] == [each["label"] for each in expected["detections"]]
    for one, other in zip(answer["detections"], expected["detections"], strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)
        assert one["box"] == pytest.approx(other["box"], abs=0.02)
        assert iou(decode(one), decode(other)) > 0.99 or decode(other).sum() < 100


def picture_of_size(width: int, height: int) -> bytes:
    with Image.open(PICTURES[2]) as picture:
        buffer = io.BytesIO()
        picture.resize((width, height)).save(buffer, "PNG")
        return buffer.getvalue()


def test_one_picture(server: TorchServe) -> None:
    picture = PICTURES[2]
    answer = detections(server, picture.read_bytes())
    with Image.open(picture) as image:
        assert answer["image"] == {"width": image.width, "height": image.height}
    assert answer["model"] == MODEL
    assert len(answer["detections"]) >= 3
    for detection in answer["detections"]:
        x1, y1, x2, y2 = detection["box"]
        assert 0 <= x1 < x2 <= answer["image"]["width"]
        assert 0 <= y1 < y2 <= answer["image"]["height"]
        assert detection["class"] in {"circle", "square", "triangle", "star"}
        assert 0.05 < detection["score"] <= 1
        assert decode(detection).shape == (answer["image"]["height"], answer["image"]["width"])


@torch.inference_mode()
def test_the_masks_are_those_of_the_eager_model(server: TorchServe) -> None:
    """Computed with PyTorch's own resize and whole planes, without the trace and the handler."""
    model, rules = eager_demo_model(), preset("demo", "fpn").preprocessing
    mean, std = (torch.tensor(values)[:, None, None] for values in (rules.mean, rules.std))
    for path in PICTURES[:6]:
        with Image.open(path) as image:
            pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1) / 255
        height, width = pixels.shape[1:]
        size = resized_size(height, width, rules)
        resized = F.interpolate(((pixels - mean) / std)[None], size=size, mode="bilinear", align_corners=False)
        canvas = F.pad(resized, (0, -size[1] % rules.size_divisor, 0, -size[0] % rules.size_divisor))
        boxes, scores, labels, probs, _ = model(canvas, torch.tensor([size]))
        boxes *= torch.tensor([width / size[1], height / size[0]]).repeat(2)
        planes = ops.paste_masks(probs, boxes, height, width, rule="integer", inclusive=False)
        answer = detections(server, path.read_bytes())["detections"]
        assert len(answer) == len(scores)
        for number in range(int((scores > SCORE).sum())):
            assert answer[number]["label"] == labels[number]
            assert iou(decode(answer[number]), planes[number].numpy()) >= 0.9


def test_sixteen_at_once_of_mixed_sizes_with_a_corrupt_one(server: TorchServe) -> None:
    sizes = [(320, 240), (240, 320), (300, 300), (280, 240)]
    bodies = [picture_of_size(*sizes[index % 4]) for index in range(16)]
    alone = {size: detections(server, picture_of_size(*size)) for size in sizes}
    bodies[5] = bodies[5][: len(bodies[5]) // 2]
    requests, batches = metric(server, "maskrcnn_batch_size_sum"), metric(server, "maskrcnn_batch_size_count")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda body: server.predict(MODEL, body), bodies))
    assert [status for status, _ in answers] == [400 if index == 5 else 200 for index in range(16)]
    assert error_of(answers[5][1])["code"] == "truncated_image"
    for index, (_, body) in enumerate(answers):
        if index != 5:
            assert_same(parsed(body), alone[sizes[index % 4]])
    requests = metric(server, "maskrcnn_batch_size_sum") - requests
    batches = metric(server, "maskrcnn_batch_size_count") - batches
    assert requests == 16
    assert batches < requests, "no batch of more than one request was formed"


def test_a_blank_picture_has_no_detections(server: TorchServe) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (200, 100), "white").save(buffer, "PNG")
    answer = detections(server, buffer.getvalue())
    assert answer["image"] == {"width": 200, "height": 100}
    assert [each for each in answer["detections"] if each["score"] > SCORE] == []


def test_one_pixel(server: TorchServe) -> None:
    assert detections(server, picture_of_size(1, 1))["image"] == {"width": 1, "height": 1}


def test_without_a_token_nobody_is_answered(server: TorchServe) -> None:
    status, _ = server.predict(MODEL, PICTURES[0].read_bytes(), {"Authorization": "Bearer wrong"})
    assert status == 400  # TorchServe's own: it knows no 401


def test_no_model_may_be_registered_from_an_address(server: TorchServe) -> None:
    for url in ("https://example.org/model.mar", "file:///etc/passwd", "../demo.mar"):
        status, _ = server.request("management", f"/models?url={url}", b"")
        assert 400 <= status < 500


def test_the_model_card_is_shown(server: TorchServe) -> None:
    status, body = server.request("management", f"/models/{MODEL}?customized=true")
    card = json.loads(body)[0]["customizedMetadata"]
    assert status == 200
    assert card["class_names"][1:] == ["circle", "square", "triangle", "star"]
    assert card["proof"]
    serving = card["serving"]
    assert (serving["model"], serving["version"], serving["device"]) == (MODEL, "1.0", {"type": "cpu"})
    assert serving["options"]["score_threshold"] == {"allowed": "a number from 0.05 to 1", "default": 0.05}
    assert serving["limits"]["max_pixels"] == 50_000_000  # model-config.yaml says so
    assert serving["versions"]["torch"] == torch.__version__
    assert set(card["versions"]) & set(serving["versions"]) == {"python", "torch"}  # at export, and now


def test_memory_does_not_grow_with_requests(server: TorchServe) -> None:
    bodies = [path.read_bytes() for path in PICTURES]
    for body in bodies * 2:
        detections(server, body)
    settled = server.worker_bytes()
    for body in bodies * 4:
        detections(server, body)
    assert server.worker_bytes() - settled < 30e6
