"""Medians of repeated work, on a CPU or a GPU."""

import statistics
import time
from collections.abc import Callable

import torch

Work = Callable[[], object]
WARM_UPS = 3
_FLUSH_BYTES = 256_000_000  # several times the L2 of any GPU


def median_ms(work: Work, runs: int, device: torch.device, *, host: bool = False, flush: bool = False) -> float:
    """Median of the runs after a warm-up.

    Args:
        work: Called again and again.
        runs: How often it is timed.
        device: Where it computes.
        host: Take the wall clock from idle to idle on a GPU, too: for work whose result the host waits for. Else the
            time between two events of its stream.
        flush: Empty the GPU's cache before each run, outside of the time, for inputs that would fit in it.
    """
    for _ in range(WARM_UPS):
        work()
    if device.type == "cpu":
        return statistics.median(_by_clock(work, device) for _ in range(runs))
    scrap = torch.empty(_FLUSH_BYTES if flush else 0, dtype=torch.uint8, device=device)
    measure = _by_clock if host else _by_events
    return statistics.median(_after_flush(measure, work, device, scrap) for _ in range(runs))


def finish(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _after_flush(
    measure: Callable[[Work, torch.device], float], work: Work, device: torch.device, scrap: torch.Tensor
) -> float:
    if len(scrap):
        scrap.zero_()
    return measure(work, device)


def _by_clock(work: Work, device: torch.device) -> float:
    finish(device)
    begin = time.perf_counter()
    work()
    finish(device)
    return 1e3 * (time.perf_counter() - begin)


def _by_events(work: Work, device: torch.device) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    work()
    end.record()
    torch.cuda.synchronize(device)
    return float(begin.elapsed_time(end))
