"""The benchmark of requests and replies runs, and measures what it says."""

import json
import time
from pathlib import Path

import pytest

from benchmarks.replies import CARD, found, main, measure
from handler.replies.detections_json import detections_as_json


def test_a_row_each_and_figures_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--seconds", "0.001", "--out", str(tmp_path / "figures.json")])
    figures = json.loads((tmp_path / "figures.json").read_text())
    printed = capsys.readouterr().out
    for title in ("request of 1 MB", "reply, 100 detections"):
        assert f"| {title} | ms | beside the plain one |" in printed
        assert figures[title][0]["added_ms"] == 0
        assert all(row["ms"] > 0 for row in figures[title])
    names = [row["name"] for title in ("request of 1 MB", "reply, 100 detections") for row in figures[title]]
    assert {"the bytes as the body", "all options as headers", "a form with all options", "json, rle"} <= set(names)


def test_what_takes_longer_is_said_to(capsys: pytest.CaptureFixture[str]) -> None:
    rows = measure({"fast": lambda: None, "slow": lambda: time.sleep(0.01), "none": "not read"}, 0.02)
    assert [row.name for row in rows] == ["fast", "slow"]
    assert 9 < rows[1].added_ms < 100
    assert "left out: none: not read" in capsys.readouterr().err


def test_the_reply_that_is_timed_is_one_of_a_hundred_masks() -> None:
    reply = json.loads(detections_as_json(found(), CARD.class_names, "model", "1.0", 4_000_000))
    assert len(reply["detections"]) == 100
    lengths = sorted(len(each["mask"]["counts"]) for each in reply["detections"])
    assert 300 < lengths[50] < 3000
