"""TorchServe's own object_detector recipe beside ours: same machine, server, weights and pictures, taking turns.

``python -m benchmarks.peer``: one client for latency, several for throughput; then what each does with pictures of two
sizes, or a broken one, in a batch, and what its answers hold. It needs torchvision and captum, which nothing else here
does; without them it says so and ends with status 2.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import psutil

from benchmarks.latency import percentiles
from benchmarks.load import OK, Client, Load, closed_loop, warm_up
from benchmarks.machine import as_line, describe
from benchmarks.pictures import DEMO as PICTURES
from benchmarks.pictures import sent
from benchmarks.repack import repack
from benchmarks.report import Report, Row, shown
from benchmarks.running import DEMO, running, target_of
from benchmarks.stock.archive import missing, pack
from server.torchserve import TorchServe

OURS, STOCK, BATCHED = MODELS = ("ours", "stock", "stock-batched")
THRESHOLD = 0.5  # fixed in the stock handler
TRIES = 5  # until requests sent at the same moment meet in one batch


def archives(store: Path, ours: Path, workers: int) -> dict[str, Path]:
    """Ours as it was exported, the recipe as it is, and the recipe with our batch size and delay; so many workers."""
    ours_too = {"minWorkers": workers, "maxWorkers": workers}
    return {
        OURS: repack(ours, store / f"{OURS}.mar", lambda options: options | ours_too),
        STOCK: pack(store, STOCK, 1, 100, workers),  # TorchServe's defaults
        BATCHED: pack(store, BATCHED, 4, 10, workers),
    }


def rows(server: TorchServe, arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each kind of pictures, number of clients and model; in every round another model is the first."""
    for name, pictures in sent("demo").items():
        for clients in arguments.clients:
            loads: dict[str, list[Load]] = {model: [] for model in MODELS}
            for number in range(arguments.rounds):
                for model in turns(number):
                    load = closed_loop(
                        target_of(server, model), pictures, clients, arguments.requests, count_failures=True
                    )
                    loads[model].append(load)
            for model, done in loads.items():
                yield {"pictures": name, "clients": clients, "model": model} | _row(done) | _memory(server, model)


def turns(number: int) -> Sequence[str]:
    """The models in the order of one round."""
    first = number % len(MODELS)
    return MODELS[first:] + MODELS[:first]


def _row(loads: Sequence[Load]) -> Row:
    every = Load([outcome for load in loads for outcome in load.outcomes])
    counts = {"requests": len(every.outcomes), "failed": len(every.outcomes) - len(every.answered)}
    rate = {"per_second": statistics.median(load.per_second for load in loads)}
    return counts | {"statuses": every.statuses} | rate | percentiles(every.milliseconds)


def _memory(server: TorchServe, model: str) -> Row:
    pids = [int(worker["pid"]) for worker in server.workers(model)]
    return {"worker_mb": sum(psutil.Process(pid).memory_info().rss for pid in pids) / 1e6}


def together(server: TorchServe, model: str, bodies: Sequence[bytes]) -> list[int]:
    """The statuses of requests that are sent at the same moment."""
    clients, begin = [Client(target_of(server, model)) for _ in bodies], Barrier(len(bodies))

    def send(client: Client, body: bytes) -> int:
        begin.wait()
        return client.send(body).status

    with ThreadPoolExecutor(len(bodies)) as pool:
        statuses = list(pool.map(send, clients, bodies))
    for client in clients:
        client.close()
    return statuses


def worst_of(server: TorchServe, model: str, bodies: Sequence[bytes]) -> str:
    """The statuses of the try in which fewest were answered."""
    tried = [together(server, model, bodies) for _ in range(TRIES)]
    worst = min(tried, key=lambda statuses: statuses.count(OK))
    return " ".join(map(str, worst))


