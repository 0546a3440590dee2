"""Pictures through Ray Data to COCO JSON: as the worker alone answers them, once each, killed on the way or not."""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.ray_nodes import environment
from handler.metrics import ignore
from handler.requests.incoming import Incoming
from handler.worker import Worker
from tests.ray_installed import skip_without_ray
from tests.served import PICTURES, ROOT
from tests.unpacked import one_thread_worker

skip_without_ray()
pytestmark = pytest.mark.slow

FEW = PICTURES[:6]
BAD = {"cut.jpg": "truncated_image", "kserve.jpg": "not_an_image", "text.jpg": "unsupported_media_type"}


def command(archive: Path, pictures: Path | str, out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "examples.ray_data", str(archive), str(pictures), str(out), *options]


def surroundings(archive: Path) -> dict[str, str]:
    return environment(haproxy=False) | {"MASKRCNN_CACHE": str(archive.parent / "cache")}


def run(archive: Path, pictures: Path | str, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(archive, pictures, out, *options),
        cwd=ROOT,
        env=surroundings(archive),
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


@pytest.fixture(scope="module")
def worker(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with one_thread_worker(archive, tmp_path_factory.mktemp("unpacked")) as loaded:
        yield loaded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Good pictures, one of them deeper, bad ones, and what is no picture by its name."""
    pictures = tmp_path / "pictures"
    (pictures / "deeper").mkdir(parents=True)
    for path in FEW:
        (pictures / path.name).write_bytes(path.read_bytes())
    (pictures / FEW[0].name).rename(pictures / "deeper" / FEW[0].name)
    (pictures / "cut.jpg").write_bytes(FEW[0].read_bytes()[:3000])
    picture = base64.b64encode(FEW[0].read_bytes()).decode()
    (pictures / "kserve.jpg").write_text(json.dumps({"instances": [picture, picture]}))
    (pictures / "text.jpg").write_text("no picture")
    (pictures / "truth.json").write_text("{}")
    return pictures


def answered(out: Path) -> dict[str, list[Any]]:
    """The results of each picture, by its name; an image or an id twice fails."""
    images = json.loads((out / "images.json").read_text())["images"]
    names = {each["id"]: each["file_name"] for each in images}
    assert len(names) == len(images) == len(set(names.values()))
    by_name: dict[str, list[Any]] = {name: [] for name in names.values()}
    for result in json.loads((out / "results.json").read_text()):
        by_name[names[result["image_id"]]].append(result | {"image_id": 0})
    return by_name


def errors(out: Path) -> dict[str, str]:
    lines = [json.loads(line) for line in (out / "errors.jsonl").read_text().splitlines()]
    assert len({line["file"] for line in lines}) == len(lines)
    return {line["file"]: line["error"]["code"] for line in lines}


def alone(worker: Worker, path: Path) -> list[Any]:
    (reply,) = worker.answer([Incoming({"body": path.read_bytes()}, {"x-detect-format": "coco"})], ignore)
    results: list[Any] = json.loads(reply.body)
    return results


def test_a_folder_is_answered_once_and_as_the_worker_alone_does(
    archive: Path, worker: Worker, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run(archive, folder, out, "--batch", "3")
    assert done.returncode == 1, done.stderr
    expected = {path.name: alone(worker, path) for path in FEW[1:]}
    assert answered(out) == expected | {f"deeper/{FEW[0].name}": alone(worker, FEW[0])}
    assert any(expected.values())
    assert errors(out) == BAD
    parts = {path: path.stat().st_mtime_ns for path in (out / "parts").iterdir()}
    again = run(archive, folder, out)
    assert again.returncode == 1
    assert f"{len(FEW)} answered, {len(BAD)} not ({len(FEW) + len(BAD)} of an earlier run)" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in (out / "parts").iterdir()} == parts


@contextmanager
def begun(archive: Path, pictures: Path, out: Path) -> Iterator[psutil.Process]:
    """A run of one picture a batch that has some of its answers; killed at the end if it still runs."""
    asked = command(archive, pictures, out, "--batch", "1")
    program = subprocess.Popen(asked, cwd=ROOT, env=surroundings(archive), stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 300
        while len([*out.glob("parts/*.jsonl")]) < 2:
            assert program.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        yield psutil.Process(program.pid)
    finally:
        program.kill()
        program.wait()


def test_killed_in_the_middle_it_goes_on_and_answers_each_once(archive: Path, worker: Worker, tmp_path: Path) -> None:
    out, pictures = tmp_path / "out", PICTURES[0].parent
    with begun(archive, pictures, out) as program:
        below = program.children(recursive=True)
        program.kill()
    end = time.monotonic() + 60
    while left := [each for each in below if is_worker(each)]:  # its workers end with it
        assert time.monotonic() < end, left
        time.sleep(0.1)
    for agent in below:  # Ray's take a minute or two to see that they are alone
        with suppress(psutil.NoSuchProcess):
            agent.kill()
    first = len([*out.glob("parts/*.jsonl")])
    assert not (out / "results.json").exists()
    assert 2 <= first < len(PICTURES)
    done = run(archive, pictures, out)
    assert done.returncode == 0, done.stderr
    assert f"{len(PICTURES)} answered, 0 not ({first} of an earlier run)" in done.stdout
    assert answered(out) == {path.name: alone(worker, path) for path in PICTURES}


def test_a_worker_that_is_killed_is_replaced_and_each_is_answered_once(
    archive: Path, worker: Worker, tmp_path: Path
) -> None:
    out, pictures = tmp_path / "out", PICTURES[0].parent
    with begun(archive, pictures, out) as program:
        workers = [each for each in program.children(recursive=True) if is_worker(each)]
        assert len(workers) == 1
        workers[0].kill()
        assert program.wait(300) == 0
    assert answered(out) == {path.name: alone(worker, path) for path in PICTURES}
    assert errors(out) == {}


def is_worker(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline()).startswith("ray::MapWorker")
    return False


def test_a_listing_names_paths_and_urls_and_what_is_missing_is_tried_again(
    archive: Path, worker: Worker, tmp_path: Path
) -> None:
    """``file://`` is pyarrow's, ``local://`` is fsspec's; of a kind that nobody knows there is an error line."""
    late, listing, out = tmp_path / "late.jpg", tmp_path / "pictures.txt", tmp_path / "out"
    (tmp_path / "near.jpg").write_bytes(FEW[0].read_bytes())
    lines = ["near.jpg", str(FEW[1]), f"file://{FEW[2]}", f"local://{FEW[3]}", "late.jpg", "nosuch://bucket/a.jpg"]
    listing.write_text("\n".join([*lines, "", lines[0]]) + "\n")
    assert run(archive, listing, out).returncode == 1
    assert answered(out) == {line: alone(worker, path) for line, path in zip(lines[:4], FEW, strict=False)}
    assert errors(out) == {"late.jpg": "unreadable", "nosuch://bucket/a.jpg": "unreadable"}
    late.write_bytes(FEW[4].read_bytes())
    done = run(archive, listing, out, "--workers", "2")
    assert "5 answered, 1 not (4 of an earlier run)" in done.stdout, done.stderr
    assert answered(out)["late.jpg"] == alone(worker, FEW[4])


@pytest.mark.parametrize("what", ["pictures", "archive"])
def test_what_is_missing_is_said_in_a_line(archive: Path, tmp_path: Path, what: str) -> None:
    given = {"archive": archive, "pictures": FEW[0].parent} | {what: tmp_path / "missing"}
    done = run(given["archive"], given["pictures"], tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert str(tmp_path / "missing") in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_answers_of_another_question_are_not_mixed_in(archive: Path, tmp_path: Path) -> None:
    empty, out = tmp_path / "empty", tmp_path / "out"
    empty.mkdir()
    assert run(archive, empty, out).returncode == 0
    done = run(archive, empty, out, "--option", "masks=none")
    assert done.returncode == 2
    assert "give another folder" in done.stderr
