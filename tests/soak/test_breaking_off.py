"""A scenario that breaks off is found, sends nothing more, and its rows are kept."""

from dataclasses import replace
from typing import Any

import pytest

from tests.soak.__main__ import _ended
from tests.soak.cases import Case
from tests.soak.expected import Expected
from tests.soak.ledger import RIGHT, Row
from tests.soak.load import Due, Plan
from tests.soak.scenarios import Result, Soak

CASES, EXPECTED = [Case("good", "/", {}, b"", {"body": b""})], [Expected(200, "", b"{}")]
PLAN = Plan("kill", [Due(f"k-{number}", 0, 0.0) for number in range(3)], CASES, EXPECTED)
ROWS = [Row(f"k-{number}", "kill", "good", 1.0, 1.0, 2.0, "answered", 200, "", f"n-{number}") for number in range(2)]


class UnderWay:
    """A plan of three requests, of which two were sent."""

    plan = PLAN
    is_stopped = False

    def stop(self) -> float:
        self.is_stopped = True
        return 2.0

    def rows(self) -> list[Row]:
        if not self.is_stopped:
            raise AssertionError("it would send on")
        return ROWS


def soak_with(running: Any) -> Soak:
    soak = Soak.__new__(Soak)
    soak._running, soak._rows, soak._numbers = running, [], set()
    return soak


@pytest.mark.parametrize("error", [RuntimeError("x"), ValueError("x"), StopIteration("x"), KeyError("x")])
def test_its_rows_are_kept(error: Exception) -> None:
    def breaks() -> Result:
        raise error

    soak = soak_with(running := UnderWay())
    result = _ended("kill", breaks, soak)
    assert result.findings == [f"was not carried out: {type(error).__name__}: {error}"]
    assert result.rows == [replace(row, verdict=RIGHT) for row in ROWS]
    assert running.is_stopped
    assert soak.abandoned("hostile") == []  # it has none of them


def test_rows_are_kept_where_the_process_that_sent_is_gone() -> None:
    class Gone(UnderWay):
        def rows(self) -> list[Row]:
            raise RuntimeError("terminated abruptly")

    def breaks() -> Result:
        raise RuntimeError("terminated abruptly")

    soak = soak_with(Gone())
    soak._rows = [ROWS[0]]
    assert _ended("kill", breaks, soak).rows == [ROWS[0]]


def test_the_command_ends_without_waiting_for_the_rest_of_the_load() -> None:
    def ends() -> Result:
        raise SystemExit(143)

    running = UnderWay()
    with pytest.raises(SystemExit):
        _ended("kill", ends, soak_with(running))
    assert running.is_stopped
