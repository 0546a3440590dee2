"""Packing: whole files only, whoever else writes the same name; nothing left behind."""

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from zipfile import ZipFile

import pytest

from export import archive
from export.errors import ExportError

SIZE = 1 << 20


@pytest.fixture
def archiver(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of torch-model-archiver: a zip of one file, full of the version's first letter."""

    def run(_: Path, name: str, version: str, scratch: Path) -> None:
        with ZipFile(scratch / f"{name}.mar", "w") as file:
            file.writestr("model.pt", version[0] * SIZE)

    monkeypatch.setattr(archive, "_run_archiver", run)


def content(made: Path) -> str:
    with ZipFile(made) as file:
        return file.read("model.pt").decode()


def test_two_at_once_leave_one_whole(archiver: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both, written = Barrier(2, timeout=60), []
    normalise = archive.normalise

    def normalise_together(source: Path, target: Path) -> None:
        both.wait()
        normalise(source, target)
        both.wait()  # neither is in its place before both are written
        written.append(target.name)

    monkeypatch.setattr(archive, "normalise", normalise_together)
    store = tmp_path / "store"
    with ThreadPoolExecutor() as pool:
        made = list(pool.map(lambda version: archive.archive(tmp_path, "pets", version, store), "ab"))
    assert made == [store / "pets.mar"] * 2
    assert content(made[0]) in ("a" * SIZE, "b" * SIZE)
    assert list(store.iterdir()) == [store / "pets.mar"]
    assert len(set(written)) == 2
    assert not [name for name in written if name.endswith(".mar")]  # TorchServe would load it


def test_a_full_store_is_named_and_the_older_archive_stays(
    archiver: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = archive.archive(tmp_path, "pets", "a", tmp_path / "store")

    def fill(_: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive, "normalise", fill)
    with pytest.raises(ExportError, match=f"the disk of {tmp_path}/store is full: {made} was not written"):
        archive.archive(tmp_path, "pets", "b", tmp_path / "store")
    assert content(made) == "a" * SIZE
    assert list(made.parent.iterdir()) == [made]


def test_a_store_is_not_made_by_the_question(tmp_path: Path) -> None:
    archive.check_store(tmp_path / "a" / "store")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "../up", ".hidden", "a b", "a" * 201])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(ExportError, match="model name must be at most 200 letters"):
        archive.check_name(name)


@pytest.mark.parametrize("version", ["", "../2.0", "-1", "2 0", "2/0", "v" * 21, "2.0\n"])
def test_a_version_that_no_address_could_hold_is_refused(version: str) -> None:
    with pytest.raises(ExportError, match="--version must be at most 20 letters"):
        archive.check_version(version)


@pytest.mark.parametrize("version", ["1.0", "2", "2026-11-23_a"])
def test_versions(version: str) -> None:
    assert archive.check_version(version) == version
