"""Each request ends in one class, and nothing that is wrong ends in another than the unexplained."""

from dataclasses import replace
from typing import Any

import pytest

from tests.soak.cases import Case
from tests.soak.expected import Expected
from tests.soak.hostile import KNOWN_EXCEPTIONS
from tests.soak.ledger import (
    BUSY,
    DOWN,
    KILLED,
    KNOWN,
    LEFT,
    OLD_TOKEN,
    REFUSED,
    RIGHT,
    UNEXPLAINED,
    Faults,
    Row,
    full,
    settled,
    unexplained,
    verdict,
)

GOOD = Case("good", "/", {}, b"", {"body": b""})
BAD = Case("bad", "/", {}, b"", {"body": b""}, hostile=True)
ANSWER, REFUSAL = Expected(200, "", b"{}"), Expected(400, "bad_option", b"{}")
ROW = Row("t-1", "traffic", "good", 10.0, 10.0, 11.0, "answered", 200, server_id="n-1")
QUEUE = 'Model "demo" has no worker to serve inference request. Please use scale workers API'
DIED: dict[str, Any] = {"status": 500, "code": "Worker died."}


def of(case: Case = GOOD, expected: Expected | None = ANSWER, faults: Faults | None = None, **came: Any) -> str:
    return verdict(replace(ROW, **came), case, expected, faults or Faults())


def test_what_is_as_expected() -> None:
    assert of() == RIGHT
    assert of(BAD, REFUSAL, status=400, code="bad_option") == REFUSED
    assert of(BAD, ANSWER) == RIGHT
    assert of(status=503, code=QUEUE) == BUSY


@pytest.mark.parametrize(
    "came",
    [
        {"difference": "score: 0.2, not 0.9"},
        {"status": 400, "code": "bad_option"},
        {"status": 500, "code": "Prediction failed"},
        {"status": 503, "code": "Prediction failed"},
        {"status": 503, "code": "model_not_loaded"},
        DIED,
        {"outcome": "broken", "status": 0},
        {"outcome": "closed", "status": 0},
        {"outcome": "refused", "status": 0},
        {"outcome": "timeout", "status": 0},
        {"outcome": "unreadable", "status": 200},
        {"outcome": "left", "status": 0},
    ],
)
def test_what_is_not(came: dict[str, Any]) -> None:
    assert of(**came) == UNEXPLAINED


def test_a_refusal_must_be_the_right_one() -> None:
    assert of(BAD, REFUSAL, status=400, code="not_an_image") == UNEXPLAINED
    assert of(BAD, REFUSAL) == UNEXPLAINED
    assert of(BAD, Expected(503, "out_of_memory", b""), status=503, code="out_of_memory") == UNEXPLAINED


def test_only_what_was_in_flight_may_die_with_a_worker() -> None:
    kill = Faults(kills=((10.5, 18.0), (60.0, 70.0)))
    assert of(faults=kill, **DIED) == of(faults=kill, **DIED | {"status": 507}) == KILLED
    assert of(faults=kill, ended=17.9, **DIED) == KILLED  # a frontend that is slow to notice
    assert of(faults=kill, sent=19.0, ended=20.0, **DIED) == UNEXPLAINED
    assert of(faults=kill, sent=8.0, ended=9.0, **DIED) == UNEXPLAINED
    assert of(faults=kill, sent=10.0, ended=18.1, **DIED) == UNEXPLAINED  # told when all were ready again
    assert of(faults=kill, outcome="timeout", status=0) == UNEXPLAINED
    assert of(faults=kill, difference="detections: 3 of them, not 4") == UNEXPLAINED


def test_a_request_is_lost_to_the_latest_kill_only() -> None:
    kills = Faults(kills=((10.0, 20.0), (20.5, 30.0)))
    assert [kills.kill_of(replace(ROW, sent=15.0, ended=end)) for end in (16.0, 20.2, 21.0, 31.0)] == [0, None, 1, None]


