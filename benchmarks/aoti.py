"""A compiled ``model.pt2`` beside the trace: R50-FPN on the CPU, one picture's bytes to its reply's bytes.

Run ``python -m benchmarks.aoti``: Markdown on the standard output, ``--out FILE.json`` writes it, too. Weights and
pictures are those of ``benchmarks.cpu``, all ways take turns. It also times what is done once: to trace or to compile,
and to load. The trace is the default runtime unless a package takes at most 0.9 times as long in float32.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

from benchmarks.cpu import WANTED, in_turn, placed, reply, save_folder, worker
from benchmarks.machine import as_line, describe
from benchmarks.made_up import R50, TINY, Network, keeping, network
from benchmarks.pictures import jpeg
from benchmarks.report import Report, table
from export.compile import Runtime, Target, compile_model
from handler.compiled import PACKAGE_FILE
from handler.gpu.settings import Dtype
from handler.loading import MODEL_FILE
from handler.memory import use_huge_pages
from handler.model_card import FILE_NAME, ModelCard
from handler.requests.incoming import Incoming
from handler.settings import Settings
from handler.worker import Worker

SEED = 0  # of the picture
GOAL = 0.9
WAYS: dict[str, tuple[Dtype, Runtime]] = {
    "float32, trace": ("float32", "trace"),
    "float32, .pt2": ("float32", "aoti"),
    "bfloat16, trace": ("bfloat16", "trace"),
    "bfloat16, .pt2": ("bfloat16", "aoti"),
}


def save(given: Network, folder: Path, dtype: Dtype, runtime: Runtime) -> Path:
    """What an unpacked archive holds of the model; the path of the model."""
    if runtime == "trace":
        save_folder(given, folder)
        return folder / MODEL_FILE
    names = tuple(map(str, range(given.architecture.classes)))
    rules = given.conventions
    path, target = folder / PACKAGE_FILE, Target(dtype, "cpu", rules.preprocessing.size_divisor)
    compiled = compile_model(given.model(), target, path)
    card = ModelCard(names, rules.preprocessing, rules.postprocessing(), compiled=compiled)
    (folder / FILE_NAME).write_text(card.to_json())
    return path


def made(given: Network, folders: Mapping[str, Path], threads: int) -> Iterator[tuple[dict[str, Any], Worker]]:
    """What is done once, a row and the worker for each way, in its folder."""
    for name, folder in folders.items():
        dtype, runtime = WAYS[name]
        begin = perf_counter()
        path = save(given, folder, dtype, runtime)
        saved = perf_counter()
        served = worker(folder, dtype, None, threads)
        row = {
            "way": name,
            "s to trace or compile": saved - begin,
            "MB": path.stat().st_size / 1e6,
            "s to load and warm up": perf_counter() - saved,
        }
        yield row, served


def timed(workers: Mapping[str, Worker], body: bytes, rounds: int) -> list[dict[str, Any]]:
    """Bytes to bytes, one row for each way, with its share of the trace's time in the same dtype."""
    kept = {name: len(reply(served, body)["detections"]) for name, served in workers.items()}
    asked = [Incoming({"body": body})]
    works = {name: partial(served.answer, asked, lambda *_: None) for name, served in workers.items()}
    took = {name: median(each) for name, each in in_turn(works, rounds).items()}
    return [
        {
            "way": name,
            "detections": kept[name],
            "seconds": ms / 1e3,
            "times the trace": ms / took[f"{WAYS[name][0]}, trace"],
        }
        for name, ms in took.items()
    ]


def measure(ways: Sequence[str], threads: int, rounds: int, tiny: bool) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Part after part."""
    body = jpeg(96, 128, SEED) if tiny else jpeg(800, 1088, SEED)
    given = network(TINY, 96, 160) if tiny else network(R50, 800, 1333)
    canvas, sizes = placed(given, body, torch.float32)
    for wanted in WANTED:
        with tempfile.TemporaryDirectory() as scratch:
            folders = {name: Path(scratch, str(number)) for number, name in enumerate(ways)}
            for folder in folders.values():
                folder.mkdir()
            rows, workers = zip(*made(keeping(given, canvas, sizes, wanted), folders, threads), strict=True)
            if wanted == WANTED[0]:
                yield "once", list(rows)
            served = dict(zip(ways, workers, strict=True))
            yield f"picture to reply, about {wanted} detections", timed(served, body, rounds)


def verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """Which runtime is to be the default on such a machine."""
    (share,) = (row["times the trace"] for row in rows if row["way"] == "float32, .pt2")
    better = share <= GOAL
    return (
        f"float32: the package takes {share:.2f} times as long as the trace, the goal is {GOAL}: "
        f"{'the package' if better else 'the trace'} is the better default"
    )


def parse_arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.aoti", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (default: 7)")
    parser.add_argument("--threads", type=int, default=Settings().thread_count(), help="default: one a core")
    parser.add_argument("--float32", action="store_true", help="without bfloat16")
    parser.add_argument("--tiny", action="store_true", help="a small network and a small picture")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON, and as Markdown beside it")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    arguments = parse_arguments(given)
    use_huge_pages()
    torch.set_num_threads(arguments.threads)
    report = Report("model.pt2 beside the trace", describe(), {"rounds": arguments.rounds})
    print(as_line(report.machine), flush=True)
    ways = [name for name, (dtype, _) in WAYS.items() if dtype == "float32" or not arguments.float32]
    for title, rows in measure(ways, arguments.threads, arguments.rounds, arguments.tiny):
        print(f"\n{title}\n\n{table(rows)}", flush=True)
        if title != "once":
            report.notes.append(f"{title}: {verdict(rows)}")
            print(f"\n{report.notes[-1]}", flush=True)
        report.add(title, rows, arguments.out)


if __name__ == "__main__":
    main()
