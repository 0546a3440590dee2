import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from server.addresses import Addresses
from server.java import java_home
from server.torchserve import PROGRAMS, ServerError, TorchServe, _folder_for_sockets, environment, fingerprint_of, start

CONFIG = Path(__file__).parents[2] / "config.properties"


def ended(home: Path) -> TorchServe:
    """A server that has ended, and whose pid another process has now: this one."""
    return TorchServe(home, home / "temporary", os.getpid(), "fingerprint", Addresses())


@pytest.fixture
def running(tmp_path: Path) -> Iterator[TorchServe]:
    """What passes for a server that runs."""
    command = [sys.executable, "-c", "import time; time.sleep(60)", f"-Djava.io.tmpdir={tmp_path / 'temporary'}"]
    process = subprocess.Popen(command)
    yield replace(ended(tmp_path), pid=process.pid)
    process.kill()
    process.wait()


def test_a_running_server_is_found_again(running: TorchServe) -> None:
    running.save()
    assert TorchServe.load(running.home) == running


def test_it_is_found_after_the_clock_was_set(running: TorchServe, monkeypatch: pytest.MonkeyPatch) -> None:
    running.save()
    # Linux reckons when it was started from the clock of now, and psutil when a process was from that.
    booted = psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: booted + 1)
    assert TorchServe.load(running.home) == running


def test_a_recycled_pid_is_not_taken_for_the_server(tmp_path: Path) -> None:
    ended(tmp_path).save()
    assert TorchServe.load(tmp_path) is None


def test_a_server_that_ends_while_it_loads_is_told_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TorchServe, "is_ready", lambda *_: False)
    (tmp_path / "torchserve.log").write_text(
        "an old line\n" * 10 + "java.io.IOException: Failed to bind to address /127.0.0.1:7070\n\tat a.b.C(C.java:1)\n"
    )
    with pytest.raises(ServerError, match=r"ended while it loaded demo; the last lines of \S+torchserve.log:") as error:
        ended(tmp_path).wait_until_ready("demo")
    said = str(error.value).splitlines()
    assert said[1:] == ["an old line"] * 9 + ["java.io.IOException: Failed to bind to address /127.0.0.1:7070"]


@pytest.mark.parametrize("state", ["", '{"pid": 1', "{}", "[]", '{"temporary": 1, "addresses": {}}'])
def test_a_damaged_note_of_the_server_is_no_server(state: str, tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text(state)
    assert TorchServe.load(tmp_path) is None


def test_what_a_killed_server_left_is_removed_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = ended(tmp_path)
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
    killed = ended(tmp_path)
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


def test_workers_can_be_ended_where_the_system_has_no_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(java_home()))  # the machine's own may be on the PATH only
    monkeypatch.setenv("PATH", str(tmp_path))
    search = environment(tmp_path)["PATH"]
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        program = shutil.which("kill", path=search)
        assert program == str(PROGRAMS / "kill")
        assert subprocess.run([program, "-9", str(worker.pid)]).returncode == 0
        assert worker.wait(60) == -9
    finally:
        worker.kill()


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
