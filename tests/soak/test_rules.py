"""Each rule of the scenarios holds where it should, and is broken by a server that does no work, or too little."""

from dataclasses import replace

import pytest

from tests.soak import rules
from tests.soak.kills import oldest
from tests.soak.ledger import BUSY, KILLED, LEFT, REFUSED, RIGHT, Faults, Row

ROW = Row("t-1", "traffic", "good", 10.0, 10.0, 11.0, "answered", 200, verdict=RIGHT)
BUSY_ROW = replace(ROW, status=503, verdict=BUSY, ended=10.1)


def test_most_good_requests_must_be_answered_rightly() -> None:
    assert rules.answered([ROW] * 6 + [BUSY_ROW] * 5) == []
    assert rules.answered([ROW] * 5 + [BUSY_ROW] * 6) == ["5 of 11 good requests were answered rightly"]
    assert rules.answered([BUSY_ROW] * 20) != []
    assert rules.answered([]) != []


def test_hostile_requests_are_not_counted_among_the_good_ones() -> None:
    bad = replace(ROW, case="bad", verdict=REFUSED, status=400)
    assert rules.answered([ROW, *[bad] * 20], hostile={"bad"}) == []
    assert rules.answered([BUSY_ROW, *[replace(bad, verdict=RIGHT)] * 20], hostile={"bad"}) != []


def test_every_hostile_case_must_be_sent() -> None:
    rows = [ROW, replace(ROW, case="left", verdict=LEFT)]
    assert rules.never_sent(rows, ["good", "left"]) == []
    assert rules.never_sent(rows, ["good", "cut", "deep"]) == ["2 cases were never sent: cut, deep"]
    assert rules.never_sent(rows, []) != []


def test_a_worker_that_was_replaced_and_a_file_that_was_left_are_found() -> None:
    before = rules.Seen(frozenset({7, 8}), frozenset({"model/a"}))
    assert before.changes(before) == []
    assert before.changes(rules.Seen(frozenset({7, 8}), frozenset())) == []
    after = rules.Seen(frozenset({7, 9}), frozenset({"model/a", "tmp1"}))
    assert before.changes(after) == ["worker 8 was lost", "left in the temporary folder: tmp1"]


def test_a_kill_costs_a_batch() -> None:
    died = replace(ROW, status=500, verdict=KILLED)
    faults = Faults(kills=((10.5, 15.0), (16.0, 20.0)))
    late = replace(
        died, sent=14.0, scheduled=14.0, ended=16.5
    )  # of the second kill, though sent before the first ended
    lost = rules.lost_a_kill([ROW, BUSY_ROW, *[died] * 4, *[late] * 5], faults)
    assert lost == [4, 5]
    assert rules.more_than_a_batch(lost) == ["a kill cost 5 requests, a batch is 4"]


def test_an_overload_has_answers_and_refusals() -> None:
    assert rules.overloaded([ROW, BUSY_ROW]) == []
    assert rules.overloaded([ROW] * 9) != []
    assert rules.overloaded([BUSY_ROW] * 9) != []


def test_only_a_right_answer_is_a_recovery() -> None:
    fast = replace(ROW, scheduled=20.0, sent=20.0, ended=20.2)
    slow, refused = replace(fast, ended=29.0), replace(BUSY_ROW, scheduled=20.0, ended=20.01)
    assert rules.recovered([slow, refused, fast], over=18.0, alone=0.1) == pytest.approx(2.2)
    assert rules.recovered([slow, refused], over=18.0, alone=0.1) == float("inf")


def test_goals_under_overload() -> None:
    met = {"accepted_p99_s": 4.0, "bound_s": 3.0, "busy_p99_ms": 700.0, "recovered_s": 4.9}
    assert rules.late(met) == []
    for change in ({"accepted_p99_s": 4.6}, {"busy_p99_ms": 751.0}, {"recovered_s": float("inf")}):
        assert len(rules.late(met | change)) == 1


def test_refusals_do_not_count_in_latencies() -> None:
    told = rules.latencies([ROW, *[BUSY_ROW] * 50])
    assert told["p50_ms"] == told["max_ms"] == pytest.approx(1000)
    assert rules.busy([ROW, BUSY_ROW]) == ["1 requests found the queue full below capacity"]
    assert rules.busy([ROW]) == []


def test_workers_are_killed_in_turn() -> None:
    assert oldest({7, 8}, {1: 0.0, 7: 20.0, 8: 10.0}) == 8
    with pytest.raises(RuntimeError, match=r"\[9\] are no workers"):
        oldest({7, 9}, {7: 1.0})
