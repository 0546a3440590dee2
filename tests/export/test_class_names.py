import json
from pathlib import Path

import pytest

from export.class_names import class_list, class_list_names, fitting_class_names, read_class_names
from export.errors import ExportError

COCO_BY_ID = class_list("coco-by-id")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("names.txt", "background\ncat\nguinea pig\n"),
        ("names.txt", "background\r\ncat\r\n  guinea pig  \r\n\r\n"),
        ("names.txt", "\ufeffbackground\ncat\nguinea pig"),
        ("names.json", '["background", "cat", "guinea pig"]'),
        ("names.JSON", '\ufeff["background", " cat", "guinea pig"]'),
        ("names.json", '{"2": "guinea pig", "0": "background", "1": "cat"}'),
        ("names.json", '{"1": "cat", "2": "guinea pig"}'),
    ],
    ids=["lines", "lines of Windows", "byte order mark", "list", "list of Windows", "mapping", "1.."],
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
        ("names.json", '["cat", ""]'),
        ("names.json", '["cat", null]'),
        ("names.json", '{"0": ["cat"]}'),
        ("names.json", '{"1": "cat", "1": "dog"}'),
        ("names.json", "[" * 100_000),
        ("names.json", '{"1":' * 100_000),
        ("names.txt", "cat\nguinea\tpig\n"),
        ("names.txt", "cat\n\x1b[31mdog\n"),
        ("names.txt", "cat\ndog\x1f"),
        ("names.txt", "cat\u2028dog\n"),  # one line, not two
        ("names.txt", "cat\n\u202edog\n"),  # would turn the text around
        ("names.json", '["\\ud800"]'),
        ("names.json", '["cat\\n"]'),
    ],
)
def test_refuses_what_it_cannot_read(file: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ExportError, match=r"class names .* cannot be read: "):
        read_class_names(path)