def test_a_full_queue_is_believed_only_where_others_fill_it() -> None:
    refused = replace(ROW, request="t-9", status=503, code=QUEUE, verdict=BUSY, sent=10.4, ended=10.5)
    beside = [replace(ROW, request=f"t-{number}", verdict=RIGHT) for number in range(3)]
    before = [replace(each, sent=8.0, ended=10.3) for each in beside]

    def last(*rows: Row, faults: Faults | None = None) -> str:
        return full([*rows, refused], faults or Faults(), room=3)[-1].verdict

    assert last(*beside) == BUSY
    assert last(*beside[:2]) == last(*before) == last(*[refused] * 40) == UNEXPLAINED
    assert last(faults=Faults(down=((10.0, 30.0),))) == BUSY
    assert last(faults=Faults(kills=((10.0, 30.0),))) == last(faults=Faults(down=((11.0, 30.0),))) == UNEXPLAINED
    assert full(beside, Faults(), room=300) == beside


def test_a_frontend_that_is_down_breaks_connections_and_nothing_else() -> None:
    down = Faults(down=((10.5, 30.0),))
    for outcome in ("broken", "closed", "refused"):
        assert of(faults=down, outcome=outcome, status=0) == DOWN
        assert of(faults=down, outcome=outcome, status=0, sent=31.0, ended=32.0) == UNEXPLAINED
    assert of(faults=down, outcome="timeout", status=0) == UNEXPLAINED
    assert of(faults=down, difference="label: 1, not 2") == UNEXPLAINED
    token: dict[str, Any] = {
        "status": 400,
        "code": "Token Authorization failed. Token either incorrect, expired, or not provided",
    }
    old = replace(down, renewed=30.5)
    assert of(faults=old, **token) == of(faults=old, scheduled=30.4, sent=30.6, ended=31.0, **token) == OLD_TOKEN
    assert of(faults=old, scheduled=30.6, sent=30.6, ended=31.0, **token) == UNEXPLAINED  # it had the new one
    assert of(faults=old, ended=10.4, **token) == of(faults=down, **token) == UNEXPLAINED
    assert of(**token) == of(faults=Faults(kills=((10.5, 12.0),)), **token) == UNEXPLAINED


def test_what_the_frontend_answers() -> None:
    raw = replace(BAD, fields=None, permitted=(400, 0))
    assert of(raw, None, status=400) == REFUSED
    assert of(raw, None, outcome="closed", status=0) == REFUSED
    assert of(raw, None) == UNEXPLAINED
    assert of(raw, None, status=500) == UNEXPLAINED
    assert of(replace(raw, name=KNOWN_EXCEPTIONS[0]), None, status=500) == KNOWN
    assert of(replace(raw, permitted=(400,)), None, outcome="closed", status=0) == UNEXPLAINED


def test_a_client_that_left_has_no_answer() -> None:
    assert of(replace(BAD, manner="leaves"), None, outcome="left", status=0) == LEFT
    assert of(replace(BAD, manner="stalls"), None) == UNEXPLAINED


def test_a_request_without_an_end_and_one_with_two_are_unexplained() -> None:
    planned = [("t-1", "good"), ("t-2", "good"), ("t-3", "good")]
    right = replace(ROW, verdict=RIGHT)
    rows = [right, *(replace(right, request="t-2", server_id=number) for number in ("n-2", "n-3"))]
    ended = settled(planned, rows, "traffic")
    assert [(row.request, row.difference) for row in unexplained(ended)] == [
        ("t-2", "ended 2 times"),
        ("t-2", "ended 2 times"),
        ("t-3", "lost"),
    ]


def test_an_answer_that_nobody_asked_for_or_that_two_got_is_unexplained() -> None:
    right = replace(ROW, verdict=RIGHT, server_id="a")
    other = replace(right, request="t-2")
    assert unexplained(settled([("t-1", "good")], [right], "traffic")) == []
    assert len(unexplained(settled([("t-1", "good"), ("t-2", "good")], [right, other], "traffic"))) == 2
    assert len(unexplained(settled([("t-1", "good")], [right, replace(other, server_id="b")], "traffic"))) == 1
    assert len(unexplained(settled([("t-1", "good")], [right], "traffic", earlier={"a"}))) == 1


def test_a_right_answer_has_a_number_of_torchserve() -> None:
    right = replace(ROW, verdict=RIGHT, server_id="")
    assert [row.difference for row in settled([("t-1", "good")], [right], "traffic")] == [
        "has no number of TorchServe's"
    ]
    refused = replace(right, verdict=REFUSED)
    assert settled([("t-1", "good")], [refused], "traffic") == [refused]
