from pathlib import Path

import pytest

from export.class_names import fitting_class_names, read_class_names
from export.errors import ExportError
from export.presets import COCO_BY_ID


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("names.txt", "background\ncat\nguinea pig\n"),
        ("names.txt", "background\r\ncat\r\n  guinea pig  \r\n\r\n"),
        ("names.json", '["background", "cat", "guinea pig"]'),
        ("names.json", '{"1": "cat", "2": "guinea pig"}'),
    ],
    ids=["lines", "lines of Windows", "list", "mapping"],
)
def test_reads_every_form(file: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.write_text(content, encoding="utf-8", newline="")
    assert read_class_names(path) == ("background", "cat", "guinea pig")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("names.txt", ""),
        ("names.txt", "background\n\ncat\n"),
        ("names.json", "{"),
        ("names.json", "3"),
        ("names.json", '{"cat": 1}'),
        ("names.json", "{}"),
    ],
)
def test_refuses_what_it_cannot_read(file: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.write_text(content)
    with pytest.raises(ExportError, match="class names"):
        read_class_names(path)


def test_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="nowhere.txt cannot be read"):
        read_class_names(tmp_path / "nowhere.txt")


def test_fits_names_to_the_classes() -> None:
    assert fitting_class_names(("background", "cat"), 2) == ("background", "cat")
    assert fitting_class_names(("cat",), 2) == ("background", "cat")  # the background may be left out
    assert fitting_class_names(None, 3) == ("background", "class 1", "class 2")
    with pytest.raises(ExportError, match="has 4 classes with the background, but 2 class names"):
        fitting_class_names(("background", "cat"), 4)


def test_coco_names_stand_at_their_ids() -> None:
    assert len(COCO_BY_ID) == 91
    assert (COCO_BY_ID[1], COCO_BY_ID[18], COCO_BY_ID[90]) == ("person", "dog", "toothbrush")
    assert [label for label, name in enumerate(COCO_BY_ID) if name == "N/A"] == [12, 26, 29, 30, 45, 66, 68, 69, 71, 83]
