"""What the front ends of ``examples/`` share: they load and ask the worker of an archive as TorchServe does."""

import sys
from pathlib import Path
from typing import Any, cast
from zipfile import ZipFile

import pytest

from examples.archives import Unpacked, answer, worker_of
from handler.replies.reply import Reply
from handler.requests.incoming import Incoming
from handler.worker import Worker
from tests.reply_schema import error_of


class Failing:
    """A worker that raises."""

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


def test_an_archive_is_unpacked_for_as_long_as_it_is_wanted(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "a.mar", "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", "{}")
    unpacked = Unpacked(str(tmp_path / "a.mar"))
    path = unpacked.path
    assert (path / "MAR-INF" / "MANIFEST.json").read_text() == "{}"
    unpacked.close()
    assert not path.exists()
    folder = Unpacked(str(tmp_path))
    folder.close()
    assert folder.path == tmp_path
    assert (tmp_path / "a.mar").exists()


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
