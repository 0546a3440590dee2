import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from server.addresses import Addresses
from server.torchserve import ServerError, TorchServe, _folder_for_sockets, fingerprint_of, start

CONFIG = Path(__file__).parents[2] / "config.properties"


def this_process(home: Path) -> TorchServe:
    created = psutil.Process().create_time()
    return TorchServe(home, home / "temporary", os.getpid(), created, "fingerprint", Addresses())


def test_a_running_server_is_found_again(tmp_path: Path) -> None:
    server = this_process(tmp_path)
    server.save()
    assert TorchServe.load(tmp_path) == server


def test_a_recycled_pid_is_not_taken_for_the_server(tmp_path: Path) -> None:
    replace(this_process(tmp_path), started=1.0).save()
    assert TorchServe.load(tmp_path) is None


@pytest.mark.parametrize("state", ["", '{"pid": 1', "{}", "[]", '{"temporary": 1, "addresses": {}}'])
def test_a_damaged_note_of_the_server_is_no_server(state: str, tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text(state)
    assert TorchServe.load(tmp_path) is None


def test_what_a_killed_server_left_is_removed_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = replace(this_process(tmp_path), started=1.0)
    killed.save()
    (killed.temporary / "models").mkdir(parents=True)
    (tmp_path / "model.mar").touch()

    def no_launch(*_: object) -> int:
        raise ServerError("not launched")

    monkeypatch.setattr("server.torchserve._launch", no_launch)
    monkeypatch.setattr("server.torchserve._folder_for_sockets", lambda: str(tmp_path))
    with pytest.raises(ServerError, match="not launched"):
        start(tmp_path, {"model": tmp_path / "model.mar"}, CONFIG, Addresses.free())
    assert not killed.temporary.exists()
    assert not list(tmp_path.glob("torchserve-*"))  # nor does the start that failed leave anything


def test_a_worker_that_outlived_its_killed_frontend_is_ended(tmp_path: Path) -> None:
    killed = replace(this_process(tmp_path), started=1.0)
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)", "--sock-name"]
    orphan = subprocess.Popen([*sleeping, str(killed.temporary / ".ts.sock.9000")])
    other = subprocess.Popen([*sleeping, str(tmp_path / "another" / ".ts.sock.9000")])
    try:
        killed.stop()
        assert not psutil.pid_exists(orphan.pid)  # ended, and waited for
        assert other.poll() is None
    finally:
        for each in (orphan, other):
            each.kill()
            each.wait()


def test_a_socket_fits_below_a_long_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 20)))
    assert _folder_for_sockets() == "/tmp"
    monkeypatch.setattr(tempfile, "tempdir", "/var/tmp")
    assert _folder_for_sockets() == "/var/tmp"


def test_no_server_was_ever_started(tmp_path: Path) -> None:
    assert TorchServe.load(tmp_path) is None


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"nothing\.mar is missing; make it with `make mar`"):
        start(tmp_path, {"nothing": tmp_path / "nothing.mar"}, CONFIG, Addresses.free())


def test_the_fingerprint_follows_archive_and_ports(tmp_path: Path) -> None:
    archive = tmp_path / "model.mar"
    archive.write_bytes(b"one")
    first = fingerprint_of(CONFIG, {"model": archive}, Addresses())
    assert fingerprint_of(CONFIG, {"model": archive}, Addresses()) == first
    assert fingerprint_of(CONFIG, {"model": archive}, Addresses.from_port(9080)) != first
    archive.write_bytes(b"another")
    assert fingerprint_of(CONFIG, {"model": archive}, Addresses()) != first
