"""What `python -m server` does before it starts, and what it says where something of the user's does not fit."""

import socket
import sys
from pathlib import Path

import pytest

from server import __main__ as commands
from server.addresses import HOST, Addresses
from server.torchserve import ServerError, TorchServe


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Addresses]:
    """The addresses of each TorchServe that would have been started."""
    seen: list[Addresses] = []

    def start(_home: Path, _archives: dict[str, Path], _config: Path, addresses: Addresses) -> TorchServe:
        seen.append(addresses)
        return TorchServe(Path(), Path(), 0, "", addresses)

    monkeypatch.setattr(commands, "start", start)
    monkeypatch.setattr(TorchServe, "wait_until_ready", lambda *_: 0.1)
    return seen


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TorchServe:
    """What passes for the running server of this checkout, on ports of its own."""
    server = TorchServe(tmp_path, tmp_path, 0, "old", Addresses.free())
    server.save()
    monkeypatch.setattr(TorchServe, "is_running", lambda _: True)
    monkeypatch.setattr(commands, "HOME", tmp_path)
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    return server


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["server", *arguments])
    return commands.main()


@pytest.fixture
def mar(tmp_path: Path) -> str:
    (tmp_path / "demo.mar").write_bytes(b"x")
    return str(tmp_path / "demo.mar")


def test_a_changed_archive_is_served_where_the_last_one_was(
    running: TorchServe, started: list[Addresses], mar: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[TorchServe] = []
    monkeypatch.setattr(TorchServe, "stop", lambda server: stopped.append(server))
    assert run(monkeypatch, "start", mar, "--name", "demo") == 0
    assert (stopped, started) == ([running], [running.addresses])


def test_without_a_server_the_default_ports_are_taken(
    tmp_path: Path, started: list[Addresses], mar: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "HOME", tmp_path / "build")
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    assert run(monkeypatch, "start", mar, "--name", "demo") == 0
    assert started == [Addresses()]


def test_a_server_is_not_stopped_for_one_that_cannot_start(
    running: TorchServe,
    started: list[Addresses],
    mar: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(TorchServe, "stop", lambda _: pytest.fail("stopped"))
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setattr(Addresses, "from_port", lambda _: Addresses(port))
        assert run(monkeypatch, "start", mar, "--name", "demo", "--port", str(port)) == 2
    assert f"port {port} is taken by another process" in capsys.readouterr().err
    assert started == []


@pytest.mark.parametrize("port", ["abc", "-1", "80", "70000"])
def test_a_port_that_is_none_is_told(
    port: str, mar: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, "start", mar, "--name", "demo", f"--port={port}")
    assert f"got {port}\n" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["ready", "predict", "versions", "scale 2", "rollback 1.0", "unregister 1.0"])
def test_a_name_that_is_not_served_is_told(
    command: str, running: TorchServe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(TorchServe, "models", lambda _: ["demo", "mine"])
    verb, *more = command.split()
    assert run(monkeypatch, verb, "--name", "wrong", *more) == 2
    told = "error: the server has no model wrong; name one that it has: NAME=demo or NAME=mine\n"
    assert capsys.readouterr().err == told


def test_a_server_that_tells_no_names_is_asked_all_the_same(running: TorchServe) -> None:
    assert running.models() == []  # nothing listens there
    assert commands.server_of("demo") == running


def test_no_server_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "HOME", tmp_path)
    with pytest.raises(ServerError, match="start it with `make serve`"):
        commands.server_of("demo")
