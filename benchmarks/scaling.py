"""How throughput follows workers, batches and picture sizes, and memory the time; and what to choose on this machine.

``python -m benchmarks.scaling --out FOLDER/scaling.json``. Workers: 1, 2 and as many as there are cores, which they
share. Pictures: made-up JPEGs of several sizes. Batches: ``batchSize`` and ``maxBatchDelay`` with twice as many clients
as fit in all batches. Memory: sampled every second under load. Each deployment is a server of its own, warmed up. About
6 minutes on 2 cores, more where there are more; a leak needs longer (``--only memory --seconds 3600``).
"""

import argparse
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from math import inf
from pathlib import Path
from typing import Any

import psutil

from benchmarks.batches import Batches
from benchmarks.load import closed_loop, warm_up
from benchmarks.machine import as_line, describe
from benchmarks.pictures import jpeg, mixed, sent
from benchmarks.repack import Deployment
from benchmarks.report import Report, Row, shown
from benchmarks.running import DEMO, deployed, target_of
from benchmarks.served import counted, draw, numbers
from handler.cores import available_cores
from server.torchserve import TorchServe

PARTS = ("workers", "batches", "memory")
SIZES = ((240, 320), (480, 640), (960, 1280), (1920, 2560))  # (height, width)
PICTURES_OF_A_SIZE = 8
SLACK = 0.03  # as good as the best: less than what two runs of the same differ by
MIXED = "24 demo pictures"


def pictures() -> dict[str, list[bytes]]:
    """By their size, and the demo's of four sizes."""
    made = {f"{w} x {h}": [jpeg(h, w, seed) for seed in range(PICTURES_OF_A_SIZE)] for h, w in SIZES}
    return made | {MIXED: list(sent("demo").values())[-1]}


def row(server: TorchServe, name: str, bodies: Sequence[bytes], clients: int, requests: int) -> Row:
    """Closed loop, after every picture was sent once."""
    target = target_of(server, name)
    warm_up(target, bodies, min(clients, len(bodies)), count_failures=True)
    before = Batches.now(server)
    load = closed_loop(target, bodies, clients, requests, count_failures=True)
    return {"clients": clients} | counted(load) | Batches.now(server).since(before) | memory(server)


def memory(server: TorchServe) -> Row:
    """Resident, of all workers together and of the frontend."""
    frontend = psutil.Process(server.pid).memory_info().rss
    return {"workers_mb": server.worker_bytes() / 1e6, "frontend_mb": frontend / 1e6}


def worker_counts(cores: int) -> list[int]:
    """1, 2 and the cores."""
    return sorted({1, 2, cores})


