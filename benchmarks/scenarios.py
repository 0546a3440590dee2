"""The scenarios of MLPerf's LoadGen on a served model, for those who know them. **This is no official MLPerf result**:
LoadGen itself does not run, model and pictures are not MLPerf's, and a run lasts seconds instead of ten minutes.

``python -m benchmarks.scenarios --scenario SingleStream|Server|Offline``. The fields of the JSON are those of LoadGen's
``mlperf_log_detail.txt``:

SingleStream: one query after the other; the result is the 90th percentile of their latencies.
Server: queries at the moments of a Poisson process; the result is the highest rate that was found at which the 99th
percentile keeps ``--bound-ms`` and every query is answered. As in LoadGen latency counts from the scheduled moment.
Offline: all samples are there from the beginning; the result is samples a second. TorchServe's queue holds few, so
``--clients`` requests at a time are open until all samples are through.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.latency import percentile
from benchmarks.load import Load, Target, closed_loop
from benchmarks.machine import describe
from benchmarks.open_loop import open_loop, poisson
from benchmarks.pictures import KINDS, SEED, sent
from benchmarks.running import DEMO, running, target_of

SCENARIOS = ("SingleStream", "Server", "Offline")
DISCLAIMER = "not an official MLPerf result: LoadGen's definitions, nothing else of MLPerf"
PERCENTILES = (0.5, 0.9, 0.95, 0.97, 0.99, 0.999)  # those that LoadGen reports
BOUND_SHARE = 0.99
MOST_TRIALS = 20
Fields = dict[str, Any]
Ask = Callable[[float], Load]


@dataclass(frozen=True)
class Bound:
    """What a rate must keep.

    Attributes:
        latency_ms: Of the 99th percentile.
        queries: Fewest of a trial.
        seconds: Shortest trial.
    """

    latency_ms: float
    queries: int
    seconds: float

    def length(self, rate: float) -> float:
        """Seconds of a trial at some rate."""
        return max(self.seconds, self.queries / rate)

    def kept_by(self, load: Load) -> bool:
        """A query that was not answered is as bad as a late one."""
        complete = len(load.answered) == len(load.outcomes)
        return complete and percentile(load.milliseconds, BOUND_SHARE) <= self.latency_ms


def highest_rate(keeps: Callable[[float], bool], first: float, tolerance: float = 0.05) -> float | None:
    """The highest rate that keeps a bound: doubled until it does not, halved until it does, then between the two.

    Args:
        keeps: Tries a rate.
        first: The first one to try.
        tolerance: How far above the result a rate lies that was tried in vain, as a share of the result.

    Returns:
        A rate that was tried and kept the bound; None where 20 trials found none.
    """
    best, worst, rate = 0.0, float("inf"), first
    for _ in range(MOST_TRIALS):
        if keeps(rate):
            best = max(best, rate)
        else:
            worst = min(worst, rate)
        if best and worst <= best * (1 + tolerance):
            break
        rate = 2 * best if worst == float("inf") else worst / 2 if not best else (best + worst) / 2
    return best or None


def latencies(load: Load) -> Fields:
    """What LoadGen reports in every scenario, in nanoseconds; nothing where nothing was answered."""
    times = load.milliseconds
    if not times:
        return {}
    ends = {"min": min(times), "max": max(times), "mean": sum(times) / len(times)}
    named = {f"result_{name}_latency_ns": _ns(value) for name, value in ends.items()}
    return named | {
        f"result_{100 * share:.2f}_percentile_latency_ns": _ns(percentile(times, share)) for share in PERCENTILES
    }


def _ns(milliseconds: float) -> int:
    return round(1e6 * milliseconds)


def single_stream(target: Target, pictures: Sequence[bytes], queries: int) -> Fields:
    """Sequential queries."""
    load = closed_loop(target, pictures, 1, queries, count_failures=True)
    return {"effective_min_query_count": queries} | _counted(load, queries) | latencies(load)


def offline(target: Target, pictures: Sequence[bytes], samples: int, clients: int) -> Fields:
    """All samples at once, as many of them open as there are clients."""
    load = closed_loop(target, pictures, min(clients, samples), samples, count_failures=True)
    # Every sample is there from the beginning: its latency counts from there, and the longest is the whole run.
    rate = {"result_samples_per_second": load.per_second, "effective_max_concurrency": clients}
    return rate | {"effective_min_sample_count": samples} | _counted(load, samples // clients * clients)


def server(ask: Ask, bound: Bound, first: float) -> Fields:
    """The search.

    Args:
        ask: Sends queries at a rate for as long as the bound wants.
        bound: What to keep.
        first: The first rate to try.
    """
    trials: dict[float, Load] = {}

    def keeps(rate: float) -> bool:
        trials[rate] = ask(rate)
        return bound.kept_by(trials[rate])

    rate = highest_rate(keeps, first)
    about: Fields = {
        "effective_target_latency_ns": _ns(bound.latency_ms),
        "effective_target_latency_percentile": BOUND_SHARE,
        "effective_min_query_count": bound.queries,
        "effective_min_duration_ms": round(1e3 * bound.seconds),
        "trials": [_trial(each, load, bound) for each, load in trials.items()],
    }
    if rate is None:
        return about | {"result_validity": "INVALID"}
    return (
        about
        | {"effective_target_qps": rate}
        | _rates(trials[rate])
        | _counted(trials[rate], 1)
        | latencies(trials[rate])
    )


def _trial(rate: float, load: Load, bound: Bound) -> Fields:
    p99 = _ns(percentile(load.milliseconds, BOUND_SHARE)) if load.answered else None
    return {"target_qps": rate, "statuses": load.statuses, "p99_latency_ns": p99, "kept": bound.kept_by(load)}


def _rates(load: Load) -> Fields:
    """One query less than there were: the last one is the end of the time that is divided by."""
    begin = min(each.due for each in load.outcomes)
    scheduled = max(each.due for each in load.outcomes) - begin
    completed = max(each.ended for each in load.outcomes) - begin
    gaps = len(load.outcomes) - 1
    return {
        "result_scheduled_samples_per_sec": gaps / scheduled if gaps else None,
        "result_completed_samples_per_sec": gaps / completed,
    }


def _counted(load: Load, wanted: int) -> Fields:
    valid = len(load.answered) == len(load.outcomes) >= wanted
    return {
        "result_validity": "VALID" if valid else "INVALID",
        "result_query_count": len(load.outcomes),
        "statuses": load.statuses,
    }


def measure(target: Target, pictures: Sequence[bytes], arguments: argparse.Namespace) -> Fields:
    """The scenario that was asked for, after a warm-up."""
    closed_loop(target, pictures, 4, arguments.warm_up)
    if arguments.scenario == "SingleStream":
        return single_stream(target, pictures, arguments.queries)
    if arguments.scenario == "Offline":
        return offline(target, pictures, arguments.queries, arguments.clients)
    bound = Bound(arguments.bound_ms, arguments.queries, arguments.seconds)

    def ask(rate: float) -> Load:
        load = open_loop(target, pictures, poisson(rate, bound.length(rate), arguments.seed))
        print(f"{rate:.3g} queries a second: {'kept' if bound.kept_by(load) else 'not kept'}", flush=True)
        return load

    return server(ask, bound, arguments.first_rate) | {"effective_schedule_rng_seed": arguments.seed}


def parse_arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scenarios", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenario", choices=SCENARIOS, required=True)
    parser.add_argument("--archive", type=Path, default=DEMO)
    parser.add_argument("--name", default="demo", help="of the model in the URL (default: demo)")
    parser.add_argument("--pictures", default="demo", choices=KINDS)
    parser.add_argument("--queries", type=int, default=200, help="or samples; of a trial, the fewest (default: 200)")
    parser.add_argument("--warm-up", type=int, default=48, help="queries before (default: 48)")
    parser.add_argument("--clients", type=int, default=16, help="Offline: requests open at a time (default: 16)")
    parser.add_argument("--bound-ms", type=float, default=1000, help="Server: of the 99th percentile (default: 1000)")
    parser.add_argument("--seconds", type=float, default=10, help="Server: of a trial at least (default: 10)")
    parser.add_argument("--first-rate", type=float, default=4, help="Server: a second, the first to try (default: 4)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"Server: of the moments (default: {SEED})")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    """Start, measure, stop, print."""
    arguments = parse_arguments(given)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)  # now: at the end it would be too late to fail
    about: Fields = {"note": DISCLAIMER, "machine": describe(), "effective_scenario": arguments.scenario}
    *_, pictures = sent(arguments.pictures).values()
    with running({arguments.name: arguments.archive}) as server_:
        result = about | measure(target_of(server_, arguments.name), pictures, arguments)
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
