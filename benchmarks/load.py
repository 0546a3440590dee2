"""Clients in processes of their own: one Python with 64 threads would be slower than the server that it asks.

Imports nothing but Python's own, so that a client process is up at once.
"""

import http.client
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

CLIENTS_A_PROCESS = 8
TIMEOUT = 120.0


@dataclass(frozen=True)
class Target:
    """Where requests go."""

    host: str
    port: int
    path: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Load:
    """What came of a run.

    Attributes:
        milliseconds: Of each request, in no order.
        per_second: Requests answered a second, from the first sent to the last answered.
    """

    milliseconds: list[float]
    per_second: float


def closed_loop(target: Target, bodies: Sequence[bytes], clients: int, requests: int) -> Load:
    """Each client sends its next body as soon as its last one is answered.

    Args:
        target: Where to.
        bodies: Sent in turn.
        clients: How many at a time.
        requests: How many in all, rounded down to a multiple of the clients.

    Raises:
        RuntimeError: A request was not answered with 200.
    """
    groups = [min(CLIENTS_A_PROCESS, clients - start) for start in range(0, clients, CLIENTS_A_PROCESS)]
    each = max(1, requests // clients)
    with ProcessPoolExecutor(len(groups), mp_context=get_context("spawn")) as pool:
        list(pool.map(abs, range(len(groups))))  # all processes are up before the first request
        runs = [
            pool.submit(_group, target, list(bodies), count, each, number * CLIENTS_A_PROCESS)
            for number, count in enumerate(groups)
        ]
        spans = [span for run in runs for span in run.result()]
    elapsed = max(end for _, end in spans) - min(begin for begin, _ in spans)
    return Load([1e3 * (end - begin) for begin, end in spans], len(spans) / elapsed)


def _group(target: Target, bodies: list[bytes], clients: int, requests: int, first: int) -> list[tuple[float, float]]:
    """Begin and end of every request of some clients."""
    with ThreadPoolExecutor(clients) as pool:
        runs = [pool.submit(_client, target, bodies, requests, (first + index) * requests) for index in range(clients)]
        return [span for run in runs for span in run.result()]


def _client(target: Target, bodies: list[bytes], requests: int, first: int) -> list[tuple[float, float]]:
    connection, spans = http.client.HTTPConnection(target.host, target.port, timeout=TIMEOUT), []
    try:
        for number in range(first, first + requests):
            begin = time.monotonic()  # the same clock in all processes
            connection.request("POST", target.path, bodies[number % len(bodies)], target.headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"the server answered {answer.status}: {text[:300].decode(errors='replace')}")
            spans.append((begin, time.monotonic()))
    finally:
        connection.close()
    return spans
