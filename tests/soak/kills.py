"""Processes of the server under test are killed, and what becomes of it is watched."""

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.soak.place import WORKERS, Place

LONGEST = 300.0  # seconds to wait for what must happen at all


def kill_worker(place: Place) -> tuple[float, float]:
    """Kill the ready worker that is the oldest, so that they take turns.

    Args:
        place: The server.

    Returns:
        When, and when all workers were ready again.
    """
    victim = oldest(ready_workers(place), _started(place))
    moment = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    ready_workers(place, {victim})
    return moment, time.monotonic()


def _started(place: Place) -> dict[int, float]:
    """When each process of the server was started."""
    found = {}
    for each in psutil.Process(place.server.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found[each.pid] = each.create_time()
    return found


def oldest(pids: set[int], started: Mapping[int, float]) -> int:
    """Which of the workers was started first.

    Args:
        pids: Of the workers.
        started: When each process of this server was.

    Raises:
        RuntimeError: A pid is of no process of this server, and must not be killed.
    """
    if strangers := pids - set(started):
        raise RuntimeError(f"{sorted(strangers)} are no workers of this server")
    return min(pids, key=lambda pid: (started[pid], pid))


def ready_workers(place: Place, gone: set[int] | None = None) -> set[int]:
    """The pids of all workers, once they are ready and none of ``gone`` is among them."""
    gone = gone or set()
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        pids = place.worker_pids()
        if len(pids) == WORKERS and not pids & gone:
            return pids
        time.sleep(0.2)
    raise RuntimeError(f"not all workers are ready after {LONGEST:.0f} s")


@dataclass(frozen=True)
class Killed:
    """What became of a killed frontend.

    Attributes:
        down: From when until when, in seconds of ``time.monotonic()``.
        figures: What was measured.
        findings: What the start did not find clean.
    """

    down: tuple[float, float]
    figures: dict[str, Any]
    findings: list[str]


def kill_frontend(place: Place) -> Killed:
    """Kill the Java process and start again at the same place, with the same ports, at once.

    Args:
        place: The server.
    """
    old = place.server
    workers = psutil.Process(old.pid).children(recursive=True)
    begin = time.monotonic()
    os.kill(old.pid, signal.SIGKILL)
    while old.is_running():
        time.sleep(0.01)
    new = place.started()
    end = time.monotonic()
    orphans = [each for each in workers if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    findings = [f"worker {each.pid} of the killed server still runs" for each in orphans]
    findings += [f"{old.temporary} is still there"] if old.temporary.exists() else []
    findings += [f"{each} is of no server that runs" for each in _strangers(new.temporary.parent, new.pid)]
    pid_file = new.temporary / ".model_server.pid"
    if int(pid_file.read_text()) != new.pid or new.pid == old.pid:
        findings.append("the pid file names another process")
    return Killed((begin, end), {"down_s": end - begin, "workers_before": len(workers)}, findings)


def _strangers(folder: Path, frontend: int) -> list[Path]:
    """Sockets of workers in the new temporary folder that none of its workers listens on."""
    temporary = next(each for each in folder.glob("torchserve-*") if _is_of(each, frontend))
    listening = {each.laddr for each in psutil.net_connections("unix") if each.laddr}
    return [each for each in temporary.glob(".ts.sock.*") if each.is_socket() and str(each) not in listening]


def _is_of(folder: Path, frontend: int) -> bool:
    pid_file = folder / ".model_server.pid"
    return pid_file.is_file() and pid_file.read_text().strip() == str(frontend)
