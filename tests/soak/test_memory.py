"""The slope of memory: robust, of the time when all is warm, in percent of itself."""

import os

import numpy as np
import pytest

from tests.soak import memory
from tests.soak.memory import Sample, Sampler, growths, sampled, slope, unwatched


def samples(sizes: "np.ndarray", every: float = 10.0) -> list[Sample]:
    return [Sample(index * every, "worker", 7, int(size), int(size)) for index, size in enumerate(sizes)]


def test_the_slope_is_found_whatever_a_few_outliers_are() -> None:
    times = np.arange(1000.0)
    values = 5e8 + 1000 * times
    values[::10] += 1e9
    assert slope(times, values) == pytest.approx(1000, rel=0.01)


def test_memory_that_stays_does_not_grow_and_what_leaks_does() -> None:
    noise = np.random.default_rng(1).normal(0, 1e5, 360)
    (flat,) = growths(samples(5e8 + noise))
    (leaking,) = growths(samples(5e8 + noise + np.arange(360) * 10 * 5e8 * 0.05 / 3600))
    assert abs(flat.percent_an_hour) < 0.5
    assert leaking.percent_an_hour == pytest.approx(5, abs=0.6)
    assert flat.megabytes == pytest.approx(500, abs=1)


def test_the_warm_up_counts_for_nothing() -> None:
    sizes = np.concatenate([np.linspace(1e8, 5e8, 100), np.full(210, 5e8)])
    (found,) = growths(samples(sizes))
    assert found.percent_an_hour == 0


def test_nothing_comes_of_nothing() -> None:
    assert growths([]) == []
    assert growths(samples(np.array([1e8, 1e8]))) == []


def test_a_process_is_read() -> None:
    own = next(each for each in sampled(os.getpid()) if each.role == "frontend")
    assert 0 < own.anonymous < own.resident
    assert sampled(2**22 + 1) == []


def server(*workers: range) -> list[Sample]:
    """Samples of a frontend over 1000 s, and of workers that were there in so much of it."""
    rows = [Sample(float(at), "frontend", 1, 10, 10) for at in range(0, 1001, 10)]
    rows += [Sample(float(at), "worker", 7 + number, 10, 10) for number, times in enumerate(workers) for at in times]
    return sorted(rows, key=lambda each: each.at)


ALL, FIRST, SECOND, SHORT = range(0, 1001, 10), range(0, 600, 10), range(600, 1001, 10), range(300, 320, 10)


def test_each_process_is_watched_from_the_beginning_to_the_end() -> None:
    assert unwatched(server(ALL, ALL, SHORT), 0, 1000, 2) == []
    assert unwatched(server(ALL, FIRST, SECOND), 0, 1000, 2) != []
    assert unwatched(server(ALL), 0, 1000, 2) != []
    assert unwatched(server(ALL, ALL, ALL), 0, 1000, 2) != []
    assert unwatched(server(ALL, ALL), 0, 2000, 2) != []  # the thread ended halfway
    assert unwatched([], 0, 1000, 2) != []
    assert {each.pid for each in growths(server(ALL, FIRST, SECOND))} == {1, 7}


def test_a_leak_in_one_step_is_told() -> None:
    sizes = np.concatenate([np.full(300, 5e8), np.full(60, 6e8)])
    (found,) = growths(samples(sizes))
    assert found.added_megabytes == pytest.approx(100)


def test_a_thread_that_cannot_read_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "sampled", lambda _: [][0])
    with Sampler(os.getpid(), 0.001) as sampler:
        sampler._thread.join()
    assert sampler.failures == ["memory was not read: IndexError: list index out of range"]
