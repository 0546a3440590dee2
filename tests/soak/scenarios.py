"""The scenarios: what is sent, what is done to the server meanwhile, and what must hold."""

import random
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from tests.soak import cases as case_lists
from tests.soak.company import Company
from tests.soak.expected import expected_of
from tests.soak.hostile import hostile
from tests.soak.kills import kill_frontend, kill_worker
from tests.soak.ledger import Faults, Row, settled, verdict
from tests.soak.load import Due, Plan, Running
from tests.soak.memory import Sample, Sampler, growths, sampled
from tests.soak.place import BATCH, QUEUE, WORKERS, Place

CLOSED_CLIENTS = 12
SEED = 20_261_123
READY_SECONDS, RECOVERY_SECONDS, GROWTH_PERCENT = 15.0, 5.0, 2.0


@dataclass
class Result:
    """What a scenario gave.

    Attributes:
        name: Of the scenario.
        rows: Each request.
        figures: What was measured.
        findings: What must hold and does not; correctness, so never excused by a busy machine.
        slow: Goals of time and memory that were not met.
        samples: Memory.
    """

    name: str
    rows: list[Row]
    figures: dict[str, Any] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)


class Soak:
    """One server, the cases with their answers, and the rate that it can keep up.

    Attributes:
        place: The server.
        cases: The good ones, then the hostile ones.
        capacity: Requests a second, of the good ones.
        alone: Seconds that a request takes alone, the median.
    """

    def __init__(self, place: Place, folder: Path, every: bool, hostile_count: int) -> None:
        self.place, self._folder = place, folder
        good = case_lists.traffic(every)
        self._good = len(good)
        self.cases = [*good, *hostile(hostile_count, SEED)]
        self.expected = expected_of(place.archive, self.cases)
        self._plain = self.expected[: case_lists.SIZES]
        self._chance, self._number = random.Random(SEED), count()
        self.capacity, self.alone = 0.0, 0.0

    def warm(self, requests: int) -> Result:
        """As fast as twelve clients can, then one by one: the capacity, and the latency of a request alone."""
        first = self._run(self._plan("capacity", requests, None), threads=CLOSED_CLIENTS)
        rows = first[len(first) // 4 :]  # the first ones were slow
        self.capacity = len(rows) / (max(row.ended for row in rows) - min(row.sent for row in rows))
        quiet = self._run(self._plan("capacity", 20, None), threads=1)
        self.alone = statistics.median(row.ended - row.sent for row in quiet)
        figures = {"capacity_per_second": self.capacity, "alone_ms": 1e3 * self.alone}
        return Result("capacity", [*first, *quiet], figures)

    def traffic(self, seconds: float, requests: int) -> Result:
        """80 % of the capacity, in every way."""
        rate = 0.8 * self.capacity
        before = self.place.temporary_files()
        with Sampler(self.place.server.pid, max(0.5, seconds / 2000)) as sampler:
            rows = self._run(self._plan("traffic", max(requests, int(rate * seconds)), rate))
        result = Result("traffic", rows, {"rate": rate} | latencies(rows), samples=sampler.samples)
        left = sorted(self.place.temporary_files() - before)
        result.findings += [f"left in the temporary folder: {each}" for each in left]
        found = growths(sampler.samples)
        result.figures["memory"] = [vars(each) for each in found]
        result.slow += [
            f"{each.role} {each.pid} grows by {each.percent_an_hour:.1f} % an hour"
            for each in found
            if each.percent_an_hour > GROWTH_PERCENT
        ]
        result.slow += _busy(rows)
        return result

    def hostile(self, seconds: float, each: int) -> Result:
        """70 % of the capacity, one request in ``each`` is hostile."""
        rate = 0.7 * self.capacity
        before = sampled(self.place.server.pid)
        plan = self._plan("hostile", int(rate * seconds), rate, hostile_each=each)
        rows = self._run(plan)
        result = Result("hostile", rows, {"rate": rate} | latencies(rows))
        after = sampled(self.place.server.pid)
        if {each.pid for each in before} != {each.pid for each in after}:
            result.findings.append("a hostile request ended a worker")
        result.slow += _busy(rows)
        return result

    def kill(self, seconds: float, period: float) -> Result:
        """Half the capacity, and a worker is killed every ``period`` seconds; the command asks beside."""
        rate = 0.5 * self.capacity
        kills, ready = [], []
        with self._beside() as company:
            running = self._start(plan := self._plan("kill", int(rate * seconds), rate))
            for number in range(max(1, int(seconds // period))):
                due = running.begin + 0.3 * period + number * period
                time.sleep(max(period / 4 if kills else 0.0, due - time.monotonic()))  # never at once after READY
                moment, waited = kill_worker(self.place, number)
                kills.append(moment)
                ready.append(waited)
            rows = self._finish(plan, running, Faults(kills=tuple(kills)))
        result = Result("kill", rows, {"rate": rate, "kills": len(kills), "ready_s": ready} | latencies(rows))
        self._company(result, company)
        result.slow += [f"READY again after {each:.1f} s" for each in ready if each > READY_SECONDS]
        for moment in kills:
            lost = sum(row.verdict == "in flight at a kill" and 0 <= row.ended - moment < period for row in rows)
            result.figures.setdefault("lost_a_kill", []).append(lost)
            if lost > BATCH:
                result.findings.append(f"a kill cost {lost} requests, a batch is {BATCH}")
        return result

    def frontend(self, seconds: float) -> Result:
        """The frontend is killed; a start at the same place finds it clean."""
        rate = 0.3 * self.capacity
        with self._beside(may_be_down=True) as company:
            running = self._start(plan := self._plan("frontend", int(rate * seconds), rate))
            time.sleep(max(0.0, running.begin + 0.2 * seconds - time.monotonic()))
            killed = kill_frontend(self.place)
            rows = self._finish(plan, running, Faults(down=(killed.down,)))
        after = self._run(self._plan("frontend", 20, rate))
        result = Result("frontend", [*rows, *after], killed.figures, killed.findings)
        self._company(result, company)
        return result

    def overload(self, seconds: float) -> Result:
        """Three times the capacity, then a request at a time until all is as it was."""
        rate = 3 * self.capacity
        room = QUEUE + 2 * WORKERS * BATCH  # all that may be before a request: a full queue, and what workers hold
        seconds = max(seconds, 2 * room / (rate - self.capacity))
        rows = self._run(self._plan("overload", int(rate * seconds), rate))
        over = max(row.scheduled for row in rows)
        calm = self._run(self._plan("overload", 20, min(4.0, 0.3 * self.capacity)))
        accepted = [row.latency for row in rows if row.status == 200]
        busy = [row.latency for row in rows if row.status == 503]
        bound = room / self.capacity
        recovered = next((row.ended - over for row in calm if row.latency < 3 * self.alone), float("inf"))
        figures = {
            "rate": rate, "accepted": len(accepted), "busy": len(busy), "busy_p50_ms": 1e3 * _quantile(busy, 0.5),
            "busy_p99_ms": 1e3 * _quantile(busy, 0.99), "accepted_p99_s": _quantile(accepted, 0.99),
            "bound_s": bound, "recovered_s": recovered,
        }  # fmt: skip
        result = Result("overload", [*rows, *calm], figures)
        if not busy or not accepted:
            result.findings.append(f"{len(accepted)} were answered and {len(busy)} refused: that is no overload")
        if accepted and figures["accepted_p99_s"] > 1.5 * bound:
            result.slow.append(f"p99 of the accepted is {figures['accepted_p99_s']:.1f} s, over 1.5 x {bound:.1f} s")
        if busy and figures["busy_p99_ms"] > 1e3 * bound / 4:
            result.slow.append(f"p99 until 503 is {figures['busy_p99_ms']:.0f} ms")
        if recovered > RECOVERY_SECONDS:
            result.slow.append(f"normal again after {recovered:.1f} s")
        return result

    @contextmanager
    def _beside(self, may_be_down: bool = False) -> Iterator[Company]:
        with Company(self.place, self._folder / "pictures", self._plain, may_be_down) as company:
            yield company

    def _company(self, result: Result, company: Company) -> None:
        result.figures["command"] = {"asked": company.asked, "answered": company.answered}
        result.findings += [f"the command: {each}" for each in company.wrong]

    def _plan(self, scenario: str, requests: int, rate: float | None, hostile_each: int = 0) -> Plan:
        """Requests at an even rate; None: all due at once."""
        good = self._shuffled(range(self._good))
        bad = self._shuffled(range(self._good, len(self.cases)))
        due = []
        for number in range(requests):
            case = next(bad) if hostile_each and number % hostile_each == hostile_each - 1 else next(good)
            request = f"{scenario[0]}-{next(self._number):06}"
            due.append(Due(request, case, number / rate if rate else 0.0))
        return Plan(scenario, due, self.cases, self.expected)

    def _shuffled(self, numbers: range) -> Iterator[int]:
        """All of them in turn, each time in another order."""
        while True:
            yield from self._chance.sample(numbers, len(numbers))

    def _start(self, plan: Plan) -> Running:
        return Running(plan, self.place.target())

    def _run(self, plan: Plan, threads: int | None = None) -> list[Row]:
        plan = replace(plan, threads=threads or plan.threads)
        return self._finish(plan, self._start(plan), Faults())

    def _finish(self, plan: Plan, running: Running, faults: Faults) -> list[Row]:
        known = {case.name: (case, expected) for case, expected in zip(plan.cases, plan.expected, strict=True)}
        rows = [replace(row, verdict=verdict(row, *known[row.case], faults)) for row in running.rows()]
        return settled(plan.planned(), rows, plan.scenario)


def latencies(rows: Sequence[Row]) -> dict[str, float]:
    """Of the answers, counted from when each request was due; and how late the requests themselves were."""
    times = [row.latency for row in rows if row.outcome == "answered"]
    late = [row.sent - row.scheduled for row in rows]
    names = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "max_ms": 1.0}
    return {name: 1e3 * _quantile(times, share) for name, share in names.items()} | {
        "sent_late_p99_ms": 1e3 * _quantile(late, 0.99)
    }


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _busy(rows: Sequence[Row]) -> list[str]:
    number = sum(row.verdict == "queue full" for row in rows)
    return [f"{number} requests found the queue full below capacity"] if number else []
