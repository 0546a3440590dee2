"""The search for the highest rate, and LoadGen's fields."""

from pathlib import Path

import pytest

from benchmarks import scenarios
from benchmarks.load import Load, Outcome
from benchmarks.scenarios import Bound, highest_rate, latencies, offline, server, single_stream
from tests.benchmarks.stand_in import standing_in


def load_of(*milliseconds: float, failed: int = 0, gap: float = 0.1) -> Load:
    """Requests that were due one after the other, some of them answered with 503."""
    took = [(each, 200) for each in milliseconds] + [(1.0, 503)] * failed
    return Load(
        [
            Outcome(number * gap, number * gap, number * gap + each / 1e3, status)
            for number, (each, status) in enumerate(took)
        ]
    )


@pytest.mark.parametrize("capacity", [0.3, 3.9, 4.0, 4.1, 17.0, 1000.0])
def test_the_search_ends_just_below_the_highest_rate(capacity: float) -> None:
    tried: list[float] = []

    def keeps(rate: float) -> bool:
        tried.append(rate)
        return rate <= capacity

    found = highest_rate(keeps, first=4)
    assert found is not None
    assert found in tried
    assert capacity / 1.06 < found <= capacity
    assert len(tried) <= 15


def test_a_rate_that_was_not_kept_is_never_the_result() -> None:
    """A noisy server: a rate fails, and one above it passes."""
    assert highest_rate(lambda rate: rate in (4, 8), first=4) == 8
    assert highest_rate(lambda rate: False, first=4) is None


def test_a_search_without_end_is_ended() -> None:
    assert highest_rate(lambda rate: True, first=1) == 2**19


@pytest.mark.parametrize(
    ("load", "kept"),
    [
        (load_of(*[10.0] * 99, 5000.0), True),  # one of a hundred is not within the 99
        (load_of(*[10.0] * 98, 5000.0, 5000.0), False),
        (load_of(*[10.0] * 99, failed=1), False),
        (load_of(failed=3), False),
    ],
    ids=["one late", "two late", "one refused", "all refused"],
)
def test_a_bound_is_kept_by_99_of_100_and_breaks_at_one_failure(load: Load, kept: bool) -> None:
    assert Bound(latency_ms=100, queries=1, seconds=1).kept_by(load) == kept


def test_a_trial_is_long_enough_for_its_queries() -> None:
    bound = Bound(latency_ms=100, queries=200, seconds=10)
    assert (bound.length(4), bound.length(100)) == (50, 10)


def test_the_server_scenario_reports_the_best_trial_and_all_others() -> None:
    found = server(lambda rate: load_of(*[10.0 if rate <= 6 else 900.0] * 11), Bound(100, 10, 1), first=4)
    assert found["result_validity"] == "VALID"
    assert found["effective_target_qps"] == pytest.approx(6, rel=0.05)
    assert found["effective_target_qps"] <= 6
    # Eleven requests, ten gaps of 0.1 s; the last answer came 10 ms later.
    assert found["result_scheduled_samples_per_sec"] == pytest.approx(10)
    assert found["result_completed_samples_per_sec"] == pytest.approx(10 / 1.01)
    assert found["result_99.00_percentile_latency_ns"] == 10_000_000
    assert [trial["kept"] for trial in found["trials"]][:2] == [True, False]
    assert found["trials"][1]["target_qps"] == 8


def test_a_bound_that_cannot_be_kept_is_invalid() -> None:
    found = server(lambda rate: load_of(failed=5), Bound(100, 5, 1), first=4)
    assert found["result_validity"] == "INVALID"
    assert "effective_target_qps" not in found


def test_latencies_carry_loadgens_names() -> None:
    found = latencies(load_of(*map(float, range(1, 101))))
    assert found["result_90.00_percentile_latency_ns"] == pytest.approx(90_000_000, abs=2)
    assert found["result_99.90_percentile_latency_ns"] == found["result_max_latency_ns"]
    assert latencies(load_of(failed=2)) == {}


def test_single_stream_and_offline_ask_a_server() -> None:
    with standing_in() as answering:
        alone = single_stream(answering.target(), [b"a", b"b"], queries=12)
        assert len(answering.sockets) == 1
        assert (alone["result_query_count"], alone["result_validity"]) == (12, "VALID")
        assert alone["result_90.00_percentile_latency_ns"] > 0
        refused = offline(answering.target(), [b"a", b"busy"], samples=12, clients=3)
        assert (refused["result_query_count"], refused["result_validity"]) == (12, "INVALID")
        assert refused["statuses"] == {"200": 6, "503": 6}


def test_a_folder_that_cannot_be_made_is_noticed_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenarios, "running", lambda *_: pytest.fail("it was measured"))
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        scenarios.main(["--scenario", "Offline", "--out", str(tmp_path / "file" / "offline.json")])
    with pytest.raises(pytest.fail.Exception, match="it was measured"):
        scenarios.main(["--scenario", "Offline", "--out", str(tmp_path / "new" / "folder" / "offline.json")])
    assert (tmp_path / "new" / "folder").is_dir()
