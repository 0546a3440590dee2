"""The accounts: each request that was planned ends in exactly one class, and what fits none is unexplained."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from tests.soak.cases import Case
from tests.soak.expected import Expected
from tests.soak.hostile import KNOWN_EXCEPTIONS
from tests.soak.sending import Outcome

RIGHT, REFUSED, BUSY, KILLED, DOWN, OLD_TOKEN, LEFT, KNOWN, UNEXPLAINED = (
    "right answer",
    "expected refusal",
    "queue full",
    "in flight at a kill",
    "frontend was down",
    "token of the killed frontend",
    "client left",
    "TorchServe's own 500",
    "unexplained",
)
QUEUE_FULL = "has no worker to serve inference request"  # TorchServe's words for it, and for no worker at all
WORKER_DIED = "Worker died"
WRONG_TOKEN = "Token Authorization failed"


@dataclass(frozen=True)
class Row:
    """One request.

    Attributes:
        request: Its id.
        scenario: In which it was sent.
        case: Name of what was sent.
        scheduled: When it was due; this and the next two in seconds of ``time.monotonic()``.
        sent: When it was sent.
        ended: When its answer was there.
        outcome: See ``Received``.
        status: Of HTTP.
        code: Of the error.
        server_id: TorchServe's own number of it.
        difference: What is wrong with the answer; None: nothing, or it was none to compare.
        verdict: Its class.
    """

    request: str
    scenario: str
    case: str
    scheduled: float
    sent: float
    ended: float
    outcome: Outcome
    status: int = 0
    code: str = ""
    server_id: str = ""
    difference: str | None = None
    verdict: str = UNEXPLAINED

    @property
    def latency(self) -> float:
        """Seconds from when it was due."""
        return self.ended - self.scheduled


@dataclass(frozen=True)
class Faults:
    """What was done to the server, in seconds of ``time.monotonic()``.

    Attributes:
        kills: When a worker was killed, and when all were ready again.
        down: From when the frontend was killed until it was ready again.
        renewed: When the load had the token of the new frontend; until then it had the old one's.
    """

    kills: tuple[tuple[float, float], ...] = ()
    down: tuple[tuple[float, float], ...] = ()
    renewed: float = 0.0

    def kill_of(self, row: Row) -> int | None:
        """Which kill a request may have ended by: the latest one, if it was under way before READY, not after."""
        if not (past := [number for number, (moment, _) in enumerate(self.kills) if moment <= row.ended]):
            return None
        ready = self.kills[past[-1]][1]
        return past[-1] if row.sent <= ready and row.ended <= ready else None

    def is_down(self, row: Row) -> bool:
        """Whether the frontend was down at any moment of a request."""
        return any(row.sent <= end and row.ended >= begin for begin, end in self.down)

    def has_old_token(self, row: Row) -> bool:
        """Whether a request met another frontend than its token is of."""
        return row.scheduled <= self.renewed and any(row.ended >= begin for begin, _ in self.down)


def verdict(row: Row, case: Case, expected: Expected | None, faults: Faults) -> str:
    """The class of one request.

    Args:
        row: What came of it.
        case: What was sent.
        expected: The answer that it must get; None: none that a worker gives.
        faults: What was done meanwhile.
    """
    if case.manner in ("leaves", "stalls"):
        return LEFT if row.outcome == "left" else UNEXPLAINED
    if row.outcome == "answered":
        return _of_an_answer(row, case, expected, faults)
    if faults.is_down(row):
        return DOWN if row.outcome in ("broken", "closed", "refused") else UNEXPLAINED
    return REFUSED if row.outcome == "closed" and 0 in case.permitted else UNEXPLAINED


def _of_an_answer(row: Row, case: Case, expected: Expected | None, faults: Faults) -> str:
    if row.status == 503 and QUEUE_FULL in row.code:
        return BUSY  # see ``full``
    if row.status in (500, 507) and WORKER_DIED in row.code:  # 507 where it had just been handed the batch
        return UNEXPLAINED if faults.kill_of(row) is None else KILLED
    if row.status == 500 and WORKER_DIED not in row.code and case.name in KNOWN_EXCEPTIONS:
        return KNOWN
    if row.status == 400 and WRONG_TOKEN in row.code and faults.has_old_token(row):
        return OLD_TOKEN  # each start has tokens of its own
    if expected is None:
        return REFUSED if row.status in case.permitted else UNEXPLAINED
    if (row.status, row.code) != (expected.status, expected.code) or row.difference is not None:
        return UNEXPLAINED
    if case.hostile and not (row.status == 200 or 400 <= row.status < 500):
        return UNEXPLAINED  # right, but no answer that a hostile request may get
    return RIGHT if row.status == 200 else REFUSED


def full(rows: Sequence[Row], faults: Faults, room: int) -> list[Row]:
    """The rows; a 503 says ``queue full`` truly only if other requests filled the queue just then.

    TorchServe says the same where it has no worker. A frontend that starts may say it, too.

    Args:
        rows: Of one run, with their verdicts.
        faults: What was done meanwhile.
        room: Requests that must have been under way beside it.
    """
    held = [row for row in rows if row.verdict != BUSY]
    sent, ended = sorted(row.sent for row in held), sorted(row.ended for row in held)
    return [_full(row, bisect_right(sent, row.ended) - bisect_left(ended, row.sent), faults, room) for row in rows]


def _full(row: Row, beside: int, faults: Faults, room: int) -> Row:
    if row.verdict != BUSY or beside >= room or faults.is_down(row):
        return row
    return replace(row, verdict=UNEXPLAINED, difference=f"{beside} others under way fill no queue")


def settled(
    planned: Sequence[tuple[str, str]], rows: Sequence[Row], scenario: str, earlier: Collection[str] = ()
) -> list[Row]:
    """The rows, and one for each request that has none; a request that has two has none that counts.

    Args:
        planned: Id and name of the case of each request.
        rows: Of those that came to an end, with their verdicts.
        scenario: Of all of them.
        earlier: TorchServe's numbers of requests before these.
    """
    times = Counter(row.request for row in rows)
    numbers = Counter(earlier) + Counter(row.server_id for row in rows if row.server_id)
    known = {request for request, _ in planned}
    checked = [_once(row, times, numbers, known) for row in rows]
    lost = [(request, case) for request, case in planned if request not in times]
    return checked + [Row(each, scenario, case, 0, 0, 0, "timeout", difference="lost") for each, case in lost]


def _once(row: Row, times: Counter[str], numbers: Counter[str], known: set[str]) -> Row:
    if row.request not in known:
        return replace(row, verdict=UNEXPLAINED, difference="was never sent")
    if times[row.request] > 1:
        return replace(row, verdict=UNEXPLAINED, difference=f"ended {times[row.request]} times")
    if numbers[row.server_id] > 1:
        return replace(row, verdict=UNEXPLAINED, difference="shares TorchServe's number with another")
    if row.verdict == RIGHT and not row.server_id:
        return replace(row, verdict=UNEXPLAINED, difference="has no number of TorchServe's")
    return row


def unexplained(rows: Sequence[Row]) -> list[Row]:
    """Those that nothing explains."""
    return [row for row in rows if row.verdict == UNEXPLAINED]
