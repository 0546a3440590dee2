"""That the open loop shows what a closed one hides."""

import os
import signal
import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.latency import percentile, percentiles
from benchmarks.load import closed_loop
from benchmarks.open_loop import constant, lateness, open_loop, poisson
from benchmarks.running import ROOT
from tests.benchmarks.stand_in import StandIn, standing_in

STALL = 1.0  # seconds


@pytest.fixture
def server() -> Iterator[StandIn]:
    with standing_in() as running:
        yield running


def test_a_poisson_schedule_is_the_same_for_a_seed_and_ends_when_it_should() -> None:
    moments = poisson(rate=50, seconds=100, seed=1)
    assert moments == poisson(rate=50, seconds=100, seed=1) != poisson(rate=50, seconds=100, seed=2)
    assert len(moments) == 5000
    assert moments[0] == 0
    assert moments == sorted(moments)
    gaps = [after - before for before, after in pairwise(moments)]
    assert statistics.mean(gaps) == pytest.approx(1 / 50, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(1 / 50, rel=0.05)  # of an exponential distribution: its mean
    assert sum(gap > 1 / 50 for gap in gaps) / len(gaps) == pytest.approx(0.368, abs=0.02)  # 1 / e


def test_a_constant_schedule_has_equal_gaps() -> None:
    assert constant(rate=4, seconds=1.5) == [0, 0.25, 0.5, 0.75, 1, 1.25]


@pytest.mark.parametrize("schedule", [constant(0.1, 1), poisson(0.1, 1, 1)], ids=["constant", "poisson"])
def test_a_schedule_has_one_request_at_least(schedule: list[float]) -> None:
    assert schedule == [0]


def test_a_stall_shows_in_the_open_loop_and_hides_in_the_closed_one(server: StandIn) -> None:
    server.stall_at(50, STALL)
    opened = open_loop(server.target(), [b"a"], constant(rate=100, seconds=3))
    assert opened.statuses == {"200": 300}
    # A hundred requests were due in that second: a third of all waited, the first of them for all of it.
    assert percentile(opened.milliseconds, 0.99) > 800 * STALL
    waited = sum(each > 100 for each in opened.milliseconds)
    assert waited > 60
    server.bodies.clear()
    closed = closed_loop(server.target(), [b"a"], clients=1, requests=300)
    assert max(closed.milliseconds) > 900 * STALL
    # One client: one request that waited, of 300; on a machine that pauses some more, in either loop.
    assert sum(each > 100 for each in closed.milliseconds) < waited / 2


def test_latency_counts_from_the_due_moment_though_no_sender_was_free(server: StandIn) -> None:
    server.stall_at(1, STALL)
    load = open_loop(server.target(), [b"a"], constant(rate=20, seconds=1), senders=1)
    assert load.statuses == {"200": 20}
    # The second request could only be sent when the first one was answered, and its latency says so.
    second = sorted(load.outcomes, key=lambda outcome: outcome.due)[1]
    assert second.sent - second.due > 0.8 * STALL
    assert sum(each > 800 * STALL for each in load.milliseconds) >= 2
    said = lateness(load)
    assert said["sent_late"] >= 15
    assert said["latest_ms"] > 800 * STALL


def test_every_failure_is_counted(server: StandIn) -> None:
    load = open_loop(server.target(), [b"a", b"busy", b"bad", b"drop"], constant(rate=100, seconds=0.4))
    assert load.statuses == {"no answer": 10, "200": 10, "400": 10, "503": 10}
    assert len(load.milliseconds) == 10
    assert {each.problem for each in load.outcomes if each.status == 503} == {"ok"}


def test_percentiles_are_times_that_were_measured() -> None:
    times = [float(number) for number in range(100, 0, -1)]
    assert percentiles(times) == {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    assert percentiles([7.0]) == {"p50": 7, "p90": 7, "p99": 7, "max": 7}
    assert percentiles([]) == {"p50": None, "p90": None, "p99": None, "max": None}
    assert [percentile(times[-10:], tenth / 10) for tenth in range(11)] == [1, *range(1, 11)]
    assert percentile(times, 0.55) == 55  # 0.55 * 100 is a little more than 55


@pytest.mark.parametrize(("times", "share"), [([], 0.5), ([1.0], 1.1), ([1.0], -0.1)])
def test_no_percentile_without_times_or_of_no_share(times: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="a percentile needs times"):
        percentile(times, share)


def test_sigterm_ends_a_run_at_once_and_cleans_up(server: StandIn, tmp_path: Path) -> None:
    """As `timeout` and CI send it: the server that a benchmark started must not outlive it."""
    program = f"""
from pathlib import Path
from benchmarks.load import Target
from benchmarks.open_loop import open_loop
from benchmarks.running import ended_by_sigterm
try:
    with ended_by_sigterm():
        open_loop(Target("127.0.0.1", {server.server_port}, "/", {{}}), [b"a"], [0.0, 600.0])
finally:
    Path({str(tmp_path / "cleaned")!r}).touch()
"""
    # A file: the client processes import the main program again, and must not run it.
    script = tmp_path / "run.py"
    script.write_text(f"if __name__ == '__main__':\n{textwrap.indent(program, '    ')}")
    running = subprocess.Popen(
        [sys.executable, script], env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL
    )
    try:
        while not server.bodies:
            assert running.poll() is None
            time.sleep(0.05)
        running.terminate()
        assert running.wait(timeout=60) == 128 + signal.SIGTERM
    finally:
        running.kill()
    assert (tmp_path / "cleaned").exists()
