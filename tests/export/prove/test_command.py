"""``python -m export --prove``: what goes into the card, what is printed, and what is refused before any work."""

import json
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from export import pipeline
from export.command_line import main
from export.errors import ExportError
from export.prove.pictures import SIZES as SCENES
from export.prove.pictures import pictures
from export.serving import Serving
from tests.export.frameworks import trained
from tests.export.prove.exported import SIZES, reference_framework

PICTURE = Path(__file__).parents[3] / "demo/pictures/shapes_03.jpg"


def arguments(framework: str, folder: Path) -> list[str]:
    given = trained(framework, "fpn" if framework != "torchvision" else "v1")
    checkpoint = given.save(folder)
    sizes = ["--min-size", str(SIZES["min_size"]), "--max-size", str(SIZES["max_size"])]
    if anchors := given.changes.get("proposals", {}).get("anchor_sizes"):
        sizes += ["--anchor-sizes", ",".join(str(size) for (size,) in anchors)]
    return [str(checkpoint), "--name", "proved", "--out", str(folder / "store"), *sizes]


def test_the_card_and_the_closing_words_say_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("model_archiver")
    monkeypatch.setattr(pipeline, "source_framework", lambda source: reference_framework())
    assert main([*arguments("detectron2", tmp_path), "--prove", str(PICTURE)]) == 0
    with ZipFile(tmp_path / "store/proved.mar") as file:
        proof = json.loads(file.read("model_card.json"))["proof"]
    said = proof["source_framework"]
    assert (said["framework"], said["pictures"]) == ("detectron2", ["shapes_03.jpg"])
    assert said["detections"] > 0
    assert said["largest_differences"]["boxes"] <= said["tolerance"]["boxes"]
    assert (
        f"agrees  with detectron2 reference on {said['detections']} detections in 1 pictures" in capsys.readouterr().out
    )
    assert proof["detections"] > 0  # the other proof is still there


def test_nothing_is_written_where_the_framework_answers_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = reference_framework(before=lambda picture: picture.flip(2))
    monkeypatch.setattr(pipeline, "source_framework", lambda source: wrong)
    assert main([*arguments("detectron2", tmp_path), "--prove", str(PICTURE)]) == 2
    assert "does not answer like detectron2 reference" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("framework", "message"),
    [
        ("torchvision", "--prove runs torchvision itself, which cannot be imported here"),
        ("detectron2", "--prove runs detectron2 itself, which cannot be imported here"),
        ("maskrcnn-benchmark", "--prove cannot run the framework of a maskrcnn-benchmark checkpoint"),
        ("caffe2", "--prove cannot run the framework of a caffe2 checkpoint"),
    ],
)
def test_a_framework_that_is_not_there_is_said_at_once(
    framework: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "detectron2", None)
    assert main([*arguments(framework, tmp_path), "--prove"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "trace it" not in error
    assert not (tmp_path / "store").exists()


def test_without_pictures_scenes_of_several_shapes_are_drawn() -> None:
    drawn = pictures((), Serving.max_pixels)
    assert [tuple(picture.shape) for picture in drawn.values()] == [(*size, 3) for size in SCENES]
    assert all(int(picture.max()) - int(picture.min()) > 100 for picture in drawn.values())


def test_pictures_go_by_their_names(tmp_path: Path) -> None:
    assert list(pictures([PICTURE], Serving.max_pixels)) == ["shapes_03.jpg"]
    same = tmp_path / PICTURE.name
    same.write_bytes(PICTURE.with_name("shapes_04.jpg").read_bytes())
    both = pictures([PICTURE, same], Serving.max_pixels)
    assert list(both) == ["1 shapes_03.jpg", "2 shapes_03.jpg"]


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_what_is_no_picture_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    if content:
        path.write_bytes(content)
    with pytest.raises(ExportError, match=r"picture .*a\.jpg cannot be read"):
        pictures([path], Serving.max_pixels)
