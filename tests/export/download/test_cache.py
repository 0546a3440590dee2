"""The folder of downloaded files: filled by hand, by several at once, or not to be filled."""

import errno
import os
import threading
from pathlib import Path

import pytest

from export.download import cache, transfer
from export.errors import ExportError
from tests.export.download.file_server import Shelf
from tests.export.download.pets import CONTENT, Publish, fetch


def test_a_file_put_there_by_hand_is_checked_once(
    publish: Publish, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = publish("https://models.test/model.pth")
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    assert fetch() == target
    assert "as published" in capsys.readouterr().err
    monkeypatch.delattr(cache, "digests")
    assert fetch() == target


def test_a_wrong_one_is_refused_and_left_alone(publish: Publish) -> None:
    target = publish("https://models.test/model.pth")
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    fetch()
    target.write_bytes(b"something else")
    with pytest.raises(ExportError, match=f"{target} is not family/pets as published"):
        fetch()
    assert target.read_bytes() == b"something else"


def test_two_at_once_download_once(shelf: Shelf, publish: Publish, capsys: pytest.CaptureFixture[str]) -> None:
    shelf.held_up.clear()
    publish(shelf.url)
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(fetch().read_bytes())) for _ in range(3)]
    for thread in threads:
        thread.start()
    shelf.held_up.set()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 3
    assert len(shelf.requests) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to(shelf: Shelf, publish: Publish, folder: Path) -> None:
    publish(shelf.url)
    folder.mkdir(mode=0o500)
    with pytest.raises(ExportError, match="Permission denied\nMASKRCNN_CACHE chooses another folder"):
        fetch()


def test_a_cache_that_is_no_folder(shelf: Shelf, publish: Publish, folder: Path) -> None:
    target = publish(shelf.url)
    folder.touch()
    with pytest.raises(
        ExportError, match=f"cannot keep {shelf.url} in {target.parent}: Not a directory\nMASKRCNN_CACHE"
    ):
        fetch()


def test_a_disk_without_room_is_noticed_before(shelf: Shelf, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    publish(shelf.url)
    with pytest.raises(ExportError, match="1 MB are missing, .* has room for 0 MB"):
        fetch()


def test_a_disk_that_gets_full_meanwhile(shelf: Shelf, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(transfer, "_keep", full)
    target = publish(shelf.url)
    with pytest.raises(ExportError, match=f"cannot keep .* in {target.parent}: the disk is full"):
        fetch()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"MASKRCNN_CACHE": "/c", "XDG_CACHE_HOME": "/x"}, "/c"),
        ({"MASKRCNN_CACHE": "~/c"}, "/h/c"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/maskrcnn-serve"),
        ({"XDG_CACHE_HOME": "relative"}, "/h/.cache/maskrcnn-serve"),
        ({}, "/h/.cache/maskrcnn-serve"),
    ],
)
def test_the_folder_follows_the_environment(
    environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MASKRCNN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": "/h"} | environment).items():
        monkeypatch.setenv(name, value)
    assert cache.folder() == Path(expected)
