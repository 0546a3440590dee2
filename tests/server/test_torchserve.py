import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from server.addresses import Addresses
from server.torchserve import ServerError, TorchServe, fingerprint_of, start

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
