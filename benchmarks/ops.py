"""Times every compiled op against what torchvision does for the same work, where torchvision is installed.

Run ``python -m benchmarks.ops``: a Markdown table on the standard output, ``--out FILE`` for JSON; ``--device cuda``
times the CUDA kernels on eight pictures at once, with the GPU's cache emptied before each run.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.machine import Facts, as_line, describe
from benchmarks.op_cases import CASES, Case, Setup, peer_module
from benchmarks.timing import Work, median_ms


@dataclass(frozen=True)
class Timing:
    """Milliseconds, medians of the runs."""

    name: str
    ours_ms: float
    peer_ms: float | None


def measure(case: Case, runs: int, device: torch.device) -> Timing:
    def timed(work: Work) -> float:
        return median_ms(work, runs, device, host=case.host, flush=True)

    with torch.inference_mode():
        return Timing(case.name, timed(case.ours), _or_none(case, timed))


def _or_none(case: Case, timed: Callable[[Work], float]) -> float | None:
    """The peer's time; None, with the reason, where it cannot do this work in this dtype."""
    try:
        return timed(case.peer) if case.peer else None
    except RuntimeError as error:
        print(f"torchvision does not do {case.name}: {str(error).splitlines()[0]}", file=sys.stderr)
        return None


def machine(device: torch.device) -> Facts:
    peer = peer_module("torchvision")
    return describe(device) | {"torchvision": peer.__version__ if peer else None}


def markdown_row(timing: Timing) -> str:
    peer = "-" if timing.peer_ms is None else f"{timing.peer_ms:.3g}"
    ratio = "-" if timing.peer_ms is None else f"{timing.peer_ms / timing.ours_ms:.1f}x"
    return f"| {timing.name} | {timing.ours_ms:.3g} | {peer} | {ratio} |"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ops", description=__doc__)
    parser.add_argument("--device", type=torch.device, default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file, too")
    parser.add_argument("--runs", type=int, default=20, help="timed runs of each side (default: 20)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of PyTorch")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    about, setup = machine(arguments.device), Setup.of(arguments.device)
    print(as_line(about))
    print("\n| work | ours, ms | torchvision, ms | ratio |\n|---|---|---|---|")
    timings = []
    for build in CASES:
        case = build(setup)
        if arguments.only in case.name:
            timings.append(measure(case, arguments.runs, arguments.device))
            print(markdown_row(timings[-1]), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps({"machine": about, "timings": [asdict(t) for t in timings]}, indent=2))


if __name__ == "__main__":
    main()
