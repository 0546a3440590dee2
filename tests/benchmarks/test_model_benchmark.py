"""The benchmark of the whole network, run with a small one on the CPU, so that it works where the GPU is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import every_kernel
from benchmarks.floors import Ceilings, Demand, demand_of
from benchmarks.made_up import PHOTO_SIZES, R50, TINY, network, photo
from benchmarks.stages import stages

ROOT = Path(__file__).parents[2]


def run(module: str, *arguments: str) -> str:
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_every_part_runs_on_a_cpu(tmp_path: Path) -> None:
    printed = run("model", "--tiny", "--runs", "1", "--out", str(tmp_path))
    results = json.loads((tmp_path / "model.json").read_text())
    assert [title in printed for title in results if title != "machine"] == [True] * 5
    variants, batches, parts, handler, _ = (rows for title, rows in results.items() if title != "machine")
    assert not [row for row in variants if "error" in row]
    assert {row["batch"] for row in batches} == {1, 2}
    few, many = (row["kept"] for row in batches if row["batch"] == 2)
    assert 10 <= few <= 30  # 20 were wanted of these very pictures, by bisection over a step function
    assert many > 80
    names = ["body", "FPN", "RPN head", "propose", "box pooling", "box head", "select", "mask head", "encode"]
    assert [row["stage"] for row in parts] == names
    assert all(row["gigabytes"] > 0 and row["floor_ms"] > 0 for row in parts)
    assert handler[1]["pictures"].startswith("40 sizes, ")


@pytest.mark.slow
def test_the_kernels_of_a_pass_are_listed(tmp_path: Path) -> None:
    run("kernels", "--tiny", "--batch", "2", "--out", str(tmp_path))
    kernels = {row["kernel"] for row in json.loads((tmp_path / "kernels.json").read_text())["kernels"]}
    assert {"maskrcnn::propose", "maskrcnn::select_detections", "maskrcnn::encode_rle"} <= kernels


def test_what_the_sanitizer_watches_runs_every_op() -> None:
    every_kernel.main(["--device", "cpu"])


def test_counts_the_operations_of_the_real_network() -> None:
    # One 800 x 1344 picture: counted by hand from the shapes, 10^9 operations, a multiplication and an addition each.
    expected = {"body": 175.2, "FPN": 121.8, "RPN head": 106.3, "box head": 28.7, "mask head": 102.8}
    model = network(R50, 800, 1333).model().to("meta", torch.bfloat16)
    canvas = torch.empty(1, 3, 800, 1344, dtype=torch.bfloat16, device="meta")
    sizes = torch.empty(1, 2, dtype=torch.int64, device="meta")
    found = {}
    for stage in stages(model, canvas, sizes, kept=100):
        found[stage.name] = demand_of(stage.work, *stage.inputs)
        if stage.name == "mask head":  # the lengths of the next one are not known without numbers
            break
    assert {name: found[name].gflop for name in expected} == pytest.approx(expected, rel=2e-3)
    # 1000 boxes of 7 x 7 x 256 bfloat16 are written, four levels of 256 channels are read.
    levels = sum((800 // s) * (1344 // s) for s in (4, 8, 16, 32)) * 256 * 2
    assert found["box pooling"].gigabytes == pytest.approx((1000 * 49 * 256 * 2 + levels) / 1e9, rel=1e-3)


def test_counts_the_same_bytes_in_inference_mode() -> None:
    model, sizes = network(TINY, 96, 160).model(), torch.tensor([[96, 128]])
    canvas = torch.randn(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))

    def demands() -> list[Demand]:
        return [demand_of(stage.work, *stage.inputs) for stage in stages(model, canvas, sizes, kept=5)]

    outside = demands()
    with torch.inference_mode():
        assert demands() == outside


def test_the_floor_is_the_larger_of_two_times() -> None:
    limits = Ceilings(tflops=2.0, terabytes=0.5)
    assert Demand(gflop=6.0, gigabytes=0.1).floor_ms(limits) == pytest.approx(3.0)
    assert Demand(gflop=0.1, gigabytes=2.0).floor_ms(limits) == pytest.approx(4.0)


def test_there_are_forty_sizes() -> None:
    assert len(set(PHOTO_SIZES)) == 40
    assert photo(*PHOTO_SIZES[0], 1).float().std() > 20