def worker_rows(archive: Path, cores: int, requests: int) -> Iterator[Row]:
    """Every number of workers with pictures of every size."""
    kinds = pictures()
    for workers in worker_counts(cores):
        deployment = Deployment(workers, threads=max(1, cores // workers))
        with deployed(archive, "demo", deployment) as server:
            for kind, bodies in kinds.items():
                about = {"workers": workers, "threads": deployment.threads, "pictures": kind}
                yield about | row(server, "demo", bodies, 2 * workers * deployment.batch_size, requests)


def batch_rows(
    archive: Path, workers: int, cores: int, sizes: Sequence[int], delays: Sequence[int], requests: int
) -> Iterator[Row]:
    """Every batch size and delay: many clients for throughput, and one, who pays the delay in vain."""
    *_, bodies = sent("demo").values()
    for delay in delays:
        for size in sizes:
            deployment = Deployment(workers, max(1, cores // workers), size, delay)
            with deployed(archive, "demo", deployment) as server:
                many = row(server, "demo", bodies, 2 * workers * size, requests)
                alone = closed_loop(target_of(server, "demo"), bodies, 1, max(8, requests // 4), count_failures=True)
                about = {"workers": workers, "batchSize": size, "maxBatchDelay": delay}
                yield about | {"p50_alone": counted(alone)["p50"]} | many


def memory_samples(archive: Path, deployment: Deployment, seconds: float) -> list[Row]:
    """One a second, from before the first request on, with pictures of all sizes in a mixed order."""
    bodies = mixed([body for of_a_size in pictures().values() for body in of_a_size])
    clients, samples, ended = 2 * deployment.workers * deployment.batch_size, list[Row](), threading.Event()
    with deployed(archive, "demo", deployment) as server:
        begin = time.monotonic()

        def sample() -> None:
            for second in count():
                if ended.wait(max(0.0, begin + second - time.monotonic())):
                    return
                with suppress(psutil.NoSuchProcess):  # a worker that is gone is replaced
                    samples.append({"seconds": time.monotonic() - begin} | memory(server))

        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            while time.monotonic() - begin < seconds:
                closed_loop(target_of(server, "demo"), bodies, clients, 2 * clients, count_failures=True)
                bodies = bodies[2 * clients :] + bodies[: 2 * clients]  # a loop begins with the first one
        finally:
            ended.set()
            sampler.join()
    return samples


def cheapest(rows: Sequence[Row], cost: Sequence[str]) -> Row:
    """Of the rows that are about as fast as the fastest (within SLACK), the one that costs least.

    Args:
        rows: With ``per_second``.
        cost: Columns, the most important one first; less is better, and what is within SLACK of the least is as good.
    """
    enough = (1 - SLACK) * max(row["per_second"] for row in rows)
    left = [row for row in rows if row["per_second"] >= enough]
    for name in cost:
        most = (1 + SLACK) * min(_cost(row, name) for row in left)
        left = [row for row in left if _cost(row, name) <= most]
    return left[0]


def _cost(row: Row, name: str) -> float:
    return inf if row[name] is None else float(row[name])  # None: nobody was answered


def advice(tables: dict[str, list[Row]], cores: int) -> list[str]:
    """What these rows speak for; the defaults stand in ``export/serving.py`` (``Serving``)."""
    said = []
    if rows := [row for row in tables.get("workers", []) if row["pictures"] == MIXED]:
        best = cheapest(rows, ["workers"])
        said.append(f"On {cores} cores: workers {best['workers']}, threads {best['threads']} each.")
    if rows := tables.get("batches", []):
        best = cheapest(rows, ["p50_alone", "batchSize"])
        chosen = f"batchSize {best['batchSize']}, maxBatchDelay {best['maxBatchDelay']}"
        said.append(
            f"{chosen}: {best['per_second']:.1f} a second, one client alone waits {_cost(best, 'p50_alone'):.0f} ms."
        )
    return said


def slope(samples: Sequence[Row], name: str) -> float:
    """Least squares over the second half, when everything has been seen once, in MB an hour."""
    later = samples[len(samples) // 2 :]
    xs, ys = [each["seconds"] for each in later], [each[name] for each in later]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((each - x) ** 2 for each in xs)
    return 3600 * sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / spread if spread else 0.0


def with_plots(report: Report) -> Report:
    """The same with what can be drawn of it."""
    rate = ("per_second", "requests answered a second")
    if rows := report.tables.get("workers"):
        axes: dict[str, Any] = {
            "x": ("workers", "workers, sharing the cores"),
            "y": rate,
            "title": "closed loop, demo model",
        }
        report.plots["workers"] = partial(draw, "lines", rows=rows, by="pictures", **axes)
    if rows := report.tables.get("batches"):
        named = [row | {"delay": f"maxBatchDelay {row['maxBatchDelay']} ms"} for row in rows]
        axes: dict[str, Any] = {
            "x": ("batchSize", "batchSize"),
            "y": rate,
            "title": "closed loop, 24 demo pictures of 4 sizes",
        }
        report.plots["batches"] = partial(draw, "lines", rows=named, by="delay", **axes)
    if rows := report.tables.get("memory"):
        report.plots["memory"] = partial(draw, "memory_against_time", samples=rows, title="under load, five sizes")
    return report


def parse_arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--archive", type=Path, default=DEMO)
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}, with commas between them")
    parser.add_argument("--requests", type=int, default=64, help="of each row (default: 64)")
    parser.add_argument("--batch-sizes", type=numbers, default=[1, 2, 4, 8], help="default: 1,2,4,8")
    parser.add_argument("--delays", type=numbers, default=[1, 10], help="of maxBatchDelay, ms (default: 1,10)")
    parser.add_argument("--seconds", type=float, default=90, help="of the load for the memory (default: 90)")
    parser.add_argument("--out", type=Path, help="also write JSON here, and Markdown and plots beside it")
    arguments = parser.parse_args(given)
    if unknown := sorted(set(arguments.only.split(",")) - set(PARTS)):
        parser.error(f"--only takes {', '.join(PARTS)}, got {', '.join(map(repr, unknown))}")
    return arguments


def measure(arguments: argparse.Namespace, cores: int) -> Iterator[tuple[str, list[Row]]]:
    """The parts that were asked for, the later ones with the number of workers that the first one found."""
    parts, best = arguments.only.split(","), 1
    if "workers" in parts:
        rows = shown(worker_rows(arguments.archive, cores, arguments.requests))
        yield "workers", rows
        best = cheapest([row for row in rows if row["pictures"] == MIXED], ["workers"])["workers"]
    if "batches" in parts:
        given = arguments.batch_sizes, arguments.delays, arguments.requests
        yield "batches", shown(batch_rows(arguments.archive, best, cores, *given))
    if "memory" in parts:
        deployment = Deployment(best, max(1, cores // best))
        yield "memory", memory_samples(arguments.archive, deployment, arguments.seconds)


def main(given: Sequence[str] | None = None) -> None:
    """Measure, say what to choose."""
    arguments, cores = parse_arguments(given), available_cores()
    report = Report("How it scales", describe(), {"requests": arguments.requests, "cores": cores})
    print(as_line(report.machine), flush=True)
    for heading, rows in measure(arguments, cores):
        report.add(heading, rows, arguments.out)
    report.notes = advice(report.tables, cores)
    if samples := report.tables.get("memory"):
        slopes = [f"{name[:-3]} {slope(samples, name):+.0f}" for name in ("workers_mb", "frontend_mb")]
        report.notes.append(
            f"Memory in the second half of {samples[-1]['seconds']:.0f} s, MB an hour: {', '.join(slopes)}."
        )
    print("\n" + "\n".join(report.notes), flush=True)
    if arguments.out:
        with_plots(report).write(arguments.out)


if __name__ == "__main__":
    main()
