"""Clients in processes of their own: one Python with 64 threads would be slower than the server that it asks.

Imports nothing but Python's own, so that a client process is up at once.
"""

import http.client
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from multiprocessing import get_context

CLIENTS_A_PROCESS = 8
TIMEOUT = 120.0
OK = 200
NO_ANSWER = 0


@dataclass(frozen=True)
class Target:
    """Where requests go."""

    host: str
    port: int
    path: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Outcome:
    """One request. Times are seconds of the monotonic clock, which all processes share.

    Attributes:
        due: When it was to be sent; what it took is counted from here.
        sent: When it was.
        ended: When the last byte of the answer was there.
        status: Of HTTP; NO_ANSWER where none came.
        problem: What a status other than 200 said.
    """

    due: float
    sent: float
    ended: float
    status: int
    problem: str = ""


@dataclass(frozen=True)
class Load:
    """What came of a run."""

    outcomes: list[Outcome]

    @property
    def answered(self) -> list[Outcome]:
        """Those that got 200."""
        return [each for each in self.outcomes if each.status == OK]

    @property
    def milliseconds(self) -> list[float]:
        """Of each request that got 200, in no order."""
        return [1e3 * (each.ended - each.due) for each in self.answered]

    @property
    def per_second(self) -> float:
        """Requests that got 200, a second, from the first due to the last answered."""
        elapsed = max(each.ended for each in self.outcomes) - min(each.due for each in self.outcomes)
        return len(self.answered) / elapsed

    @property
    def statuses(self) -> dict[str, int]:
        """How many requests got each status."""
        counted = Counter(each.status for each in self.outcomes)
        return {"no answer" if status == NO_ANSWER else str(status): counted[status] for status in sorted(counted)}


class Client:
    """One connection, kept open and opened again after a failure."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._connection = http.client.HTTPConnection(target.host, target.port, timeout=TIMEOUT)

    def send(self, body: bytes, due: float | None = None) -> Outcome:
        """Send and wait; a failure is an outcome as well.

        Args:
            body: Of the request.
            due: When it was to be sent; None: now.
        """
        sent = time.monotonic()
        try:
            self._connection.request("POST", self._target.path, body, self._target.headers)
            answer = self._connection.getresponse()
            status, text = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            status, text = NO_ANSWER, repr(error).encode()
        problem = "" if status == OK else text[:300].decode(errors="replace")
        return Outcome(sent if due is None else due, sent, time.monotonic(), status, problem)

    def close(self) -> None:
        """The next request opens it again."""
        self._connection.close()


def closed_loop(
    target: Target, bodies: Sequence[bytes], clients: int, requests: int, count_failures: bool = False
) -> Load:
    """Each client sends its next body as soon as its last one is answered.

    Good for throughput. Not for latency: while the server stalls nobody asks, so that a stall costs one slow request
    a client, however long it was.

    Args:
        target: Where to.
        bodies: Sent in turn.
        clients: How many at a time.
        requests: How many in all, rounded down to a multiple of the clients.
        count_failures: Go on after a request that fails.

    Raises:
        RuntimeError: A request was not answered with 200, and failures are not to be counted.
    """
    groups = [min(CLIENTS_A_PROCESS, clients - start) for start in range(0, clients, CLIENTS_A_PROCESS)]
    each = max(1, requests // clients)
    with ProcessPoolExecutor(len(groups), mp_context=get_context("spawn")) as pool:
        list(pool.map(abs, range(len(groups))))  # all processes are up before the first request
        runs = [
            pool.submit(_group, target, list(bodies), count, each, number * CLIENTS_A_PROCESS, count_failures)
            for number, count in enumerate(groups)
        ]
        return Load([outcome for run in runs for outcome in run.result()])


def warm_up(
    target: Target, bodies: Sequence[bytes], clients: int, fewest: int = 0, count_failures: bool = False
) -> Load:
    """Send every body at least once.

    Args:
        target: Where to.
        bodies: Sent in turn.
        clients: How many at a time.
        fewest: Requests in all, at least.
        count_failures: As in ``closed_loop``, which also says what it raises.
    """
    wanted = max(fewest, len(bodies))
    return closed_loop(target, bodies, clients, ceil(wanted / clients) * clients, count_failures)


def _group(
    target: Target, bodies: list[bytes], clients: int, requests: int, first: int, count_failures: bool
) -> list[Outcome]:
    """Every request of some clients."""
    with ThreadPoolExecutor(clients) as pool:
        starts = ((first + index) * requests for index in range(clients))
        runs = [pool.submit(_one_client, target, bodies, requests, start, count_failures) for start in starts]
        return [outcome for run in runs for outcome in run.result()]


def _one_client(target: Target, bodies: list[bytes], requests: int, first: int, count_failures: bool) -> list[Outcome]:
    client, outcomes = Client(target), list[Outcome]()
    try:
        for number in range(first, first + requests):
            outcomes.append(client.send(bodies[number % len(bodies)]))
            if outcomes[-1].status != OK and not count_failures:
                raise RuntimeError(f"the server answered {outcomes[-1].status}: {outcomes[-1].problem}")
    finally:
        client.close()
    return outcomes
