"""The benchmark of the CPU, with a small network."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import cpu
from benchmarks.made_up import TINY, network
from benchmarks.pictures import jpeg

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_it_prints_and_writes_every_part(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.cpu", "--tiny", "--rounds", "1", "--threads", "1"]
    command += ["--out", str(tmp_path / "cpu.json")]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    written = json.loads((tmp_path / "cpu.json").read_text())
    machine, _, _, many, few, stages, memory = written.values()
    assert machine["threads"] == 1
    assert {row["way"] for row in many} >= set(cpu.WAYS)
    assert all(row["seconds"] > 0 for row in many + few)
    kept = [{row["way"]: row["detections"] for row in rows}["float32"] for rows in (many, few)]
    assert kept[0] > 80 > 20 > kept[1] > 2
    assert [row["stage"] for row in stages][::8] == ["body", "encode"]
    assert all(row[way] > 0 for row in stages for way in cpu.WAYS)
    assert all(100 < row["MB after 1 picture"] <= row["after 11"] for row in memory)
    assert "| body |" in printed
    assert "| body |" in (tmp_path / "cpu.md").read_text()


def test_every_way_gives_the_same_detections(tmp_path: Path) -> None:
    """What is compared must be the same work."""
    given, body = network(TINY, 96, 160).with_background(2.0), jpeg(96, 128, seed=0)
    cpu.save_folder(given, tmp_path)
    plain, joined = (
        cpu.reply(cpu.worker(tmp_path, *cpu.WAYS[way], threads=torch.get_num_threads()), body)["detections"]
        for way in ("float32, trace as it is", "float32")
    )
    assert len(plain) == len(joined) > 0
    assert [each["box"] for each in joined] == [pytest.approx(each["box"], abs=0.01) for each in plain]


def test_the_canvas_is_that_of_the_picture() -> None:
    """Stages are timed on what a worker would compute, not on noise."""
    given = network(TINY, 96, 160)
    of_one, sizes = cpu.placed(given, jpeg(96, 128, seed=0), torch.float32)
    same, of_another = (cpu.placed(given, jpeg(96, 128, seed), torch.float32)[0] for seed in (0, 1))
    assert sizes.tolist() == [[96, 128]]
    assert of_one.shape[:2] == (1, 3)
    assert torch.equal(of_one, same)
    assert not torch.equal(of_one, of_another)


def test_the_heading_of_the_stages_says_how_they_were_timed() -> None:
    assert cpu._stage_title({"float32": 97}) == "by stage, ms: ours each alone, 97 masks"
    said = cpu._stage_title({"float32": 97, cpu.PEER: 95})
    assert said.endswith("97 masks; torchvision's within its pass, 95 masks")


def test_each_work_takes_its_turn_in_every_round() -> None:
    called: list[str] = []
    took = cpu.in_turn({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, rounds=2)
    assert called == ["a", "b"] * 3  # the first round is not counted
    assert {name: len(each) for name, each in took.items()} == {"a": 2, "b": 2}
