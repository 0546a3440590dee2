"""The benchmark of the compiled model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import aoti

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_it_prints_and_writes_every_part(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.aoti", "--tiny", "--float32", "--rounds", "1", "--threads", "1"]
    command += ["--out", str(tmp_path / "aoti.json")]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    machine, _, notes, once, many, few = json.loads((tmp_path / "aoti.json").read_text()).values()
    assert machine["threads"] == 1
    assert len(notes) == 2
    for rows in (once, many, few):
        assert [row["way"] for row in rows] == ["float32, trace", "float32, .pt2"]
    by_way = {row["way"]: row for row in many}
    assert by_way["float32, .pt2"]["detections"] == by_way["float32, trace"]["detections"] > 80
    assert by_way["float32, trace"]["times the trace"] == 1
    assert min(row["s to trace or compile"] for row in once) > 0
    assert "is the better default" in printed


@pytest.mark.parametrize(("share", "better"), [(0.9, "the package"), (0.91, "the trace"), (2.0, "the trace")])
def test_the_trace_stays_the_default_unless_the_package_is_a_tenth_faster(share: float, better: str) -> None:
    rows = [{"way": "float32, trace", "times the trace": 1.0}, {"way": "float32, .pt2", "times the trace": share}]
    assert aoti.verdict(rows).endswith(f"{better} is the better default")
