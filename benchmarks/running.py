"""A TorchServe of the benchmark's own: on free ports, in a folder that goes with it, with the options to measure."""

import multiprocessing
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load import Target
from benchmarks.repack import Deployment, repack
from server import tokens
from server.addresses import HOST, Addresses
from server.torchserve import TorchServe, start

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "model_store" / "demo.mar"


@contextmanager
def running(archives: Mapping[str, Path]) -> Iterator[TorchServe]:
    """Ready with all models; stopped at the end.

    Args:
        archives: Model name to ``.mar``, all in one folder.
    """
    with tempfile.TemporaryDirectory() as home, ended_by_sigterm():
        server = start(Path(home), dict(archives), ROOT / "config.properties", Addresses.free())
        try:
            for name in archives:
                server.wait_until_ready(name)
            yield server
        finally:
            server.stop()


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM (of ``timeout``, of CI) end the block like Ctrl-C does: else the server would be left running."""

    def end(*_: object) -> None:
        for client in multiprocessing.active_children():  # else they would be waited for, to the end of their schedule
            client.terminate()
        sys.exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def deployed(archive: Path, name: str, deployment: Deployment) -> Iterator[TorchServe]:
    """One model, deployed otherwise than its archive says."""
    with tempfile.TemporaryDirectory() as store:
        changed = repack(archive, Path(store) / f"{name}.mar", deployment.change)
        with running({name: changed}) as server:
            yield server


def target_of(server: TorchServe, model: str) -> Target:
    """Where to send pictures; the token in it lives an hour."""
    token = tokens.headers(server.home, "inference", server.addresses.management_url)
    return Target(HOST, server.addresses.inference, f"/predictions/{model}", {"Content-Type": "image/jpeg"} | token)
