"""Memory of the server's processes over time, and how fast it grows."""

import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil

PAUSE = 5.0  # seconds that a busy machine lets a thread wait
WARM_UP = 1 / 3  # of all the time
MOST_POINTS = 400  # of one fit: it looks at every pair


@dataclass(frozen=True)
class Sample:
    """Memory of one process at one moment.

    Attributes:
        at: Seconds of ``time.monotonic()``.
        role: ``frontend`` or ``worker``.
        pid: Of the process.
        resident: VmRSS, bytes.
        anonymous: RssAnon, bytes: without the files that it maps.
    """

    at: float
    role: str
    pid: int
    resident: int
    anonymous: int


class Sampler:
    """Reads ``/proc`` now and then, in a thread, until it is left."""

    def __init__(self, frontend: int, every: float) -> None:
        self.samples: list[Sample] = []
        self.failures: list[str] = []
        self.begin, self.end = 0.0, 0.0
        self._frontend, self._every = frontend, every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Sampler":
        self.begin = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.end = time.monotonic()

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._every):
                self.samples += sampled(self._frontend)
        except Exception as error:  # noqa: BLE001 - in this thread nobody would hear of it
            self.failures.append(f"memory was not read: {type(error).__name__}: {error}")


def sampled(frontend: int) -> list[Sample]:
    """All processes of a server at this moment.

    Args:
        frontend: Pid of its Java process.
    """
    try:
        workers = psutil.Process(frontend).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    found = [_sample("frontend", frontend), *(_sample("worker", each.pid) for each in workers)]
    return [each for each in found if each]


def _sample(role: str, pid: int) -> Sample | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    values = {name: value for name, _, value in (line.partition(":") for line in lines)}
    if "VmRSS" not in values:  # it is about to be gone
        return None
    resident, anonymous = (int(values[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon"))
    return Sample(time.monotonic(), role, pid, resident, anonymous)


@dataclass(frozen=True)
class Growth:
    """How the memory of one process went.

    Attributes:
        role: Of the process.
        pid: Of the process.
        megabytes: Median of the time when all is warm.
        percent_an_hour: Slope of that time, extrapolated.
        seconds: Length of that time.
        added_megabytes: Its last sample less its first: a leak in one or two steps has no slope.
    """

    role: str
    pid: int
    megabytes: float
    percent_an_hour: float
    seconds: float
    added_megabytes: float


def growths(samples: Sequence[Sample]) -> list[Growth]:
    """Of each process that was there from the first sample to the last: without the first third, when all is warm.

    Not less than that: malloc's memory wanders by a few percent, which a quarter of an hour would make 10 % an hour of.
    """
    if not samples:
        return []
    begin, end = samples[0].at, samples[-1].at
    warm = begin + WARM_UP * (end - begin)
    kept = {key: [each for each in own if each.at >= warm] for key, own in _spanning(samples, begin, end)}
    return [_growth(*key, points) for key, points in kept.items() if len(points) > 2]


def _spanning(samples: Sequence[Sample], begin: float, end: float) -> list[tuple[tuple[str, int], list[Sample]]]:
    """The samples of each process that was there all the time, but for a tenth or a pause at either end."""
    spare, found = max(PAUSE, (end - begin) / 10), dict[tuple[str, int], list[Sample]]()
    for each in samples:
        found.setdefault((each.role, each.pid), []).append(each)
    return [(key, own) for key, own in found.items() if own[0].at <= begin + spare and own[-1].at >= end - spare]


def unwatched(samples: Sequence[Sample], begin: float, end: float, workers: int) -> list[str]:
    """One frontend and all workers were there, and were looked at, from the beginning to the end.

    Args:
        samples: Of all processes.
        begin: Of the load, as their ``at``.
        end: Of it.
        workers: How many there are.
    """
    times: dict[str, int] = {"frontend": 0, "worker": 0}
    for (role, _), own in _spanning(samples, begin, end):
        times[role] += len(own) > 2
    if times == {"frontend": 1, "worker": workers}:
        return []
    return [f"memory is known of {times['frontend']} frontends and {times['worker']} workers, not 1 and {workers}"]


def _growth(role: str, pid: int, samples: Sequence[Sample]) -> Growth:
    times = np.array([each.at for each in samples])
    sizes = np.array([each.resident for each in samples], dtype=float)
    typical = float(np.median(sizes))
    percent = 100 * 3600 * slope(times, sizes) / typical
    return Growth(role, pid, typical / 1e6, percent, float(times[-1] - times[0]), float(sizes[-1] - sizes[0]) / 1e6)


def slope(times: "np.ndarray", values: "np.ndarray") -> float:
    """The median of the slopes of all pairs of points (Theil 1950, Sen 1968): a few outliers move it nowhere.

    Args:
        times: (N,) seconds, ascending.
        values: (N,).
    """
    step = max(1, len(times) // MOST_POINTS)
    times, values = times[::step], values[::step]
    first, second = np.triu_indices(len(times), 1)
    apart = times[second] - times[first]
    return float(np.median((values[second] - values[first])[apart > 0] / apart[apart > 0]))


def as_lines(samples: Sequence[Sample]) -> str:
    """CSV."""
    names = list(asdict(samples[0])) if samples else []
    return "\n".join([",".join(names), *(",".join(map(str, asdict(each).values())) for each in samples)]) + "\n"
