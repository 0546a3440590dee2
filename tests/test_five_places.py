"""One picture and one model in five places: the README's table is what comes out here."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from benchmarks.ray_nodes import HOST, running
from server.torchserve import TorchServe
from tests.differences import Differences, largest
from tests.grpc_calls import predictions
from tests.ray_installed import skip_without_ray
from tests.reply_schema import parsed
from tests.served import MODEL, PICTURES, ROOT

skip_without_ray()
pytestmark = pytest.mark.slow

PICTURE = next(path for path in PICTURES if path.name == "shapes_02.jpg")
MOST = Differences(score=1e-5, box=1e-3, mask=0.0)
PLACES = ("TorchServe, REST", "TorchServe, gRPC", "C++", "TorchServe, the `.pt2`", "Ray Serve")
HEAD = ("| place | detections | the best | scores | boxes | equal run lengths |", "|---|---|---|---|---|---|")
Answer = dict[str, Any]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """As PNG: another decoder of JPEG may round otherwise."""
    path = tmp_path / "picture.png"
    Image.open(PICTURE).save(path)
    return path


@pytest.fixture
def ray_url(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("MASKRCNN_CACHE", str(archive.parent / "cache"))
    with running(archive, nodes=1, replicas=1) as started:
        yield f"http://{HOST}:{started.port}/predictions/demo"


def over_rest(server: TorchServe, model: str, body: bytes) -> Answer:
    status, reply = server.predict(model, body)
    assert status == 200, reply
    return dict(parsed(reply))


def in_cpp(program: Path, archive: Path, picture: Path) -> Answer:
    return dict(parsed(subprocess.run([program, archive, picture], capture_output=True, check=True).stdout))


def over_ray(url: str, body: bytes) -> Answer:
    with requests.Session() as session:
        session.trust_env = False  # no proxy for 127.0.0.1
        reply = session.post(url, body, headers={"Content-Type": "image/png"}, timeout=120)
    assert reply.status_code == 200, reply.text
    return dict(parsed(reply.content))


def line(place: str, answer: Answer, first: Answer) -> str:
    """A row of the table; a difference that is too large stands there as a number."""
    found, expected = answer["detections"], first["detections"]
    best = f"{found[0]['class']} {found[0]['score']:.2f} at {', '.join(f'{side:.0f}' for side in found[0]['box'])}"
    apart = largest([answer], [first])
    score = f"± {MOST.score:.5f}" if apart.score <= MOST.score else str(apart.score)
    box = f"± {MOST.box:g} px" if apart.box <= MOST.box else str(apart.box)
    equal = sum(one["mask"] == other["mask"] for one, other in zip(found, expected, strict=True))
    return f"| {place} | {len(found)} | {best} | {score} | {box} | {equal} of {len(expected)} |"


def test_the_answer_is_the_same_in_all_of_them(
    server: TorchServe, archive: Path, picture: Path, cpp_program: Path, compiled_model: str, ray_url: str
) -> None:
    body = picture.read_bytes()
    answers = [
        over_rest(server, MODEL, body),
        predictions(server, data=body),
        in_cpp(cpp_program, archive, picture),
        over_rest(server, compiled_model, body),
        over_ray(ray_url, body),
    ]
    assert len(answers[0]["detections"]) >= 3
    for answer in answers:
        assert largest([answer], [answers[0]]).within(MOST)
        assert answer["image"] == answers[0]["image"]
    table = [*HEAD, *(line(place, answer, answers[0]) for place, answer in zip(PLACES, answers, strict=True))]
    assert "\n".join(table) in (ROOT / "README.md").read_text(), "\n".join(table)
