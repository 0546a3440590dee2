"""What Ray Serve adds to a request, and what replicas add to throughput: ``python -m benchmarks.ray_serve --out FILE``.

Needs Ray (``make ray``). First one client: the worker alone in this process, and the same archive behind Ray Serve,
with its own proxy and with HAProxy, and behind TorchServe, one thread each, take turns picture by picture, so that what
else the machine does meets all: what a way adds is the median of its differences from the worker's time for the same
picture. Then 1, 2, ... replicas of one thread, each on a node of its own, and as many clients as fit in all batches
twice.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.latency import percentiles
from benchmarks.load import Client, Target, closed_loop, warm_up
from benchmarks.machine import as_line, describe
from benchmarks.pictures import sent
from benchmarks.ray_nodes import HOST, Nodes, running
from benchmarks.repack import Deployment
from benchmarks.report import Report, Row, shown
from benchmarks.running import DEMO, deployed, target_of
from benchmarks.served import counted
from examples.archives import unpacked, worker_of
from handler.cores import available_cores
from handler.metrics import ignore
from handler.requests.incoming import Incoming

BATCH = 4
DELAY = 1  # TorchServe's maxBatchDelay, ms; 0 would mean 100
GOAL = 3.0  # ms that Ray Serve may add to the median request
ALONE, RAY, HAPROXY = "the worker alone", "Ray Serve", "Ray Serve with HAProxy"

Ask = Callable[[bytes], None]


def target(nodes: Nodes) -> Target:
    """Where to send pictures."""
    return Target(HOST, nodes.port, "/predictions/demo", {"Content-Type": "image/jpeg"})


def asking(to: Target) -> Ask:
    """One client with one connection; an answer other than 200 ends the measurement."""
    client = Client(to)

    def ask(body: bytes) -> None:
        outcome = client.send(body)
        if outcome.status != HTTPStatus.OK:
            raise RuntimeError(f"the server answered {outcome.status}: {outcome.problem}")

    return ask


def computing(folder: Path) -> Ask:
    """The worker alone, in this process, which computes with one thread from now on."""
    worker = worker_of(folder, "demo", threads=1, batch=BATCH)

    def ask(body: bytes) -> None:
        (reply,) = worker.answer([Incoming({"body": body})], ignore)
        if reply.status != HTTPStatus.OK:
            raise RuntimeError(f"the worker answered {reply.status}: {reply.body[:300]!r}")

    return ask


def taking_turns(ways: dict[str, Ask], bodies: Sequence[bytes], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each request of each way; the first round is not counted."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for body in bodies:
            for way, ask in ways.items():
                begin = perf_counter()
                ask(body)
                if number:
                    times[way].append(1e3 * (perf_counter() - begin))
    return times


def alone_rows(archive: Path, bodies: Sequence[bytes], rounds: int) -> list[Row]:
    """One client: a row for each way, and what it adds to the worker's median."""
    with ExitStack() as stack:
        ways = {ALONE: computing(unpacked(str(archive)))}
        for way, haproxy in ((RAY, False), (HAPROXY, True)):
            nodes = stack.enter_context(running(archive, nodes=1, replicas=1, batch=BATCH, haproxy=haproxy))
            ways[way] = asking(target(nodes))
        server = stack.enter_context(deployed(archive, "demo", Deployment(1, 1, BATCH, DELAY)))
        ways[f"TorchServe, {DELAY} ms delay"] = asking(target_of(server, "demo"))
        times = taking_turns(ways, bodies, rounds)
    return [
        {"way": way, "requests": len(each)} | percentiles(each) | {"added": added(each, times[ALONE])}
        for way, each in times.items()
    ]


def added(times: Sequence[float], alone: Sequence[float]) -> float:
    """Median of the differences, picture by picture."""
    return median(time - least for time, least in zip(times, alone, strict=True))


def replica_rows(archive: Path, bodies: Sequence[bytes], most: int, requests: int) -> Iterator[Row]:
    """Closed loop with every number of replicas, after every picture was sent once."""
    for replicas in range(1, most + 1):
        clients = 2 * BATCH * replicas
        with running(archive, nodes=replicas, replicas=replicas, batch=BATCH) as nodes:
            warm_up(target(nodes), bodies, clients)
            load = closed_loop(target(nodes), bodies, clients, requests * replicas)
        yield {"replicas": replicas, "clients": clients} | counted(load)


def notes(alone: Sequence[Row], replicas: Sequence[Row]) -> list[str]:
    """What the rows say."""
    said = []
    for row in alone:
        if row["way"] in (RAY, HAPROXY):
            verdict = "within" if row["added"] <= GOAL else "beyond"
            said.append(f"{row['way']} adds {row['added']:.1f} ms to a request, {verdict} the goal of {GOAL:g} ms.")
    if len(replicas) > 1:
        times = replicas[-1]["per_second"] / replicas[0]["per_second"]
        said.append(f"{replicas[-1]['replicas']} replicas answer {times:.2f} times what one does.")
    return said


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ray_serve", description=__doc__)
    parser.add_argument("--archive", type=Path, default=DEMO)
    parser.add_argument("--rounds", type=int, default=5, help="over all pictures, one client (default: 5)")
    parser.add_argument("--requests", type=int, default=120, help="for each replica (default: 120)")
    parser.add_argument("--replicas", type=int, default=available_cores(), help="most of them (default: one a core)")
    parser.add_argument("--out", type=Path, help="also write JSON here, and Markdown beside it")
    arguments = parser.parse_args(given)
    report = Report("The demo model behind Ray Serve", describe(), {"threads of a replica": 1, "batch": BATCH})
    print(as_line(report.machine) + "\n", flush=True)
    *_, bodies = sent("demo").values()
    alone = shown(alone_rows(arguments.archive, bodies, arguments.rounds))
    report.add("one client", alone, arguments.out)
    replicas = shown(replica_rows(arguments.archive, bodies, arguments.replicas, arguments.requests))
    report.add("replicas", replicas, arguments.out)
    report.notes = notes(alone, replicas)
    print("\n" + "\n".join(report.notes))
    if arguments.out:
        report.write(arguments.out)


if __name__ == "__main__":
    main()
