"""What a name stands for, and the command."""

from pathlib import Path

import pytest

from export.download import Resolved, cache, named
from export.download.__main__ import main
from export.download.zoo import Checksum
from export.errors import ExportError
from tests.export.download.file_server import Shelf
from tests.export.download.pets import CONTENT, HASTE, MD5, SHA256, Publish, fetch, left_beside


def test_downloads_checks_and_says_so(shelf: Shelf, publish: Publish, capsys: pytest.CaptureFixture[str]) -> None:
    target = publish(shelf.url)
    assert named.resolve("47", HASTE) == Resolved(target, "some-preset", "family/pets")
    assert target.read_bytes() == CONTENT
    assert left_beside(target) == {"", ".lock", ".checked.json"}
    said = capsys.readouterr().err
    assert f"family/pets: {shelf.url} -> {target}" in said
    assert "family/pets: 100 % of 0.7 MB" in said
    assert f"sha256 {SHA256}, as published (sha256 beginning with {SHA256[:8]})" in said
    assert "\r" not in said


def test_what_is_there_and_checked_is_neither_asked_for_nor_read_again(
    shelf: Shelf, publish: Publish, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(shelf.url)
    fetch()
    capsys.readouterr()
    monkeypatch.delattr(cache, "digests")
    fetch()
    assert len(shelf.requests) == 1
    assert capsys.readouterr().err == ""


def test_a_file_of_the_users_wins_over_a_name(
    shelf: Shelf, publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(shelf.url)
    monkeypatch.chdir(tmp_path)
    Path("family").mkdir()
    Path("family/pets").touch()
    assert named.resolve("family/pets") == Resolved(Path("family/pets"), None, None)
    assert shelf.requests == []


def test_a_folder_does_not(shelf: Shelf, publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = publish(shelf.url)
    monkeypatch.chdir(tmp_path)
    Path("family/pets").mkdir(parents=True)
    assert fetch() == target


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ("family/pet", "'family/pet' does not exist, .* Did you mean family/pets\\?\npython -m export.download lists"),
        ("x/y.pth", "'x/y.pth' does not exist, and no published model has that name.\n"),
        ("/", "'/' is a folder, not a file, and no published model"),
    ],
)
def test_says_what_is_neither(publish: Publish, checkpoint: str, message: str) -> None:
    publish("https://host/model.pth")
    with pytest.raises(ExportError, match=message):
        named.resolve(checkpoint)


@pytest.mark.parametrize("checksum", [Checksum("md5", MD5[:6]), Checksum("sha256", SHA256)])
def test_takes_each_kind_of_checksum(shelf: Shelf, publish: Publish, checksum: Checksum) -> None:
    publish(shelf.url, checksum)
    assert fetch().read_bytes() == CONTENT


def test_says_where_there_is_no_checksum(shelf: Shelf, publish: Publish, capsys: pytest.CaptureFixture[str]) -> None:
    target = publish(shelf.url, None)
    fetch()
    assert f"sha256 {SHA256}, not compared: its publisher gives no checksum" in capsys.readouterr().err
    assert SHA256 in target.with_name(target.name + ".checked.json").read_text()


@pytest.mark.parametrize("checksum", [Checksum("md5", "00beef"), Checksum("sha256", "00beef00")])
def test_removes_what_is_not_what_was_published(shelf: Shelf, publish: Publish, checksum: Checksum) -> None:
    target = publish(shelf.url, checksum)
    with pytest.raises(ExportError, match=f"expected {checksum}, got sha256 {SHA256}; it was removed"):
        fetch()
    assert left_beside(target) == {".lock"}


def test_the_command_lists_fetches_and_refuses(
    shelf: Shelf, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    target = publish(shelf.url)
    assert main([]) == 0
    expected = f"family/pets = 47\n    sha256 beginning with {SHA256[:8]}, preset some-preset"
    assert capsys.readouterr().out == expected + "\n"
    assert main(["family/pets"]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    assert main([]) == 0
    assert capsys.readouterr().out == f"{expected}, in {target.parent}\n"
    assert main(["family/cars"]) == 2
    assert "error: checkpoint 'family/cars' does not exist" in capsys.readouterr().err
