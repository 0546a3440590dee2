"""The demo model behind a real TorchServe: latency of one client, throughput of several, memory of the worker.

``python -m benchmarks.served``; the server is its own, on free ports, and stopped at the end.
"""

import argparse
import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from server.addresses import Addresses
from server.torchserve import TorchServe, start

ROOT = Path(__file__).resolve().parent.parent
MODEL = "demo"
WARM_UP = 20


def send(server: TorchServe, picture: bytes) -> float:
    """Milliseconds of one answered request."""
    begin = time.perf_counter()
    status, body = server.predict(MODEL, picture)
    if status != 200:
        raise RuntimeError(f"the server answered {status}: {body.decode()}")
    return (time.perf_counter() - begin) * 1e3


def percentiles(times: list[float]) -> dict[str, float]:
    """Of a list of milliseconds."""
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {"p50": cuts[49], "p90": cuts[89], "p99": cuts[98], "max": max(times)}


def run_clients(server: TorchServe, pictures: list[bytes], clients: int, requests: int) -> dict[str, Any]:
    """Closed loop: each client sends its next picture when the last one is answered."""
    queue = [pictures[index % len(pictures)] for index in range(requests)]
    begin = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        times = list(pool.map(lambda picture: send(server, picture), queue))
    rate = requests / (time.perf_counter() - begin)
    return {"clients": clients, "requests": requests, "per_second": rate} | percentiles(times)


def measure(server: TorchServe, requests: int) -> dict[str, Any]:
    """All figures of one server."""
    pictures = [path.read_bytes() for path in sorted((ROOT / "demo" / "pictures").glob("*.jpg"))]
    for picture in pictures[:WARM_UP]:
        send(server, picture)
    before = server.worker_bytes() / 1e6
    rows = [
        run_clients(server, pictures[2:3], clients=1, requests=requests),
        run_clients(server, pictures, clients=1, requests=requests),
        run_clients(server, pictures, clients=8, requests=requests),
    ]
    for row, pictures_sent in zip(rows, ("one picture", "24 pictures", "24 pictures"), strict=True):
        row["pictures"] = pictures_sent
    return {"rows": rows, "worker_mb_after_warm_up": before, "worker_mb_at_the_end": server.worker_bytes() / 1e6}


def to_markdown(result: dict[str, Any]) -> str:
    """The table that the README quotes."""
    lines = ["| pictures | clients | requests/s | p50 ms | p90 ms | p99 ms | max ms |", "|---|---|---|---|---|---|---|"]
    for row in result["rows"]:
        figures = " | ".join(f"{row[name]:.1f}" for name in ("per_second", "p50", "p90", "p99", "max"))
        lines.append(f"| {row['pictures']} | {row['clients']} | {figures} |")
    memory = (result["worker_mb_after_warm_up"], result["worker_mb_at_the_end"])
    lines.append(f"\nWorker memory: {memory[0]:.0f} MB after the warm-up, {memory[1]:.0f} MB at the end")
    return "\n".join(lines)


def main() -> None:
    """Start, measure, stop, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.served", description=__doc__)
    parser.add_argument("--archive", type=Path, default=ROOT / "model_store" / "demo.mar")
    parser.add_argument("--requests", type=int, default=200, help="of each row")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        server = start(Path(home), {MODEL: arguments.archive}, ROOT / "config.properties", Addresses.free())
        try:
            server.wait_until_ready(MODEL)
            result = {"machine": describe()} | measure(server, arguments.requests)
        finally:
            server.stop()
    print(f"{result['machine']}\n\n{to_markdown(result)}")
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
