"""A container's whole life, with what the kernel has for one (see container.py): started, asked, drained, ended."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request

import pytest

from server.addresses import Addresses, open_url
from tests.deploy.container import Container, can_be_made
from tests.deploy.dockerfile import image
from tests.deploy.manifests import CONFIG, CONTAINER, Document
from tests.served import MODEL, PICTURES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_be_made(), reason="no root that may make namespaces and mounts"),
]
PROBES = {name: CONTAINER[name]["exec"]["command"] for name in ("startupProbe", "readinessProbe")}
HOOK = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]


class Running(Container):
    """The Deployment's container with the demo model, on ports of its own."""

    def __init__(self, folder: Path, archive: Path, tmp: str = "exec") -> None:
        self.addresses = Addresses.free()
        (folder / "config").mkdir()
        (folder / "config" / "config.properties").write_text(self.addresses.write_into(CONFIG))
        (folder / "models").mkdir()  # pytest's own folder is closed to the image's user
        shutil.copyfile(archive, folder / "models" / archive.name)
        variables = {each["name"]: each["value"] for each in CONTAINER["env"]}
        mounts = {"/config": folder / "config", "/models": folder / "models"}
        super().__init__(image(), folder, variables, mounts, tmp)

    def predict(self, picture: bytes) -> Document:
        """The answer to a picture, asked for without a token."""
        url = f"{self.addresses.inference_url}/predictions/{MODEL}"
        with open_url(Request(url, picture, {"Content-Type": "image/jpeg"}), timeout=120) as answer:
            read: Document = json.loads(answer.read())
        return read

    def wait_for(self, probe: str, seconds: float = 120) -> None:
        """Until the probe succeeds."""
        end = time.monotonic() + seconds
        while (done := self.run(*PROBES[probe])).returncode:
            assert time.monotonic() < end, done.stderr + self.log.read_text()
            time.sleep(0.5)


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that another user may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="container-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def started(folder: Path, archive: Path) -> Iterator[Running]:
    running = Running(folder, archive)
    try:
        yield running
    finally:
        running.kill()


def test_a_whole_life(started: Running) -> None:
    first = started.run(*PROBES["startupProbe"])
    assert (first.returncode, first.stdout) == (2, "")
    assert "not ready" in first.stderr
    started.wait_for("startupProbe")
    assert started.run(*PROBES["readinessProbe"]).returncode == 0
    with open_url(f"{started.addresses.inference_url}{CONTAINER['livenessProbe']['httpGet']['path']}") as ping:
        assert ping.status == 200
    with open_url(f"{started.addresses.metrics_url}/metrics") as scrape:
        assert scrape.status == 200
    picture = PICTURES[0].read_bytes()
    assert started.predict(picture)["detections"]
    assert_nothing_is_allowed(started)
    with ThreadPoolExecutor(8) as pool:
        under_way = [pool.submit(started.predict, picture) for _ in range(8)]
        assert started.run(*HOOK).returncode == 0
        assert all(each.done() for each in under_way)
        assert started.end() == 128 + 15  # by the signal that a cluster sends
    assert all(each.result()["detections"] for each in under_way)


def assert_nothing_is_allowed(started: Running) -> None:
    """Neither to the frontend, which is process 1 itself, nor to a worker."""
    assert Path(started.process.exe()).name == "java"
    for process in (started.process, *started.process.children()):
        assert (process.uids().effective, process.gids().effective) == (10001, 10001)
        status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        assert {line.split()[1] for line in status if line.startswith("Cap")} == {"0" * 16}
        assert "NoNewPrivs:\t1" in status
    for path in ("/app/x", "/models/x", "/config/x", "/opt/venv/x", "/x", "/var/x"):
        assert started.run("touch", path).returncode != 0, path
    assert started.run("ls", "/run/torchserve/logs").stdout.split()
    assert started.run("ls", "/tmp/models").stdout.split()


def test_a_tmp_that_runs_nothing_is_told(folder: Path, archive: Path) -> None:
    running = Running(folder, archive, tmp="noexec")
    try:
        end = time.monotonic() + 120
        while "model_not_loaded" not in (done := running.run(*PROBES["startupProbe"])).stderr:
            assert time.monotonic() < end, done.stderr + running.log.read_text()
            time.sleep(0.5)
        assert "noexec" in done.stderr
        ready = running.run(*PROBES["readinessProbe"])
        assert ready.returncode == 2
        assert "noexec" in ready.stderr
        with pytest.raises(HTTPError, match="503") as refused:
            running.predict(PICTURES[0].read_bytes())
        refused.value.close()
    finally:
        running.kill()
