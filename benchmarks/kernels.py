"""Where the time of a pass goes, kernel by kernel, as PyTorch's own profiler sees it (no other tool is needed).

``python -m benchmarks.kernels --device cuda --out FOLDER`` writes ``kernels.txt`` and ``kernels.json``.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.machine import as_line, describe
from benchmarks.model import plan, table
from benchmarks.passes import DevicePass
from benchmarks.variants import Variant, loaded
from handler.gpu.settings import DTYPES, FUSIONS

PASSES = 5
SHOWN = 60


def kernel_rows(work: DevicePass, device: torch.device) -> list[dict[str, Any]]:
    """Each kernel (each operator on a CPU) with its share of the time of a pass, the longest first."""
    for _ in range(3):
        work()
    gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA] if gpu else [ProfilerActivity.CPU]) as seen:
        for _ in range(PASSES):
            work()
    spent = [(each, each.self_device_time_total if gpu else each.self_cpu_time_total) for each in seen.key_averages()]
    total = sum(us for _, us in spent) or 1
    return [
        {"share_%": 100 * us / total, "us_a_pass": us / PASSES, "calls_a_pass": each.count / PASSES, "kernel": each.key}
        for each, us in sorted(spent, key=lambda pair: -pair[1])
        if us > 0
    ]


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("--device", type=torch.device, default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--dtype", choices=list(DTYPES), default="float32")
    parser.add_argument("--fusion", choices=FUSIONS, default="frozen")
    parser.add_argument("--graph", action="store_true", help="replay the first half as a CUDA graph")
    parser.add_argument("--tiny", action="store_true", help="a small network and small pictures")
    arguments = parser.parse_args(given)
    torch.backends.cudnn.benchmark = True
    variant = Variant(arguments.dtype, arguments.fusion, arguments.graph)
    with torch.inference_mode():
        made = plan(arguments.device, arguments.tiny, runs=1)
        model = loaded(made.few, variant, arguments.device)
        work = DevicePass(model, made.few, made.pictures(arguments.batch), variant)
        rows = kernel_rows(work, arguments.device)
    about = describe(arguments.device) | {"variant": str(variant), "batch": arguments.batch}
    whole = sum(row["us_a_pass"] for row in rows) / 1e3
    text = f"{as_line(about)}\n\n{whole:.2f} ms of kernels a pass\n\n{table(rows[:SHOWN])}\n"
    (arguments.out / "kernels.txt").write_text(text)
    (arguments.out / "kernels.json").write_text(json.dumps({"machine": about, "kernels": rows}, indent=2) + "\n")
    print(text)


if __name__ == "__main__":
    main()
