"""Each scenario, carried out on made-up rows: a good server passes, one that answers nothing rightly does not."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.soak import cases, scenarios
from tests.soak.cases import Case
from tests.soak.expected import Expected
from tests.soak.kills import Killed
from tests.soak.ledger import QUEUE_FULL, Row, unexplained
from tests.soak.load import Plan
from tests.soak.memory import Sample
from tests.soak.scenarios import Result, Soak

GOOD = [Case(f"good {number}", "/", {}, b"", {"body": b""}) for number in range(3)]
BAD = [Case(f"bad {number}", "/", {}, b"", {"body": b""}, hostile=True) for number in range(50)]
EXPECTED = [Expected(200, "", b"{}")] * 3 + [Expected(400, "not_an_image", b"{}")] * 50
Answers = Callable[[Row, int], Row]  # to the request of this number
SCENARIOS: dict[str, Callable[[Soak], Result]] = {
    "capacity": lambda soak: soak.warm(80),
    "traffic": lambda soak: soak.traffic(2, 0),
    "hostile": lambda soak: soak.hostile(1, each=10),
    "kill": lambda soak: soak.kill(0.3, 0.1),
    "frontend": lambda soak: soak.frontend(0.5),
}


def good(row: Row, number: int) -> Row:
    return replace(row, status=400, code="not_an_image") if row.case.startswith("bad") else row


def refuses(row: Row, number: int) -> Row:
    return replace(row, status=503, code=f'Model "demo" {QUEUE_FULL}')


def dies(row: Row, number: int) -> Row:
    return replace(row, status=500, code="Worker died.", ended=row.sent + 8.0)


def has_a_queue(row: Row, number: int) -> Row:
    if not row.request.startswith("o") or number % 3 == 0 or number < 100:
        return replace(row, ended=row.sent + (3.0 if number > 20 else 0.1))
    return replace(refuses(row, number), ended=row.sent + 0.01)


def running_of(answers: Answers) -> type:
    class Running:
        """Has answers at once to all that would have been sent until it is stopped."""

        def __init__(self, plan: Plan, target: object) -> None:
            self.plan, self.begin, self.end = plan, time.monotonic(), float("inf")

        @property
        def is_stopped(self) -> bool:
            return self.end < float("inf")

        def stop(self) -> float:
            self.end = time.monotonic()
            return self.end

        def rows(self) -> list[Row]:
            found = []
            for number, due in enumerate(self.plan.due):
                if (at := self.begin + due.after) < self.end:
                    name = self.plan.cases[due.case].name
                    row = Row(due.request, self.plan.scenario, name, at, at, at + 0.001, "answered", 200)
                    found.append(answers(replace(row, server_id=f"n-{due.request}"), number))
            return found

    return Running


PROCESSES = (("frontend", 1), ("worker", 7), ("worker", 8))
SAMPLES = [Sample(float(at), role, pid, 10, 10) for at in range(21) for role, pid in PROCESSES]


class Watched:
    """Memory of one frontend and two workers over 20 s."""

    begin, end = 0.0, 20.0
    failures: list[str] = []  # noqa: RUF012 - nobody adds to it
    samples = SAMPLES

    def __init__(self, *_: object) -> None:
        """Read nothing."""

    def __enter__(self) -> "Watched":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to stop."""


class Silent(Watched):
    """The command, which asked and found nothing wrong."""

    asked = answered = 8

    def findings(self) -> list[str]:
        return []


def killed() -> tuple[float, float]:
    moment = time.monotonic()
    return moment, moment + 14.0


def slept(seconds: float) -> tuple[float, float]:
    begin = time.monotonic()
    time.sleep(seconds)
    return begin, time.monotonic()


@pytest.fixture
def soak_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Soak]:
    """A soak of a server that answers so; ``seen`` are its workers, each time that somebody looks."""

    def made(answers: Answers, seen: Callable[[], set[int]] = lambda: {7, 8}) -> Soak:
        changes = {
            "Running": running_of(answers), "Sampler": Watched, "Company": Silent, "TIDY_SECONDS": 0.0,
            "hostile": lambda *_: BAD, "expected_of": lambda *_: EXPECTED, "kill_worker": lambda _: killed(),
            "kill_frontend": lambda _: Killed(slept(0.01), {}, []),
        }  # fmt: skip
        for name, value in changes.items():
            monkeypatch.setattr(scenarios, name, value)
        monkeypatch.setattr(cases, "traffic", lambda _: GOOD)
        place: Any = SimpleNamespace(
            worker_pids=seen, temporary_files=lambda: {"model"}, archive=Path(), target=lambda: None,
            server=SimpleNamespace(pid=1),
        )  # fmt: skip
        soak = Soak(place, Path(), every=False, hostile_count=50)
        soak.capacity, soak.alone = 100.0, 0.1
        return soak

    return made


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_good_server_passes(name: str, soak_of: Callable[..., Soak]) -> None:
    result = SCENARIOS[name](soak_of(good))
    assert result.findings == result.slow == []
    assert result.rows
    assert not unexplained(result.rows)


@pytest.mark.parametrize("name", [*SCENARIOS, "overload"])
def test_a_server_that_refuses_everything_does_not(name: str, soak_of: Callable[..., Soak]) -> None:
    result = (SCENARIOS | {"overload": lambda soak: soak.overload(1)})[name](soak_of(refuses))
    assert result.findings
    explained = len(result.rows) - len(unexplained(result.rows))
    assert explained <= (2 if name == "frontend" else 0)  # while it starts, it has no worker


def test_an_overload_refuses_what_finds_a_full_queue(soak_of: Callable[..., Soak]) -> None:
    result = soak_of(has_a_queue).overload(1)
    assert result.findings == []
    assert not unexplained(result.rows)
    assert result.figures["busy"] > 0
    assert soak_of(good).overload(1).findings != []


def test_every_hostile_case_is_sent(soak_of: Callable[..., Soak]) -> None:
    rows = soak_of(good).hostile(1, each=10).rows
    assert {case.name for case in BAD} <= {row.case for row in rows}


def test_a_worker_that_is_replaced_under_load_is_found(soak_of: Callable[..., Soak]) -> None:
    for name in ("traffic", "hostile"):
        seen = iter([{7, 8}])
        soak = soak_of(good, lambda seen=seen: next(seen, {7, 9}))
        assert SCENARIOS[name](soak).findings == ["worker 8 was lost"]


def test_a_kill_that_costs_more_than_a_batch_is_found(soak_of: Callable[..., Soak]) -> None:
    result = soak_of(lambda row, number: dies(row, number) if number < 9 else row).kill(0.4, 0.13)
    assert result.findings == ["a kill cost 9 requests, a batch is 4"]
    assert unexplained(result.rows) == []
    assert result.figures["lost_a_kill"] == [0, 0, 9]


def test_memory_that_nobody_watched_is_found(soak_of: Callable[..., Soak], monkeypatch: pytest.MonkeyPatch) -> None:
    soak = soak_of(good)
    monkeypatch.setattr(Watched, "samples", SAMPLES[:30])
    assert soak.traffic(2, 0).findings == ["memory is known of 0 frontends and 0 workers, not 1 and 2"]
