"""What must hold in a scenario, as rules on its rows and on what was seen of the server before and after."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from tests.soak.ledger import BUSY, KILLED, RIGHT, Faults, Row
from tests.soak.place import BATCH

MOST = 0.5  # of the good requests; a busy machine may keep up with no more of a rate that it once could
RECOVERY_SECONDS = 5.0


@dataclass(frozen=True)
class Seen:
    """A server at one moment.

    Attributes:
        workers: Pids of those that are ready.
        files: In its temporary folder.
    """

    workers: frozenset[int]
    files: frozenset[str]

    def changes(self, after: "Seen") -> list[str]:
        """What load alone must not do."""
        lost = [f"worker {pid} was lost" for pid in sorted(self.workers - after.workers)]
        return lost + [f"left in the temporary folder: {each}" for each in sorted(after.files - self.files)]


def answered(rows: Sequence[Row], least: float = MOST, hostile: Collection[str] = ()) -> list[str]:
    """Requests were sent, and most good ones were answered rightly.

    Args:
        rows: Of a scenario.
        least: Share of the good requests.
        hostile: Names of the cases that are none.
    """
    good = [row for row in rows if row.case not in hostile]
    right = sum(row.verdict == RIGHT for row in good)
    if not right or right < least * len(good):
        return [f"{right} of {len(good)} good requests were answered rightly"]
    return []


def never_sent(rows: Sequence[Row], names: Collection[str]) -> list[str]:
    """Each of these cases was sent.

    Args:
        rows: Of a scenario.
        names: Of the cases.
    """
    left = sorted({*names} - {row.case for row in rows})
    return [f"{len(left)} cases were never sent: {', '.join(left[:5])}"] if left or not names else []


def lost_a_kill(rows: Sequence[Row], faults: Faults) -> list[int]:
    """How many requests each kill cost."""
    ended_by = [faults.kill_of(row) for row in rows if row.verdict == KILLED]
    return [ended_by.count(number) for number in range(len(faults.kills))]


def more_than_a_batch(lost: Sequence[int]) -> list[str]:
    """A kill costs the batch in the worker's hands and no more."""
    return [f"a kill cost {each} requests, a batch is {BATCH}" for each in lost if each > BATCH]


def overloaded(rows: Sequence[Row]) -> list[str]:
    """Some were answered, others refused."""
    accepted, busy = (sum(row.verdict == each for row in rows) for each in (RIGHT, BUSY))
    return [] if accepted and busy else [f"{accepted} were answered and {busy} refused: that is no overload"]


def recovered(calm: Sequence[Row], over: float, alone: float) -> float:
    """Seconds from the end of the overload to the first right answer that took a normal time; infinity: none did.

    Args:
        calm: Requests after it, one at a time.
        over: When the last of the overload was due.
        alone: Seconds that a request takes alone.
    """
    return next((row.ended - over for row in calm if row.verdict == RIGHT and row.latency < 3 * alone), float("inf"))


def late(figures: dict[str, Any]) -> list[str]:
    """Goals of time under overload that were not met.

    Args:
        figures: Of the overload.
    """
    accepted, bound = figures["accepted_p99_s"], figures["bound_s"]
    told = [f"p99 of the accepted is {accepted:.1f} s, over 1.5 x {bound:.1f} s"] if accepted > 1.5 * bound else []
    if figures["busy_p99_ms"] > 1e3 * bound / 4:
        told.append(f"p99 until 503 is {figures['busy_p99_ms']:.0f} ms")
    if figures["recovered_s"] > RECOVERY_SECONDS:
        told.append(f"normal again after {figures['recovered_s']:.1f} s")
    return told


def busy(rows: Sequence[Row]) -> list[str]:
    """The queue is never full below the capacity: a goal of time, for the capacity of a shared machine changes."""
    number = sum(row.verdict == BUSY for row in rows)
    return [f"{number} requests found the queue full below capacity"] if number else []


def latencies(rows: Sequence[Row]) -> dict[str, float]:
    """Of the pictures answered, counted from when each was due; and how late the requests themselves were."""
    times = [row.latency for row in rows if row.status == 200]
    behind = [row.sent - row.scheduled for row in rows]
    names = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "max_ms": 1.0}
    return {name: 1e3 * quantile(times, share) for name, share in names.items()} | {
        "sent_late_p99_ms": 1e3 * quantile(behind, 0.99)
    }


def quantile(values: Sequence[float], share: float) -> float:
    """The value that such a share of all lies below; 0: there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
