"""Requests at moments that were fixed beforehand, whatever the server does: the honest way to measure latency.

Users do not wait for each other. A client that waits for its answer before it asks again stops asking just when the
server is slow, and so leaves out the slow answers (coordinated omission). Here every request is due at its own moment,
is sent then by a sender that nothing else keeps busy, and its latency counts from that moment, sent late or not.

Imports nothing but Python's own, so that the process of the senders is up at once.
"""

import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import accumulate
from multiprocessing import get_context

from benchmarks.load import Client, Load, Outcome, Target

SENDERS = 512  # at most; only as many start as requests wait at a time
LATE_MS = 5.0  # sent this much after it was due, a request counts as sent late
_HEAD_START = 0.1  # seconds until the schedule begins


def poisson(rate: float, seconds: float, seed: int) -> list[float]:
    """Moments of a Poisson process, as of users who know nothing of each other: exponentially distributed gaps.

    Args:
        rate: Requests a second on average.
        seconds: Length.
        seed: The same seed gives the same moments.

    Returns:
        Seconds after the begin, ascending, at least one.
    """
    gaps = random.Random(seed)
    count = max(1, round(rate * seconds))
    return list(accumulate((gaps.expovariate(rate) for _ in range(count - 1)), initial=0.0))


def constant(rate: float, seconds: float) -> list[float]:
    """Moments at equal distances, as :func:`poisson` returns them."""
    return [number / rate for number in range(max(1, round(rate * seconds)))]


def open_loop(target: Target, bodies: Sequence[bytes], schedule: Sequence[float], senders: int = SENDERS) -> Load:
    """Send a request at each moment of a schedule; failures are outcomes as well.

    Args:
        target: Where to.
        bodies: Sent in turn.
        schedule: Seconds after the begin, ascending.
        senders: Requests that may wait for their answers at a time. Should they all wait, the next requests are sent
            late: :func:`lateness` tells.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(abs, 0).result()
        return Load(pool.submit(_send_all, target, list(bodies), list(schedule), senders).result())


def lateness(load: Load) -> dict[str, float]:
    """How well the schedule was kept: requests sent late, and the worst delay in milliseconds."""
    delays = [1e3 * (each.sent - each.due) for each in load.outcomes]
    return {"sent_late": sum(delay > LATE_MS for delay in delays), "latest_ms": max(delays)}


def _send_all(target: Target, bodies: list[bytes], schedule: list[float], senders: int) -> list[Outcome]:
    own = threading.local()
    clients: list[Client] = []

    def send(body: bytes, due: float) -> Outcome:
        if not hasattr(own, "client"):
            own.client = Client(target)
            clients.append(own.client)
        outcome: Outcome = own.client.send(body, due)
        return outcome

    begin, runs = time.monotonic() + _HEAD_START, []
    try:
        with ThreadPoolExecutor(senders) as pool:
            for number, moment in enumerate(schedule):
                time.sleep(max(0.0, begin + moment - time.monotonic()))
                runs.append(pool.submit(send, bodies[number % len(bodies)], begin + moment))
            return [run.result() for run in runs]
    finally:
        for client in clients:
            client.close()
