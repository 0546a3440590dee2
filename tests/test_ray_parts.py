"""Parts of an offline run to COCO files: exactly one answer a picture, whatever happened on the way. Needs no Ray."""

import json
from pathlib import Path
from typing import Any

import pytest

from examples.ray_parts import PARTS, collect, settled, write_part

CLASSES = ["background", "circle"]
REFUSED = {"code": "truncated_image", "message": "it ends early"}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / PARTS).mkdir()
    return tmp_path


def found(file: str, score: float = 0.5) -> dict[str, Any]:
    return {"file": file, "results": [{"image_id": 0, "category_id": 1, "bbox": [0, 0, 1, 1], "score": score}]}


def lost(file: str, again: bool = False) -> dict[str, Any]:
    return {"file": file, "error": REFUSED, "again": again}


def results(out: Path) -> list[tuple[int, float]]:
    return [(each["image_id"], each["score"]) for each in json.loads((out / "results.json").read_text())]


def test_each_picture_is_there_once_under_its_own_id(out: Path) -> None:
    write_part(out, [found("b", 0.2), lost("c")])
    write_part(out, [found("a", 0.1) | {"truncated": True}])
    assert collect(out, ["a", "b", "c", "d"], CLASSES) == (2, 1)
    assert sorted(results(out)) == [(1, 0.1), (2, 0.2)]
    images = json.loads((out / "images.json").read_text())
    assert images["images"] == [
        {"id": 1, "file_name": "a", "truncated": True},
        {"id": 2, "file_name": "b", "truncated": False},
    ]
    assert images["categories"] == [{"id": 0, "name": "background"}, {"id": 1, "name": "circle"}]
    assert [json.loads(line) for line in (out / "errors.jsonl").read_text().splitlines()] == [lost("c")]
    assert settled(out) == {"a", "b", "c"}


def test_what_two_parts_have_counts_once(out: Path) -> None:
    write_part(out, [found("a"), found("b")])
    write_part(out, [found("b"), found("c")])
    write_part(out, [found("b"), found("c")])  # the same part again, which replaces itself
    assert len([*(out / PARTS).iterdir()]) == 2
    assert collect(out, ["a", "b", "c"], CLASSES) == (3, 0)
    assert sorted(each for each, _ in results(out)) == [1, 2, 3]


@pytest.mark.parametrize("first", ["answer", "error"])
def test_an_answer_beats_an_error(out: Path, first: str) -> None:
    lines = [found("a"), lost("a", again=True)]
    for number, line in enumerate(lines if first == "answer" else lines[::-1]):
        (out / PARTS / f"{number}.jsonl").write_text(json.dumps(line) + "\n")
    assert settled(out) == {"a"}
    assert collect(out, ["a"], CLASSES) == (1, 0)
    assert (out / "errors.jsonl").read_text() == ""


def test_what_failed_for_a_while_is_tried_again(out: Path) -> None:
    write_part(out, [lost("a", again=True), lost("b")])
    assert settled(out) == {"b"}
    assert collect(out, ["a", "b"], CLASSES) == (0, 2)


def test_pictures_that_are_no_longer_asked_for_are_left_out(out: Path) -> None:
    write_part(out, [found("old"), found("new")])
    assert collect(out, ["new"], CLASSES) == (1, 0)
    assert results(out) == [(1, 0.5)]


def test_a_part_that_was_cut_off_is_none(out: Path) -> None:
    """As a process leaves it that is killed while it writes: the name that counts comes last."""
    (out / PARTS / ".0123.jsonl.77").write_text('{"file": "a", "resul')
    assert settled(out) == set()
    assert collect(out, ["a"], CLASSES) == (0, 0)
    assert results(out) == []


def test_a_picture_without_detections_is_answered(out: Path) -> None:
    write_part(out, [{"file": "a", "results": []}])
    assert collect(out, ["a"], CLASSES) == (1, 0)
    assert results(out) == []
    assert json.loads((out / "images.json").read_text())["images"] == [{"id": 1, "file_name": "a", "truncated": False}]
