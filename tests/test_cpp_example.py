"""The C++ program answers as the server does: built from examples/cpp, with pictures of every kind and size."""

import io
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from handler.draw import decode_mask
from handler.images import decode_image
from handler.requests.incoming import Incoming
from handler.worker import Worker
from tests.handler.picture_cases import CASES
from tests.reply_schema import parsed
from tests.served import MODEL, PICTURES, ROOT

pytestmark = pytest.mark.slow

SIZES = [(64, 48), (320, 240), (31, 500), (640, 427), (1333, 800), (1, 1)]  # width, height
BOTH_READ = [name for name, case in CASES.items() if case.body().startswith((b"\xff\xd8\xff", b"\x89PNG"))]
SKIPPED_OVER = ("huge_profile", "huge_text")  # parts of a PNG that Pillow unpacks, and so the server refuses


@pytest.fixture(scope="module")
def folder(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked archive."""
    target = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(target)
    return target


@pytest.fixture
def threads_kept() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run(cpp_program: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    command = [cpp_program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def detected(cpp_program: Path, *arguments: object) -> Any:
    done = run(cpp_program, *arguments)
    assert done.returncode == 0, done.stderr
    return parsed(done.stdout.encode())


def served(worker: Worker, body: bytes) -> Any:
    (reply,) = worker.answer([Incoming({"body": body})], lambda *_: None)
    return parsed(reply.body)


def scene(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.open(PICTURES[1]).resize((width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def without_numbers(answer: Any) -> Any:
    return answer | {"detections": [one | {"score": 0, "box": []} for one in answer["detections"]]}


def numbers(answer: Any, key: str) -> NDArray[np.float64]:
    return np.array([one[key] for one in answer["detections"]])


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.usefixtures("threads_kept")
def test_a_png_gets_the_answer_of_the_server(
    cpp_program: Path, archive: Path, folder: Path, tmp_path: Path, threads: int
) -> None:
    worker, found = Worker.load(folder, {"detection": {"threads": threads}}, MODEL, "1.0"), 0
    for size in SIZES:
        picture = tmp_path / "picture.png"
        picture.write_bytes(scene(*size))
        theirs, ours = (
            served(worker, picture.read_bytes()),
            detected(cpp_program, archive, picture, "--threads", threads),
        )
        assert without_numbers(ours) == without_numbers(theirs)  # names, labels, order and masks, to the byte
        assert np.allclose(numbers(ours, "box"), numbers(theirs, "box"), rtol=0, atol=1e-3)
        assert np.allclose(numbers(ours, "score"), numbers(theirs, "score"), rtol=0, atol=1e-5)
        found += len(ours["detections"])
    assert found > 10


@pytest.mark.parametrize("picture", PICTURES[:3], ids=lambda path: path.name)
@pytest.mark.usefixtures("threads_kept")
def test_a_jpeg_gets_the_answer_of_the_server(cpp_program: Path, folder: Path, picture: Path) -> None:
    theirs = served(Worker.load(folder, {"detection": {"threads": 2}}, MODEL, "1.0"), picture.read_bytes())
    ours = detected(cpp_program, folder / "model.pt", picture, "--threads", 2)
    assert ours["detections"]
    assert [one["label"] for one in ours["detections"]] == [one["label"] for one in theirs["detections"]]
    for one, other in zip(ours["detections"], theirs["detections"], strict=True):
        assert coco.iou([one["mask"]], [other["mask"]], [0])[0, 0] >= 0.98  # two decoders of JPEG may differ


@pytest.mark.parametrize("name", BOTH_READ)
def test_pixels_are_read_as_the_server_reads_them(cpp_program: Path, archive: Path, tmp_path: Path, name: str) -> None:
    picture, drawn, case = tmp_path / "picture", tmp_path / "drawn.png", CASES[name]
    picture.write_bytes(case.body())
    done = run(cpp_program, archive, picture, "--score-threshold", 1, "--out", drawn)  # nothing is drawn over it
    if name in SKIPPED_OVER:
        assert (done.returncode, done.stderr) == (0, "")
        return
    if case.pixels is None:
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"detect: {picture}: ")
        return
    assert done.returncode == 0, done.stderr
    expected = decode_image(picture.read_bytes(), 50_000_000).numpy().astype(int)
    differences = np.abs(np.array(Image.open(drawn)).astype(int) - expected)
    assert differences.max() <= (0 if case.body().startswith(b"\x89PNG") else 1)  # two decoders of JPEG may round


def test_masks_and_boxes_are_drawn_and_nothing_else_is_touched(
    cpp_program: Path, archive: Path, tmp_path: Path
) -> None:
    picture, drawn = tmp_path / "picture.png", tmp_path / "drawn.png"
    picture.write_bytes(scene(320, 240))
    found = detected(cpp_program, archive, picture, "--score-threshold", 0.5, "--out", drawn)["detections"]
    changed = (np.array(Image.open(drawn)) != np.array(Image.open(picture).convert("RGB"))).any(2)
    touched = np.zeros_like(changed)
    for one in found:
        left, top, right, bottom = (int(side) for side in one["box"])
        touched[max(0, top - 1) : bottom + 2, max(0, left - 1) : right + 2] = True
        inside = decode_mask(one["mask"])
        assert changed[inside].mean() > 0.99
    assert found
    assert not changed[~touched].any()


def test_options_choose_what_is_answered(cpp_program: Path, archive: Path) -> None:
    every = detected(cpp_program, archive, PICTURES[0])["detections"]
    assert [one for one in every if one["score"] > 0.9] == detected(
        cpp_program, archive, PICTURES[0], "--score-threshold", 0.9
    )["detections"]
    assert detected(cpp_program, archive, PICTURES[0], "--max-detections", 2)["detections"] == every[:2]
    strict = detected(cpp_program, archive, PICTURES[0], "--mask-threshold", 0.9, "--max-detections", 1)["detections"]
    assert coco.area([strict[0]["mask"]])[0] < coco.area([every[0]["mask"]])[0]


def test_what_the_user_must_change_is_one_line(cpp_program: Path, archive: Path, folder: Path, tmp_path: Path) -> None:
    picture = PICTURES[0]
    bare, damaged, alone = tmp_path / "bare", tmp_path / "damaged.mar", tmp_path / "alone"
    bare.mkdir()
    shutil.copy(folder / "model.pt", bare)
    shutil.copy(folder / "model_card.json", bare)
    alone.mkdir()
    shutil.copytree(folder / "ops", alone / "ops")
    damaged.write_bytes(b"no zip at all")
    half = tmp_path / "half.mar"
    half.write_bytes(archive.read_bytes()[: 1 << 20])
    compiled, package = tmp_path / "compiled.mar", tmp_path / "model.pt2"
    package.write_bytes(b"a package")
    with zipfile.ZipFile(compiled, "w") as packed:
        packed.write(package, package.name)
    text = tmp_path / "text.so"
    text.write_text("no library")
    for arguments, said in (
        ((), "a model and a picture are needed"),
        ((archive,), "a model and a picture are needed"),
        ((archive, picture, "--colour"), "no option --colour"),
        ((archive, picture, "--threads"), "--threads lacks its value"),
        ((archive, picture, "--threads", "0"), "--threads must be from 1 to 1024, got 0"),
        ((archive, picture, "--score-threshold", "nan"), "--score-threshold must be"),
        ((archive, picture, "--out", "drawn.jpg"), "--out must end in .png"),
        ((archive, picture, "--out", tmp_path / "nowhere" / "drawn.png"), "cannot be written"),
        ((archive, picture, "--device", "tpu"), "--device must be cpu or cuda"),
        ((archive, tmp_path / "gone.jpg"), "gone.jpg cannot be read"),
        ((archive, tmp_path), "cannot be read"),
        ((archive, ROOT / "README.md"), "neither a JPEG nor a PNG"),
        ((tmp_path / "gone.mar", picture), "gone.mar is not there"),
        ((damaged, picture), "is no .mar"),
        ((half, picture), "is no .mar"),
        ((compiled, picture), "compiled.mar holds a model.pt2, which only the server runs"),
        ((package, picture), "export without --runtime aoti"),
        ((bare / "model.pt", picture), "lacks libmaskrcnn_ops.so"),
        ((alone / "model.pt", picture), "model.pt is not there"),
        ((bare / "model.pt", picture, "--ops", text), "the op library does not load"),
    ):
        done = run(cpp_program, *arguments)
        assert (done.returncode, done.stdout) == (2, ""), (arguments, done)
        assert done.stderr.startswith("detect: ")
        assert said in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
    if not torch.cuda.is_available():
        assert "sees no GPU" in run(cpp_program, archive, picture, "--device", "cuda").stderr


def test_a_library_that_lies_elsewhere_is_named(cpp_program: Path, folder: Path, tmp_path: Path) -> None:
    for name in ("model.pt", "model_card.json"):
        shutil.copy(folder / name, tmp_path)
    answer = detected(cpp_program, tmp_path / "model.pt", PICTURES[0], "--ops", folder / "ops/lib/libmaskrcnn_ops.so")
    assert (answer["model"], answer["version"]) == ("model", "")
    assert answer["detections"] == detected(cpp_program, folder / "model.pt", PICTURES[0])["detections"]


def test_a_damaged_trace_is_no_crash(cpp_program: Path, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model" / "model.pt").write_bytes((folder / "model.pt").read_bytes()[:100_000])
    done = run(cpp_program, tmp_path / "model" / "model.pt", PICTURES[0])
    assert done.returncode == 2
    assert done.stderr.startswith("detect: model.pt does not load: ")
    assert done.stderr.count("\n") == 1
