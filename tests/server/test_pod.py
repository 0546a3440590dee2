"""The commands of a container, run as the manifests run them, against the real server."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from server import pod as pods
from server.addresses import Addresses
from server.pod import Pod, drain
from server.torchserve import ServerError, TorchServe
from tests.served import MODEL, PICTURES, ROOT
from tests.test_broken_archives import CASES, make

PICTURE = PICTURES[0].read_bytes()


def pod_of(server: TorchServe, archive: Path) -> Pod:
    """The session's server as if it ran in a container."""
    return Pod(MODEL, archive.parent, server.home / "config.properties", server.home, server.temporary)


def asked(pod: Pod, command: str) -> subprocess.CompletedProcess[str]:
    """What a probe gets."""
    variables = {"MODEL_NAME": pod.model, "MODEL_STORE": str(pod.store), "TORCHSERVE_CONFIG": str(pod.config)}
    variables |= {"TORCHSERVE_HOME": str(pod.home), "TEMP": str(pod.temporary)}
    run = [sys.executable, "-m", "server.pod", command]
    return subprocess.run(run, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, timeout=60)


PROBES = pytest.mark.parametrize("probe", ["started", "ready"])


@PROBES
def test_a_server_that_answers_is_ready(probe: str, server: TorchServe, archive: Path) -> None:
    done = asked(pod_of(server, archive), probe)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def idle(server: TorchServe, archive: Path) -> Iterator[str]:
    """A model of the server without a worker: `/ping` says Healthy all the same."""
    query = f"url={archive.name}&model_name=idle&initial_workers=0"
    assert server.request("management", f"/models?{query}", method="POST")[0] == 200
    none = "min_worker=0&max_worker=0&synchronous=true"  # the archive's own minWorkers were started
    assert server.request("management", f"/models/idle?{none}", method="PUT")[0] == 200
    yield "idle"
    assert server.request("management", "/models/idle", method="DELETE")[0] == 200


@PROBES
def test_a_model_without_workers_is_not(probe: str, idle: str, server: TorchServe, archive: Path) -> None:
    assert b"Healthy" in server.request("inference", "/ping")[1]
    done = asked(replace(pod_of(server, archive), model=idle), probe)
    assert done.returncode == 2
    assert done.stderr == "error: idle is not ready (workers: none)\n"


@PROBES
def test_a_model_that_is_not_there_is_not(probe: str, server: TorchServe, archive: Path) -> None:
    assert asked(replace(pod_of(server, archive), model="nobodys"), probe).returncode == 2