@pytest.mark.parametrize("label", ["-1", "100000", "999999999999", "9" * 5000, "1.5", "01", " 1", "1_0", "\u0661", ""])
def test_labels_are_small_whole_numbers(label: str, tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_text(json.dumps({"0": "cat", label: "dog"}))
    with pytest.raises(ExportError, match="must be a whole number from 0 to 99999"):
        read_class_names(path)


def test_a_checkpoint_is_no_list_of_names(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(ExportError, match="more than 16777216 bytes"):
        read_class_names(path)


def test_names_of_every_script_are_read(tmp_path: Path) -> None:
    names = ("\u732b\u3000\u72ac", "\u0645\u06cc\u200c\u0634\u0648\u062f", "gar\u00e7on", "\U0001f469\u200d\U0001f33e")
    (tmp_path / "names.txt").write_text("\n".join(names), encoding="utf-8")
    assert read_class_names(tmp_path / "names.txt") == names


def test_names_a_missing_file_and_the_built_in_lists(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"nowhere.txt cannot be read: .*built-in lists are: .*coco, "):
        read_class_names(tmp_path / "nowhere.txt")


def test_a_built_in_list_is_read_by_name_unless_a_file_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_class_names(Path("voc"))[:2] == ("aeroplane", "bicycle")
    Path("voc").write_text("cat\n")
    assert read_class_names(Path("voc")) == ("cat",)


@pytest.mark.parametrize(
    ("names", "classes", "fitted"),
    [
        (("background", "cat"), 2, ("background", "cat")),
        (("cat",), 2, ("background", "cat")),  # the background may be left out
        (("__background__", "cat"), 2, ("__background__", "cat")),
        (("_BG", "cat"), 2, ("_BG", "cat")),
        (COCO_BY_ID, 91, COCO_BY_ID),
        (None, 3, ("background", "class 1", "class 2")),
    ],
)
def test_fits_names_to_the_classes(names: tuple[str, ...] | None, classes: int, fitted: tuple[str, ...]) -> None:
    assert fitting_class_names(names, classes) == fitted


@pytest.mark.parametrize(
    ("names", "classes", "fitted"),
    [
        (("cat", "dog"), 3, ("cat", "dog")),  # label 0 is the first class, the background is no label
        (("background", "cat", "dog"), 3, ("cat", "dog")),
        (("__background__", "cat", "dog"), 3, ("cat", "dog")),
        (("cat", "dog", "background"), 3, ("cat", "dog")),
        (COCO_BY_ID, 91, COCO_BY_ID[1:]),
        (None, 3, ("class 0", "class 1")),
    ],
)
def test_leaves_the_background_out_where_it_is_last(
    names: tuple[str, ...] | None, classes: int, fitted: tuple[str, ...]
) -> None:
    assert fitting_class_names(names, classes, background_first=False) == fitted


@pytest.mark.parametrize(
    ("names", "classes", "background_first", "message"),
    [
        (("background", "cat"), 4, True, "has 4 classes with the background, but 2 class names .*its own names"),
        (("background", "cat"), 3, True, "has 3 classes with the background, but 2 class names"),
        (("cat",), 4, False, "has 4 classes with the background, but 1 class names"),
        (("cat", "dog", "cow"), 3, False, "has 3 classes with the background, but 3 class names"),
        (class_list("coco-by-id"), 81, True, "has 81 .* but 91 class names .*list coco has as many: --labels coco"),
        (class_list("coco"), 91, True, "has 91 .* but 80 class names .*list coco-by-id has as many"),
    ],
)
def test_says_both_counts_and_the_cause(
    names: tuple[str, ...], classes: int, background_first: bool, message: str
) -> None:
    with pytest.raises(ExportError, match=message):
        fitting_class_names(names, classes, background_first)


@pytest.mark.parametrize(
    ("names", "classes", "background_first", "message"),
    [
        ("nothing cat", 2, True, r"the first of so many must be `background`.* 1 names wanted, 2 given"),
        ("a b c d e f", 6, True, r"the first of so many must be `background`.* 5 names wanted, 6 given"),
        ("a b c d e bg", 6, True, r"must come first or be left out, not last .* 5 names wanted, 5 given"),
        ("a b background c", 4, True, "must come first or be left out, not as name 3"),
        ("background b background", 3, True, "must come first or be left out, not as name 3"),
        ("a background", 3, True, "must come first or be left out, not last"),  # with a label too few
        ("background a b c d", 6, True, r"own names with --labels, one a line .* 5 names wanted, 4 given"),
        ("background a b c d", 6, False, r"own names with --labels, one a line .* 5 names wanted, 4 given"),
        ("a b c d background", 6, False, "5 names wanted, 4 given"),
        ("a b Background c", 4, False, "must come first or be left out, not as name 3"),
        ("background a background", 3, False, "must come first or be left out, not as name 3"),
        ("a b c", 3, False, r"one is too many .* 2 names wanted, 3 given"),
    ],
)
def test_names_never_shift(names: str, classes: int, background_first: bool, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        fitting_class_names(tuple(names.split()), classes, background_first)


def mapped(folder: Path, names: dict[int, str]) -> tuple[str, ...]:
    (folder / "names.json").write_text(json.dumps(names))
    return read_class_names(folder / "names.json")


@pytest.mark.parametrize(
    ("names", "background_first", "fitted"),
    [
        ({1: "cat", 2: "dog"}, True, ("background", "cat", "dog")),
        ({0: "BG", 1: "cat", 2: "dog"}, True, ("BG", "cat", "dog")),
        ({2: "dog"}, True, ("background", "N/A", "dog")),
        ({0: "cat", 1: "dog"}, False, ("cat", "dog")),
        ({0: "cat", 1: "dog", 2: "background"}, False, ("cat", "dog")),
    ],
)
def test_a_mapping_keeps_its_labels(
    names: dict[int, str], background_first: bool, fitted: tuple[str, ...], tmp_path: Path
) -> None:
    found = fitting_class_names(mapped(tmp_path, names), 3, background_first)
    assert found == fitted
    assert type(found) is tuple


@pytest.mark.parametrize(
    ("names", "background_first", "message"),
    [
        ({0: "cat", 1: "dog"}, True, "label 0 is the background: leave it out of the mapping"),
        ({0: "cat", 1: "dog", 2: "cow"}, True, "label 0 is the background: leave it out of the mapping"),
        ({1: "cat", 2: "dog"}, False, "label 0 is the first class: give it a name, count from 0"),
        ({0: "background", 1: "cat", 2: "dog"}, False, "label 0 is the first class"),
        ({0: "cat", 1: "dog", 2: "cow"}, False, "2 names wanted, 3 given"),
        ({1: "cat"}, True, "2 names wanted, 1 given"),
        ({1: "cat", 2: "background"}, True, "must come first or be left out, not as name 3"),
    ],
)
def test_a_mapping_of_other_labels_is_refused(
    names: dict[int, str], background_first: bool, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=message):
        fitting_class_names(mapped(tmp_path, names), 3, background_first)


def test_coco_names_stand_at_their_ids() -> None:
    assert len(COCO_BY_ID) == 91
    assert (COCO_BY_ID[1], COCO_BY_ID[18], COCO_BY_ID[90]) == ("person", "dog", "toothbrush")
    assert [label for label, name in enumerate(COCO_BY_ID) if name == "N/A"] == [12, 26, 29, 30, 45, 66, 68, 69, 71, 83]


# Positions as in detectron2/data/datasets (builtin_meta.py, lvis_v1_categories.py and lvis_v0_5_categories.py: id - 1;
# pascal_voc.py) and, with the caravan and the trailer, cityscapesscripts' labels that have instances.
@pytest.mark.parametrize(
    ("name", "count", "some"),
    [
        ("coco", 80, {0: "person", 11: "stop sign", 16: "dog", 79: "toothbrush"}),
        ("lvis-v1", 1203, {0: "aerosol_can", 22: "trash_can", 79: "cow", 1172: "weathervane", 1202: "zucchini"}),
        ("lvis-v0.5", 1230, {0: "acorn", 1151: "turtle", 1181: "automatic_washer", 1229: "zucchini"}),
        ("voc", 20, {0: "aeroplane", 14: "person", 19: "tvmonitor"}),
        ("cityscapes", 8, {0: "person", 1: "rider", 5: "train", 7: "bicycle"}),
        ("cityscapes-10", 10, {4: "bus", 5: "caravan", 6: "trailer", 7: "train", 9: "bicycle"}),
    ],
)
def test_built_in_lists(name: str, count: int, some: dict[int, str]) -> None:
    names = class_list(name)
    assert len(names) == len(set(names)) == count
    assert {place: names[place] for place in some} == some
    assert all(entry and entry == entry.strip() for entry in names)


def test_the_two_lists_of_coco_agree() -> None:
    assert class_list("coco") == tuple(name for name in COCO_BY_ID if name not in ("background", "N/A"))
    assert set(class_list_names()) >= {"coco", "coco-by-id", "lvis-v1", "lvis-v0.5", "voc", "cityscapes"}


def test_an_unknown_list_is_named() -> None:
    with pytest.raises(ExportError, match="no list of class names 'coca'; there are: cityscapes, "):
        class_list("coca")
