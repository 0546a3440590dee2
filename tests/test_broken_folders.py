"""Temporary folders that TorchServe cannot unpack into, or that nothing may be executed from; they need root."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.addresses import Addresses
from server.torchserve import ServerError, TorchServe, start
from tests.reply_schema import error_of
from tests.served import MODEL, PICTURES, ROOT

pytestmark = pytest.mark.slow
PICTURE = PICTURES[2].read_bytes()
UNPACKED = 45 << 20  # bytes: the demo model once, but not twice


@pytest.fixture
def temporary(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system of its own, mounted with the options of the test, in which temporary folders are made."""
    with tempfile.TemporaryDirectory(prefix="mount-", dir="/tmp") as folder:  # short: sockets lie in it
        mount = ["mount", "-t", "tmpfs", "-o", request.param, "tmpfs", folder]
        if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("only root may mount, and not in every container")
        monkeypatch.setattr(tempfile, "tempdir", folder)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def own_server(archive: Path, temporary: Path, tmp_path: Path) -> Iterator[TorchServe]:
    running = start(tmp_path, {MODEL: archive}, ROOT / "config.properties", Addresses.free())
    assert temporary in running.temporary.parents
    try:
        yield running
    finally:
        running.stop()


@pytest.mark.parametrize("temporary", ["noexec"], indirect=True)
def test_noexec(own_server: TorchServe) -> None:
    with pytest.raises(ServerError, match="failed to map segment"):
        own_server.wait_until_ready(MODEL)
    status, body = own_server.predict(MODEL, PICTURE)
    error = error_of(body)
    assert (status, error["code"]) == (503, "model_not_loaded")
    assert "noexec" in error["message"]
    assert "set TEMP" in error["hint"]


@pytest.mark.parametrize("temporary", [f"size={UNPACKED}"], indirect=True)
def test_no_disk_left(own_server: TorchServe) -> None:
    """The extraction is TorchServe's own: it refuses, and goes on with what it has."""
    own_server.wait_until_ready(MODEL)
    query = f"url={MODEL}.mar&model_name=second&initial_workers=1&synchronous=true"
    status, body = own_server.request("management", f"/models?{query}", b"")
    assert (status, b"Failed to save model" in body) == (500, True)
    assert own_server.request("inference", "/predictions/second", PICTURE)[0] == 404
    assert own_server.predict(MODEL, PICTURE)[0] == 200
