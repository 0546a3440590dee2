"""An archive behind a real TorchServe: throughput in a closed loop, latency in an open one, batches, memory.

``python -m benchmarks.served``: the demo model and its pictures. ``--archive FILE --pictures photos --clients 1,8,64``
sends JPEGs of 640 x 480; ``--pictures sizes`` those of 40 sizes. First so many clients ask as fast as they are
answered, which says how much the server can do; then requests come at fixed rates, up to beyond that, which says how
long users wait. The server is its own, on free ports, and stopped at the end.
"""

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.batches import Batches
from benchmarks.latency import percentiles
from benchmarks.load import Load, closed_loop, warm_up
from benchmarks.machine import as_line, describe, gpu_memory_mb
from benchmarks.open_loop import constant, lateness, open_loop, poisson
from benchmarks.pictures import KINDS, SEED, sent
from benchmarks.report import Report, Row, shown
from benchmarks.running import DEMO, running, target_of
from server.torchserve import TorchServe

# Of what the closed loop did a second.
SHARES = (0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5)
Kinds = dict[str, list[bytes]]


def counted(load: Load) -> Row:
    """What every row says of its requests; latencies are of those that got 200, the others are counted."""
    answered = len(load.answered)
    counts = {"requests": len(load.outcomes), "failed": len(load.outcomes) - answered, "statuses": load.statuses}
    return counts | {"per_second": load.per_second} | percentiles(load.milliseconds)


def afterwards(server: TorchServe, before: Batches) -> Row:
    """Batches since then, and the memory now."""
    memory = {"worker_mb": server.worker_bytes() / 1e6, "gpu_mb": gpu_memory_mb()}
    return Batches.now(server).since(before) | memory


def closed_rows(server: TorchServe, kinds: Kinds, arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each kind of pictures and number of clients, or several, so that memory which grows shows."""
    target = target_of(server, arguments.name)
    for name, pictures in kinds.items():
        for clients in arguments.clients:
            for _ in range(arguments.repeat):
                before = Batches.now(server)
                load = closed_loop(target, pictures, clients, arguments.requests, count_failures=True)
                yield {"pictures": name, "clients": clients} | counted(load) | afterwards(server, before)


def open_rows(
    server: TorchServe, pictures: list[bytes], rates: Sequence[float], arguments: argparse.Namespace
) -> Iterator[Row]:
    """A row for each rate. The next one begins when all requests of the last one have ended."""
    for rate in rates:
        before = Batches.now(server)
        schedule = constant(rate, arguments.seconds)
        if arguments.arrivals == "poisson":
            schedule = poisson(rate, arguments.seconds, arguments.seed)
        load = open_loop(target_of(server, arguments.name), pictures, schedule)
        yield {"rate": rate} | counted(load) | lateness(load) | afterwards(server, before)


def rates_of(asked: str, capacity: float) -> list[float]:
    """The rates to try.

    Args:
        asked: ``auto``: shares of the capacity; ``none``; or numbers with commas between them.
        capacity: Requests a second that were answered at best.
    """
    if asked == "none" or (asked == "auto" and not capacity):
        return []
    if asked != "auto":
        return [float(rate) for rate in asked.split(",")]
    return [float(f"{share * capacity:.3g}") for share in SHARES]


def measure(server: TorchServe, arguments: argparse.Namespace) -> Iterator[tuple[str, list[Row]]]:
    """Table after table of one server, warmed up by the most clients with every picture."""
    kinds = {name: pictures for kind in arguments.pictures.split(",") for name, pictures in sent(kind).items()}
    every = [picture for pictures in kinds.values() for picture in pictures]
    warm_up(target_of(server, arguments.name), every, max(arguments.clients), arguments.warm_up)
    rows = shown(closed_rows(server, kinds, arguments))
    yield "rows", rows
    mixed = list(kinds)[-1]
    capacity = max(row["per_second"] for row in rows if row["pictures"] == mixed)
    print(f"\n{mixed}, at fixed rates; in the closed loop {capacity:.1f} a second\n", flush=True)
    yield "open", shown(open_rows(server, kinds[mixed], rates_of(arguments.rates, capacity), arguments))


def with_plots(report: Report, archive: Path) -> Report:
    """The same with what can be drawn of it."""
    closed, opened = report.tables["rows"], report.tables.get("open")
    if len({row["clients"] for row in closed}) > 1:
        axes: dict[str, Any] = {"x": ("clients", "clients"), "y": ("per_second", "requests answered a second")}
        report.plots["throughput"] = partial(draw, "lines", rows=closed, by="pictures", title=archive.stem, **axes)
    if opened:
        capacity = max(row["per_second"] for row in closed if row["pictures"] == closed[-1]["pictures"])
        title = f"{archive.stem}, {closed[-1]['pictures']}"
        report.plots["latency"] = partial(draw, "latency_against_rate", rows=opened, capacity=capacity, title=title)
    return report


def draw(name: str, path: Path, **what: Any) -> None:
    """One of the plots."""
    from benchmarks import plots  # here: it loads matplotlib, which only the plots need

    getattr(plots, name)(path, **what)


def numbers(text: str) -> list[int]:
    """Whole numbers with commas between them."""
    return [int(number) for number in text.split(",")]


def parse_arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.served", description=__doc__)
    parser.add_argument("--archive", type=Path, default=DEMO)
    parser.add_argument("--name", default="demo", help="of the model in the URL (default: demo)")
    parser.add_argument("--pictures", default="demo", help=f"{', '.join(KINDS)}, or several with commas between them")
    parser.add_argument("--clients", type=numbers, default=[1, 8], help="of the closed loop (default: 1,8)")
    parser.add_argument("--requests", type=int, default=200, help="of each row of the closed loop (default: 200)")
    parser.add_argument("--repeat", type=int, default=1, help="rows of each kind (default: 1)")
    parser.add_argument("--warm-up", type=int, default=50, help="fewest requests before the first row (default: 50)")
    parser.add_argument("--rates", default="auto", help="of the open loop, a second: numbers, none, or auto (default)")
    parser.add_argument("--arrivals", choices=["poisson", "constant"], default="poisson", help="default: poisson")
    parser.add_argument("--seconds", type=float, default=20, help="of each rate (default: 20)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the moments (default: {SEED})")
    parser.add_argument("--out", type=Path, help="also write JSON here, and Markdown and plots beside it")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    """Start, measure, stop, print."""
    arguments = parse_arguments(given)
    settings = {name: str(value) for name, value in vars(arguments).items() if name != "out"}
    report = Report(f"{arguments.name}, served", describe(), settings)
    print(as_line(report.machine) + "\n", flush=True)
    with running({arguments.name: arguments.archive}) as server:
        for heading, rows in measure(server, arguments):
            report.add(heading, rows, arguments.out)
    if arguments.out:
        with_plots(report, arguments.archive).write(arguments.out)


if __name__ == "__main__":
    main()