def batch_rows(server: TorchServe) -> Iterator[Row]:
    """What becomes of requests that share a batch."""
    first, second = (PICTURES / f"shapes_0{number}.jpg" for number in (0, 1))
    one, other = first.read_bytes(), second.read_bytes()
    for name, bodies in {
        "two of one size": [one, one],
        "two sizes": [one, other],
        "one whole, one cut short": [one, one[:2000]],
    }.items():
        yield {"sent at the same moment": name} | {m: worst_of(server, m, bodies) for m in (OURS, BATCHED)}


def detections(server: TorchServe, model: str, picture: bytes) -> list[Any]:
    """What an answer lists."""
    status, text = server.predict(model, picture, {"Content-Type": "image/jpeg"})
    if status != OK:
        raise RuntimeError(f"{model} answered {status}: {text[:300]!r}")
    answer = json.loads(text)
    return list(answer if isinstance(answer, list) else answer["detections"])


def agreement(server: TorchServe) -> Row:
    """How many of the stock detections ours has as well: same class, box within 0.1 pixels, score within 0.001."""
    same, counts = 0, {OURS: 0, STOCK: 0}
    fields: dict[str, set[str]] = {OURS: set(), STOCK: set()}
    for picture in sent("demo")["24 pictures, 4 sizes"]:
        ours = [each for each in detections(server, OURS, picture) if each["score"] >= THRESHOLD]
        stock = detections(server, STOCK, picture)
        counts = {OURS: counts[OURS] + len(ours), STOCK: counts[STOCK] + len(stock)}
        same += sum(any(_agree(each, other) for other in ours) for each in stock)
        for model, found in ((OURS, ours), (STOCK, stock)):
            fields[model] |= {key for each in found for key in each}
    return {"ours": counts[OURS], "stock": counts[STOCK], "the same": same} | {
        f"fields of {model}": " ".join(sorted(keys)) for model, keys in fields.items()
    }


def _agree(stock: dict[str, Any], ours: dict[str, Any]) -> bool:
    box = stock.get(ours["class"])
    near = box and all(abs(mine - theirs) < 0.1 for mine, theirs in zip(ours["box"], box, strict=True))
    return bool(near) and abs(stock["score"] - ours["score"]) < 0.001


def measure(server: TorchServe, arguments: argparse.Namespace) -> Iterator[tuple[str, list[Row]]]:
    """Table after table, after a warm-up of each model with every picture, alone and by as many clients as later."""
    for model in MODELS:
        for pictures in sent("demo").values():
            for clients in {1, *arguments.clients}:
                warm_up(target_of(server, model), pictures, clients, count_failures=True)
    yield "rows", shown(rows(server, arguments))
    yield "batches", shown(batch_rows(server))
    yield f"detections of at least {THRESHOLD} in the 24 pictures", shown(iter([agreement(server)]))


def parse_arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peer", description=__doc__)
    parser.add_argument("--archive", type=Path, default=DEMO, help="ours, of the demo model")
    parser.add_argument("--clients", type=lambda text: [int(each) for each in text.split(",")], default=[1, 8])
    parser.add_argument("--requests", type=int, default=48, help="of a model in a round (default: 48)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each model (default: 3)")
    parser.add_argument("--workers", type=int, default=1, help="of each model (default: 1)")
    parser.add_argument("--out", type=Path, help="also write JSON here, and Markdown beside it")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    """Pack, serve all three, measure, print."""
    arguments = parse_arguments(given)
    if lacking := missing():
        print(f"error: the stock recipe needs {', '.join(lacking)}, not installed here", file=sys.stderr)
        raise SystemExit(2)
    settings = {"requests": arguments.requests, "rounds": arguments.rounds, "workers": arguments.workers}
    report = Report("Ours and TorchServe's object_detector", describe(), settings)
    print(as_line(report.machine), flush=True)
    with (
        tempfile.TemporaryDirectory() as store,
        running(archives(Path(store), arguments.archive, arguments.workers)) as server,
    ):
        for heading, rows_ in measure(server, arguments):
            report.add(heading, rows_, arguments.out)


if __name__ == "__main__":
    main()
