"""The benchmark of the compiled model."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import aoti


@pytest.mark.slow
def test_it_prints_and_writes_every_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(aoti, "WANTED", (98,))  # each takes a compilation of half a minute
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")  # which it would set for good
    threads, out = torch.get_num_threads(), tmp_path / "aoti.json"
    try:
        aoti.main(["--tiny", "--float32", "--rounds", "1", "--threads", "1", "--out", str(out)])
    finally:
        torch.set_num_threads(threads)
    machine, _, notes, once, many = json.loads(out.read_text()).values()
    assert machine["threads"] == 1
    assert len(notes) == 1
    for rows in (once, many):
        assert [row["way"] for row in rows] == ["float32, trace", "float32, .pt2"]
    trace, package = many
    assert package["detections"] == trace["detections"] > 80
    assert trace["times the trace"] == 1
    assert min(row["s to trace or compile"] for row in once) > 0
    assert "is the better default" in capsys.readouterr().out


@pytest.mark.parametrize(("share", "better"), [(0.9, "the package"), (0.91, "the trace"), (2.0, "the trace")])
def test_the_trace_stays_the_default_unless_the_package_is_a_tenth_faster(share: float, better: str) -> None:
    rows = [{"way": "float32, trace", "times the trace": 1.0}, {"way": "float32, .pt2", "times the trace": share}]
    assert aoti.verdict(rows).endswith(f"{better} is the better default")