@PROBES
def test_a_server_that_is_not_there_is_not(probe: str, server: TorchServe, archive: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "config.properties"
    elsewhere.write_text(Addresses.free().write_into((ROOT / "config.properties").read_text()))
    done = asked(replace(pod_of(server, archive), config=elsewhere), probe)
    assert done.returncode == 2
    assert done.stderr.startswith("error: demo is not ready")


@pytest.fixture
def broken(server: TorchServe, archive: Path) -> Iterator[str]:
    """A model whose worker is up and cannot load it: TorchServe says READY."""
    name = "of_no_use"
    make(archive, name, CASES["no_library"])
    query = f"url={name}.mar&model_name={name}&initial_workers=1&synchronous=true"
    assert server.request("management", f"/models?{query}", method="POST")[0] == 200
    yield name
    assert server.request("management", f"/models/{name}", method="DELETE")[0] == 200
    archive.with_name(f"{name}.mar").unlink()


def test_a_worker_that_cannot_load_is_not(broken: str, server: TorchServe, archive: Path) -> None:
    assert [worker["status"] for worker in server.workers(broken)] == ["READY"]
    for probe in ("started", "ready"):
        done = asked(replace(pod_of(server, archive), model=broken), probe)
        assert done.returncode == 2
        assert "libmaskrcnn_ops.so is missing" in done.stderr
        assert len(done.stderr.splitlines()) == 1


class Busy(TorchServe):
    """A server whose workers are up, and whose queue is so long that none says a word in time."""

    def request(self, _kind: str, path: str, *_: Any, **__: Any) -> tuple[int, bytes]:
        if "customized" in path:
            raise TimeoutError
        return 200, b'[{"workers": [{"status": "UNLOADING"}, {"status": "READY"}]}]'


def test_a_busy_server_stays_ready(tmp_path: Path) -> None:
    """Else all pods of a service would leave it at once, just when it is asked most."""
    assert Busy(tmp_path, tmp_path, 1, "", Addresses()).has_loaded(MODEL)


def test_what_waits_and_what_is_computed_is_answered_before_the_end(server: TorchServe, archive: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        under_way = [pool.submit(server.predict, MODEL, PICTURE) for _ in range(8)]
        time.sleep(0.1)  # drain's first wait is for those who come yet
        drain(pod_of(server, archive), leave=0)
        assert all(each.done() for each in under_way)
    assert [each.result()[0] for each in under_way] == [200] * 8


def test_a_server_that_is_never_quiet_is_said_to_be_so(
    server: TorchServe, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = iter(range(10**6))
    monkeypatch.setattr("server.management._processor_seconds", lambda _: float(next(spent)))
    with pytest.raises(ServerError, match="still asked"):
        drain(pod_of(server, archive), leave=0, timeout=0.5)


def test_a_pod_that_still_loads_has_nothing_to_wait_for(
    idle: str, server: TorchServe, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.management._processor_seconds", lambda _: time.monotonic())
    drain(replace(pod_of(server, archive), model=idle), leave=0, timeout=0.5)


def test_it_becomes_what_torchserve_starts(server: TorchServe, archive: Path) -> None:
    """To the letter: the command is written down here because TorchServe's own script stays beside its Java."""
    running = psutil.Process(server.pid).cmdline()
    assert pod_of(server, archive).command(Path(running[0])) == running


def test_run_becomes_it_in_its_folder(
    server: TorchServe, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[Any] = []
    monkeypatch.setattr("server.pod.os.execve", lambda *how: became.append((*how, Path.cwd())))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "in the way of the archive's")
    pod = replace(pod_of(server, archive), home=tmp_path / "run", temporary=tmp_path)
    pods.run(pod)
    ((program, command, variables, folder),) = became
    assert program == command[0] == f"{variables['JAVA_HOME']}/bin/java"
    assert (variables["TEMP"], variables["TMPDIR"]) == (str(tmp_path), str(tmp_path))
    assert "PYTHONPATH" not in variables
    assert folder == tmp_path / "run"


@pytest.mark.parametrize(
    ("files", "served"),
    [(["demo.mar"], "demo.mar"), (["other.mar"], "other.mar"), (["demo.mar", "other.mar"], "demo.mar")],
)
def test_the_archive_is_that_of_its_name_or_the_only_one(files: list[str], served: str, tmp_path: Path) -> None:
    for name in [*files, "notes.txt"]:
        (tmp_path / name).touch()
    assert Pod("demo", tmp_path, tmp_path, tmp_path, tmp_path).archive() == tmp_path / served


@pytest.mark.parametrize(("files", "told"), [([], "none"), (["a.mar", "b.mar"], "a.mar, b.mar")])
def test_no_archive_to_serve_is_told(files: list[str], told: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(ServerError, match=rf"must have demo\.mar, or one \.mar of another name, got {told}$"):
        Pod("demo", tmp_path, tmp_path, tmp_path, tmp_path).archive()


def test_a_container_without_a_model_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MODEL_NAME", raising=False)
    monkeypatch.setattr(sys, "argv", ["pod", "run"])
    assert pods.main() == 2
    assert capsys.readouterr().err.startswith("error: the environment must name the model: MODEL_NAME=")


@pytest.mark.parametrize("config", ["", "inference_address=http://0.0.0.0\n", "inference_address=http://a:1\n" * 2])
def test_a_configuration_without_ports_is_told(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.properties").write_text(config)
    monkeypatch.setenv("MODEL_NAME", "demo")
    monkeypatch.setenv("TORCHSERVE_CONFIG", str(tmp_path / "config.properties"))
    monkeypatch.setattr(sys, "argv", ["pod", "ready"])
    assert pods.main() == 2
    assert "must set inference_address once, with a port" in capsys.readouterr().err


def test_the_ports_that_are_read_are_those_that_are_written() -> None:
    addresses = Addresses(2001, 2002, 2003, 2004, 2005)
    assert Addresses.in_properties(addresses.write_into((ROOT / "config.properties").read_text())) == addresses
