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
from tests.soak import rules
from tests.soak.company import Company
from tests.soak.expected import expected_of
from tests.soak.hostile import hostile
from tests.soak.kills import kill_frontend, kill_worker, ready_workers
from tests.soak.ledger import BUSY, Faults, Row, full, settled, verdict
from tests.soak.load import Due, Plan, Running
from tests.soak.memory import Sample, Sampler, growths, unwatched
from tests.soak.place import BATCH, QUEUE, WORKERS, Place
from tests.soak.rules import Seen, latencies, quantile

CLOSED_CLIENTS = 12
SEED = 20_261_123
READY_SECONDS, GROWTH_PERCENT = 15.0, 2.0
HALF_QUEUE = QUEUE // 2  # the other half may be of clients that left
LONGEST_RUN = 1800.0  # seconds with one token, which lives an hour
TIDY_SECONDS = 30.0  # for temporary files of requests that have just ended


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
        self._running: Running | None = None
        self._rows: list[Row] = []
        self._numbers: set[str] = set()  # that TorchServe gave

    def warm(self, requests: int) -> Result:
        """As fast as twelve clients can, then one by one: the capacity, and the latency of a request alone."""
        first = self._run(self._plan("capacity", requests, None), threads=CLOSED_CLIENTS)
        rows = [row for row in first[len(first) // 4 :] if row.status == 200]  # the first ones were slow
        quiet = self._run(self._plan("capacity", 20, None), threads=1)
        result = Result("capacity", [*first, *quiet], findings=rules.answered([*first, *quiet]))
        if not result.findings:
            self.capacity = len(rows) / (max(row.ended for row in rows) - min(row.sent for row in rows))
            self.alone = statistics.median(row.ended - row.sent for row in quiet if row.status == 200)
            result.figures = {"capacity_per_second": self.capacity, "alone_ms": 1e3 * self.alone}
        return result

    def traffic(self, seconds: float, requests: int) -> Result:
        """80 % of the capacity, in every way."""
        rate = 0.8 * self.capacity
        before = self._seen()
        with Sampler(self.place.server.pid, max(0.5, seconds / 2000)) as sampler:
            rows = self._run(self._plan("traffic", max(requests, int(rate * seconds)), rate))
        result = Result("traffic", rows, {"rate": rate} | latencies(rows), samples=sampler.samples)
        found = growths(sampler.samples)
        result.figures["memory"] = [vars(each) for each in found]
        result.findings += rules.answered(rows) + self._changes(before) + sampler.failures
        result.findings += unwatched(sampler.samples, sampler.begin, sampler.end, WORKERS)
        result.slow += [
            f"{each.role} {each.pid} grows by {each.percent_an_hour:.1f} % an hour"
            for each in found
            if each.percent_an_hour > GROWTH_PERCENT
        ]
        result.slow += rules.busy(rows)
        return result

    def hostile(self, seconds: float, each: int) -> Result:
        """70 % of the capacity, one request in ``each`` is hostile; then those that had no turn, four at a time."""
        rate = 0.7 * self.capacity
        before = self._seen()
        rows = self._run(self._plan("hostile", int(rate * seconds), rate, hostile_each=each))
        names = {case.name: number for number, case in enumerate(self.cases) if case.hostile}
        rest = [number for name, number in names.items() if name not in {row.case for row in rows}]
        rows += self._run(self._plan_of("hostile", rest, None), threads=4) if rest else []
        result = Result("hostile", rows, {"rate": rate} | latencies(rows))
        result.findings += rules.answered(rows, hostile=names) + rules.never_sent(rows, names) + self._changes(before)
        result.slow += rules.busy(rows)
        return result

    def kill(self, seconds: float, period: float) -> Result:
        """Half the capacity, and a worker is killed every ``period`` seconds; the command asks beside."""
        rate = 0.5 * self.capacity
        kills: list[tuple[float, float]] = []
        with self._beside() as company:
            running = self._start(self._plan("kill", int(rate * seconds), rate))
            for number in range(max(1, int(seconds // period))):
                due = running.begin + 0.3 * period + number * period
                time.sleep(max(period / 4 if kills else 0.0, due - time.monotonic()))  # never at once after READY
                kills.append(kill_worker(self.place))
            rows = self._finish(running, faults := Faults(kills=tuple(kills)))
        ready, lost = [end - moment for moment, end in kills], rules.lost_a_kill(rows, faults)
        figures = {"rate": rate, "kills": len(kills), "ready_s": ready, "lost_a_kill": lost}
        result = Result("kill", rows, figures | latencies(rows))
        result.findings += rules.answered(rows) + rules.more_than_a_batch(lost)
        self._company(result, company)
        result.slow += [f"READY again after {each:.1f} s" for each in ready if each > READY_SECONDS]
        return result

    def frontend(self, seconds: float) -> Result:
        """The frontend is killed; a start at the same place finds it clean, and the load goes on with its token."""
        rate = 0.3 * self.capacity
        with self._beside(may_be_down=True) as company:
            running = self._start(self._plan("frontend", int(rate * 10 * seconds), rate))  # until it is stopped
            time.sleep(max(0.0, running.begin + 0.2 * seconds - time.monotonic()))
            killed = kill_frontend(self.place)
            renewed = running.stop()
            rows = self._finish(running, Faults(down=(killed.down,), renewed=renewed))
            after = self._run(self._plan("frontend", max(20, int(0.5 * rate * seconds)), rate))
        result = Result("frontend", [*rows, *after], killed.figures, killed.findings)
        result.findings += rules.answered([row for row in rows if row.ended < killed.down[0]]) + rules.answered(after)
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
        busy = [row.latency for row in rows if row.verdict == BUSY]
        figures = {
            "rate": rate, "accepted": len(accepted), "busy": len(busy), "busy_p50_ms": 1e3 * quantile(busy, 0.5),
            "busy_p99_ms": 1e3 * quantile(busy, 0.99), "accepted_p99_s": quantile(accepted, 0.99),
            "bound_s": room / self.capacity, "recovered_s": rules.recovered(calm, over, self.alone),
        }  # fmt: skip
        findings = rules.overloaded(rows) + rules.answered(calm)
        return Result("overload", [*rows, *calm], figures, findings, rules.late(figures))

    def abandoned(self, scenario: str) -> list[Row]:
        """What came of the requests of a scenario that broke off; sends no more of them."""
        self.stop()
        running, self._running = self._running, None
        if running is not None:
            self._judged(running.plan, running.rows(), Faults(), whole=False)
        return self.rows_of(scenario)

    def stop(self) -> None:
        """Send nothing more of what is under way, if anything is."""
        if self._running is not None:
            self._running.stop()

    def rows_of(self, scenario: str) -> list[Row]:
        """Its rows so far."""
        return [row for row in self._rows if row.scenario == scenario]

    def _seen(self) -> Seen:
        return Seen(frozenset(ready_workers(self.place)), frozenset(self.place.temporary_files()))

    def _changes(self, before: Seen) -> list[str]:
        end = time.monotonic() + TIDY_SECONDS
        while (found := before.changes(self._seen())) and time.monotonic() < end:
            time.sleep(0.5)
        return found

    @contextmanager
    def _beside(self, may_be_down: bool = False) -> Iterator[Company]:
        with Company(self.place, self._folder / "pictures", self._plain, may_be_down) as company:
            yield company

    def _company(self, result: Result, company: Company) -> None:
        result.figures["command"] = {"asked": company.asked, "answered": company.answered}
        result.findings += [f"the command: {each}" for each in company.findings()]

    def _plan(self, scenario: str, requests: int, rate: float | None, hostile_each: int = 0) -> Plan:
        """Requests at an even rate; None: all due at once."""
        good = self._shuffled(range(self._good))
        bad = self._shuffled(range(self._good, len(self.cases)))
        turns = [hostile_each and number % hostile_each == hostile_each - 1 for number in range(max(1, requests))]
        return self._plan_of(scenario, [next(bad if turn else good) for turn in turns], rate)

    def _plan_of(self, scenario: str, chosen: Sequence[int], rate: float | None) -> Plan:
        """One request for each of these cases, given by their places."""
        due = [
            Due(f"{scenario[0]}-{next(self._number):06}", case, number / rate if rate else 0.0)
            for number, case in enumerate(chosen)
        ]
        return Plan(scenario, due, self.cases, self.expected)

    def _shuffled(self, numbers: range) -> Iterator[int]:
        """All of them in turn, each time in another order."""
        while True:
            yield from self._chance.sample(numbers, len(numbers))

    def _start(self, plan: Plan) -> Running:
        self._running = Running(plan, self.place.target())
        return self._running

    def _run(self, plan: Plan, threads: int | None = None) -> list[Row]:
        plan = replace(plan, threads=threads or plan.threads)
        return [row for part in plan.parts(LONGEST_RUN) for row in self._finish(self._start(part), Faults())]

    def _finish(self, running: Running, faults: Faults) -> list[Row]:
        rows = running.rows()
        self._running = None
        return self._judged(running.plan, rows, faults, whole=not running.is_stopped)

    def _judged(self, plan: Plan, rows: Sequence[Row], faults: Faults, whole: bool) -> list[Row]:
        """Each row with its verdict; of a plan that is not whole, nobody misses the requests that were not sent."""
        known = {case.name: (case, expected) for case, expected in zip(plan.cases, plan.expected, strict=True)}
        rows = [replace(row, verdict=verdict(row, *known[row.case], faults)) for row in rows]
        sent = {row.request for row in rows}
        planned = [each for each in plan.planned() if whole or each[0] in sent]
        ended = settled(planned, full(rows, faults, HALF_QUEUE), plan.scenario, self._numbers)
        self._numbers.update(row.server_id for row in ended if row.server_id)
        self._rows += ended
        return ended
