"""An archive behind a real TorchServe: latency of one client, throughput of several, memory of worker and GPU.

``python -m benchmarks.served``: the demo model and its pictures. ``--archive FILE --pictures photos --clients 1,8,64``
sends JPEGs of 640 x 480; ``--pictures sizes`` those of 40 sizes. The server is its own, on free ports, and stopped at
the end.
"""

import argparse
import io
import json
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.load import Load, Target, closed_loop
from benchmarks.machine import as_line, describe, gpu_memory_mb
from server import tokens
from server.addresses import HOST, Addresses
from server.torchserve import TorchServe, start

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "model_store" / "demo.mar"
JPEG_QUALITY = 90
COLUMNS = ("pictures", "clients", "per_second", "p50", "p90", "p99", "max", "worker_mb", "gpu_mb")


def target_of(server: TorchServe, model: str) -> Target:
    """Where to send pictures; the token in it lives an hour."""
    token = tokens.headers(server.home, "inference", server.addresses.management_url)
    return Target(HOST, server.addresses.inference, f"/predictions/{model}", {"Content-Type": "image/jpeg"} | token)


def percentiles(times: list[float]) -> dict[str, float]:
    """Of a list of milliseconds."""
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {"p50": cuts[49], "p90": cuts[89], "p99": cuts[98], "max": max(times)}


def row(
    server: TorchServe, model: str, name: str, pictures: Sequence[bytes], clients: int, requests: int
) -> dict[str, Any]:
    """One row of the table, and what the memory was after it."""
    load: Load = closed_loop(target_of(server, model), pictures, clients, requests)
    memory = {"worker_mb": server.worker_bytes() / 1e6, "gpu_mb": gpu_memory_mb()}
    return (
        {"pictures": name, "clients": clients, "per_second": load.per_second} | percentiles(load.milliseconds) | memory
    )


def jpeg(height: int, width: int, seed: int) -> bytes:
    """A made-up photograph."""
    from benchmarks.made_up import photo  # here: it loads PyTorch and the ops, which the demo rows do not need

    packed = io.BytesIO()
    Image.fromarray(photo(height, width, seed).numpy()).save(packed, "JPEG", quality=JPEG_QUALITY)
    return packed.getvalue()


def sent(kind: str) -> dict[str, list[bytes]]:
    """The pictures of each row, by the name of the row."""
    if kind == "demo":
        pictures = [path.read_bytes() for path in sorted((ROOT / "demo" / "pictures").glob("*.jpg"))]
        return {"one picture": pictures[2:3], "24 pictures": pictures}
    if kind == "photos":
        return {"640 x 480": [jpeg(480, 640, seed) for seed in range(16)]}
    from benchmarks.made_up import PHOTO_SIZES

    return {"40 sizes": [jpeg(*size, seed) for seed, size in enumerate(PHOTO_SIZES)]}


def measure(server: TorchServe, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All rows of one server, warmed up by the most clients with every picture."""
    kinds = {name: pictures for kind in arguments.pictures.split(",") for name, pictures in sent(kind).items()}
    clients = [int(count) for count in arguments.clients.split(",")]
    every = [picture for pictures in kinds.values() for picture in pictures]
    closed_loop(target_of(server, arguments.name), every, max(clients), arguments.warm_up)
    for name, pictures in kinds.items():
        for count in clients:
            for _ in range(arguments.repeat):  # a row each, so that memory which grows shows
                yield row(server, arguments.name, name, pictures, count, arguments.requests)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    return "\n".join(lines + [f"| {' | '.join(_cell(each[name]) for name in COLUMNS)} |" for each in rows])


def _cell(value: object) -> str:
    return "-" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)


def parse_arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.served", description=__doc__)
    parser.add_argument("--archive", type=Path, default=DEMO)
    parser.add_argument("--name", default="demo", help="of the model in the URL (default: demo)")
    parser.add_argument("--pictures", default="demo", help="demo, photos, sizes, or several with commas between them")
    parser.add_argument("--clients", default="1,8", help="numbers with commas between them (default: 1,8)")
    parser.add_argument("--requests", type=int, default=200, help="of each row (default: 200)")
    parser.add_argument("--repeat", type=int, default=1, help="rows of each kind (default: 1)")
    parser.add_argument("--warm-up", type=int, default=50, help="requests before the first row (default: 50)")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    """Start, measure, stop, print."""
    arguments = parse_arguments(given)
    with tempfile.TemporaryDirectory() as home:
        server = start(Path(home), {arguments.name: arguments.archive}, ROOT / "config.properties", Addresses.free())
        try:
            waited = server.wait_until_ready(arguments.name)
            rows = list(measure(server, arguments))
        finally:
            server.stop()
    print(f"{as_line(describe())}, ready after {waited:.1f} s\n\n{table(rows)}")
    if arguments.out:
        arguments.out.write_text(json.dumps({"machine": describe(), "ready_s": waited, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
