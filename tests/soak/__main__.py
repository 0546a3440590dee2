"""Load and faults against a real TorchServe of its own, with every request accounted for.

Exit codes: 0: each request is explained and all that must hold does; 1: not so. Goals of time and memory (READY again,
recovery, growth) decide with ``--strict`` only, which 30 minutes and more imply: a shared machine keeps no promise.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.machine import describe
from tests.served import ROOT
from tests.soak.ledger import Row
from tests.soak.place import Place
from tests.soak.report import row_lines, summary, written
from tests.soak.scenarios import Result, Soak

SCENARIOS = ("traffic", "hostile", "kill", "overload", "frontend")
FULL_MINUTES, FULL_REQUESTS = 30.0, 20_000
OVERHEAD = 55.0  # seconds: start, the answers in process, the capacity
KILL_PERIOD = 20.0
LONGEST = 1800.0  # seconds of a scenario other than the traffic: a token lives an hour


def parse_arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=3.0, help="of all, about (default: 3)")
    parser.add_argument("--scenarios", default=",".join(SCENARIOS), help="with commas between them (default: all)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "soak", help="folder of the ledger")
    parser.add_argument("--archive", type=Path, default=ROOT / "model_store" / "demo.mar", help="the demo model")
    parser.add_argument("--requests", type=int, help="of the traffic, at least (default: 20,000 from 30 minutes on)")
    parser.add_argument("--strict", action="store_true", help="goals of time and memory decide, too")
    arguments = parser.parse_args(given)
    arguments.scenarios = arguments.scenarios.split(",")
    if unknown := sorted({*arguments.scenarios} - {*SCENARIOS}):
        parser.error(f"--scenarios takes {', '.join(SCENARIOS)}, got {', '.join(unknown)}")
    full = arguments.minutes >= FULL_MINUTES
    arguments.strict |= full
    arguments.requests = (FULL_REQUESTS if full else 0) if arguments.requests is None else arguments.requests
    return arguments


def seconds_of(minutes: float, chosen: Sequence[str]) -> dict[str, float]:
    """How long each scenario takes; what is left is the traffic's."""
    total = max(60.0, 60 * minutes - OVERHEAD)
    times = {"hostile": max(15, 0.12 * total), "kill": max(2.1 * KILL_PERIOD, 0.12 * total)}
    times |= {"overload": max(8, 0.02 * total), "frontend": max(25, 0.02 * total)}
    times = {each: min(LONGEST, seconds) for each, seconds in times.items()}
    rest = total - sum(times[each] for each in chosen if each != "traffic")
    return times | {"traffic": max(20.0, rest)}


def scenarios(soak: Soak, arguments: argparse.Namespace) -> dict[str, Callable[[], Result]]:
    """How each is run."""
    times = seconds_of(arguments.minutes, arguments.scenarios)
    return {
        "traffic": lambda: soak.traffic(times["traffic"], arguments.requests),
        "hostile": lambda: soak.hostile(times["hostile"], each=10 if arguments.minutes >= FULL_MINUTES else 3),
        "kill": lambda: soak.kill(times["kill"], KILL_PERIOD),
        "overload": lambda: soak.overload(times["overload"]),
        "frontend": lambda: soak.frontend(times["frontend"]),
    }


def soaked(arguments: argparse.Namespace, folder: Path, say: Callable[[str], None]) -> list[Result]:
    """Start, run what was chosen, stop.

    Args:
        arguments: Of the command.
        folder: An empty one.
        say: Takes a line of progress.
    """
    full = arguments.minutes >= FULL_MINUTES
    place = Place(arguments.archive.resolve(), folder, say)
    try:
        soak = Soak(place, folder, every=full, hostile_count=1000 if full else 110)
        results = [_ended("capacity", lambda: soak.warm(800 if full else 80), soak)]
        if results[0].findings:
            return results
        say(f"capacity {soak.capacity:.1f} requests/s, alone {1e3 * soak.alone:.0f} ms")
        for name in arguments.scenarios:
            begin = time.monotonic()
            results.append(_ended(name, scenarios(soak, arguments)[name], soak))
            say(_line(results[-1], time.monotonic() - begin))
        return results
    finally:
        place.server.stop()


def _ended(name: str, scenario: Callable[[], Result], soak: Soak) -> Result:
    """Its result; where it could not be carried to its end, that is what was found, and the ledger is written."""
    try:
        return scenario()
    except Exception as error:  # noqa: BLE001 - whatever it is, the rows are wanted, and no load in the next scenario
        return Result(name, _left(name, soak), findings=[f"was not carried out: {type(error).__name__}: {error}"])
    finally:
        soak.stop()  # at SIGTERM, too, which would wait for the rest of the load


def _left(name: str, soak: Soak) -> list[Row]:
    try:
        return soak.abandoned(name)
    except Exception:  # noqa: BLE001 - the process that sent is gone, maybe by this very error, which is told
        return soak.rows_of(name)


def _line(result: Result, seconds: float) -> str:
    classes: dict[str, int] = {}
    for row in result.rows:
        classes[row.verdict] = classes.get(row.verdict, 0) + 1
    told = ", ".join(f"{number} {name}" for name, number in classes.items())
    return "\n  ".join(
        [f"{result.name}: {told} ({seconds:.0f} s)", *result.findings, *result.slow, *row_lines(result.rows, most=10)]
    )


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = parse_arguments(given)
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - begin:5.0f} s] {text}", flush=True)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped, too
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        results = soaked(arguments, Path(folder), say)
    ledger = summary(results, dict(describe()), arguments.minutes)
    written(arguments.out, ledger, results)
    lines = row_lines([row for result in results for row in result.rows])
    print("\n".join([*lines, f"ledger: {arguments.out / 'ledger.md'}"]))
    wrong = [text for result in results for text in result.findings + (result.slow if arguments.strict else [])]
    return 1 if lines or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
