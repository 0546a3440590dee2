"""What the front ends of ``examples/`` share: they load and ask the worker of an archive as TorchServe does."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile, ZipFile

import pytest

from examples.archives import WorkerThread, answer, unpacked, worker_of
from handler.replies.reply import Reply
from handler.requests.incoming import Incoming
from handler.worker import Worker
from tests.reply_schema import error_of


class Failing:
    """A worker that raises."""

    model, version = "demo", "1.0"

    def __init__(self, error: Exception) -> None:
        self._error = error

    def answer(self, requests: Any, observe: Any) -> list[Reply]:
        raise self._error


@pytest.mark.parametrize(
    ("error", "status", "code", "broken"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered"), 503, "device_failed", True),
        (RuntimeError("could not create a primitive"), 503, "device_failed", True),
        (IndexError("secret"), 500, "internal_error", False),
    ],
    ids=["GPU", "oneDNN", "bug"],
)
def test_what_the_worker_raises_is_a_reply_to_each(error: Exception, status: int, code: str, broken: bool) -> None:
    replies, gone = answer(cast(Worker, Failing(error)), [Incoming({})] * 3)
    assert gone is broken
    assert [(reply.status, error_of(reply.body)["code"]) for reply in replies] == [(status, code)] * 3
    assert all(reply.headers == {"X-Detect-Error": code} and b"secret" not in reply.body for reply in replies)


@pytest.mark.parametrize(("text", "broken"), [("CUDA error: misaligned address", True), ("a bug", False)])
def test_a_process_is_told_when_its_device_is_broken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, broken: bool
) -> None:
    monkeypatch.setattr("examples.archives.worker_of", lambda *_: Failing(RuntimeError(text)))
    worker = WorkerThread(str(tmp_path), "demo", 1, 4)
    worker.check()
    assert len(asyncio.run(worker.answer([Incoming({})] * 2))) == 2
    with pytest.raises(RuntimeError, match="device failed") if broken else nullcontext():
        worker.check()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MASKRCNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "unpacked"


def packed(path: Path, text: str) -> str:
    with ZipFile(path, "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", text)
    return str(path)


def test_an_archive_is_unpacked_once_for_all(tmp_path: Path, cache: Path) -> None:
    """By what is in it: another archive of the same name has another folder."""
    archive = packed(tmp_path / "a.mar", "{}")
    folder = unpacked(archive)
    (folder / "mark").touch()
    assert unpacked(archive) == folder
    assert (folder / "mark").exists()
    assert (folder / "MAR-INF" / "MANIFEST.json").read_text() == "{}"
    other = unpacked(packed(tmp_path / "a.mar", "[]"))
    assert (other / "MAR-INF" / "MANIFEST.json").read_text() == "[]"
    assert sorted(cache.iterdir()) == sorted([folder, other])
    assert unpacked(str(tmp_path)) == tmp_path


def test_processes_that_unpack_at_once_find_it_whole(tmp_path: Path, cache: Path) -> None:
    archive = packed(tmp_path / "a.mar", "x" * 100_000)
    with ThreadPoolExecutor(8) as pool:
        folders = {*pool.map(unpacked, [archive] * 8)}
    assert {*cache.iterdir()} == folders
    assert len((folders.pop() / "MAR-INF" / "MANIFEST.json").read_text()) == 100_000


def test_a_damaged_archive_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "a.mar").write_bytes(b"no archive")
    with pytest.raises(BadZipFile):
        unpacked(str(tmp_path / "a.mar"))
    assert [*cache.iterdir()] == []


def test_the_worker_gets_the_settings_of_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(Worker, "load", lambda *arguments: asked.extend(arguments))
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "model-config.yaml").write_text(
        "batchSize: 4\nmaxWorkers: 7\ndetection:\n  max_pixels: 99\n  threads: 5\n"
    )
    (tmp_path / "MAR-INF").mkdir()
    (tmp_path / "MAR-INF" / "MANIFEST.json").write_text('{"model": {"modelVersion": "2.1"}}')
    worker_of(tmp_path, "mine", threads=3, batch=16)
    config = {"batchSize": 16, "maxWorkers": 7, "detection": {"max_pixels": 99, "threads": 3}}
    assert asked == [tmp_path, config, "mine", "2.1", None]
    assert sys.path[0] == str(tmp_path)
