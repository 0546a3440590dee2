"""Open loop: requests leave when they are due, whatever became of those before, from a process of its own."""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.synchronize import Event

from tests.soak.cases import Case
from tests.soak.comparing import difference
from tests.soak.expected import Expected
from tests.soak.ledger import Row
from tests.soak.sending import Received, Target, send

LEAD = 1.5  # seconds for the process to start


@dataclass(frozen=True)
class Due:
    """One request of a plan.

    Attributes:
        request: Its id.
        case: Its place among the cases.
        after: Seconds after the beginning.
    """

    request: str
    case: int
    after: float


@dataclass(frozen=True)
class Plan:
    """A whole scenario's requests.

    Attributes:
        scenario: Its name.
        due: In the order of time.
        cases: What they name.
        expected: The answer to each case.
        threads: Most requests under way; with all due at once, the clients of a closed loop.
    """

    scenario: str
    due: Sequence[Due]
    cases: Sequence[Case]
    expected: Sequence[Expected | None]
    threads: int = 160

    def planned(self) -> list[tuple[str, str]]:
        """Id and case of each request."""
        return [(each.request, self.cases[each.case].name) for each in self.due]

    def parts(self, seconds: float) -> "list[Plan]":
        """The same requests in plans of so many seconds, each of which counts from its own beginning."""
        kept: dict[int, list[Due]] = {}
        for each in self.due:
            number = int(each.after // seconds)
            kept.setdefault(number, []).append(replace(each, after=each.after - number * seconds))
        return [replace(self, due=due) for due in kept.values()]


class Running:
    """A plan that is being carried out; ``begin`` is when its first request is due."""

    def __init__(self, plan: Plan, target: Target) -> None:
        context = get_context("spawn")
        self.plan, self.begin = plan, time.monotonic() + LEAD
        self._stop = context.Event()
        self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_take_over, initargs=(self._stop,))
        self._rows: Future[list[Row]] = self._pool.submit(carried_out, plan, target, self.begin)

    @property
    def is_stopped(self) -> bool:
        """Whether a part of it was not to be sent."""
        return self._stop.is_set()

    def stop(self) -> float:
        """Send nothing that is not yet due.

        Returns:
            The moment, after which none is due.
        """
        self._stop.set()
        return time.monotonic()

    def rows(self) -> list[Row]:
        """What came of them, without verdicts; waits for the last one."""
        try:
            return self._rows.result()
        finally:
            self._pool.shutdown()


_stop: Event | None = None  # of the process that carries out a plan


def _take_over(stop: Event) -> None:
    global _stop
    _stop = stop


def _is_stopped(due: float) -> bool:
    """Wait until a request is due; whether none is to be sent any more."""
    seconds = max(0.0, due - time.monotonic())
    if _stop is not None:
        return _stop.wait(seconds)
    time.sleep(seconds)
    return False


def carried_out(plan: Plan, target: Target, begin: float) -> list[Row]:
    """Send all requests of a plan, each when it is due, until it is stopped.

    Args:
        plan: What to send.
        target: Where to.
        begin: Moment of ``time.monotonic()``, which all processes share.
    """
    with ThreadPoolExecutor(plan.threads) as pool:
        runs = []
        for each in plan.due:
            if _is_stopped(begin + each.after):
                break
            runs.append(pool.submit(_carried_out, plan, each, target, begin + each.after))
        return [run.result() for run in runs]


def _carried_out(plan: Plan, due: Due, target: Target, scheduled: float) -> Row:
    case, expected = plan.cases[due.case], plan.expected[due.case]
    sent = time.monotonic()
    came = send(case, due.request, target)
    ended = came.whole or time.monotonic()
    wrong = _wrong(plan, due, came) if expected and came.outcome == "answered" and came.status == 200 else None
    return Row(
        due.request, plan.scenario, case.name, scheduled, sent, ended, came.outcome, came.status, came.code,
        came.server_id, wrong,
    )  # fmt: skip


def _wrong(plan: Plan, due: Due, came: Received) -> str | None:
    """What is wrong with an answer, and whose it is, if it is another's."""
    case, expected = plan.cases[due.case], plan.expected[due.case]
    if expected is None or expected.status != 200:
        return None
    wrong = difference(case.kind, expected.body, came.body, due.request)
    if wrong is None:
        return None
    others = zip(plan.cases, plan.expected, strict=True)
    whose = (
        other.name
        for other, answer in others
        if other.kind == case.kind and answer and difference(case.kind, answer.body, came.body, due.request) is None
    )
    return f"{wrong}; it is the answer to: {next(whose, 'none of them')}"
