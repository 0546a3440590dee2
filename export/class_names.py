"""The name of each label, from a file, a built-in list, a preset or, failing all three, a number."""

import json
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

from export.errors import ExportError

_LISTS = Path(__file__).parent / "class_lists"
_MOST_BYTES, _MOST_LABELS = 16 << 20, 100_000
_JOINERS = "\u200c\u200d"  # invisible, but part of words in some scripts, and of emoji


def class_list_names() -> tuple[str, ...]:
    """Names of the built-in lists."""
    return tuple(sorted(path.stem for path in _LISTS.glob("*.txt")))


@cache
def class_list(name: str) -> tuple[str, ...]:
    """A built-in list, in the order of the data set's ids.

    Args:
        name: ``coco`` (80), ``coco-by-id`` (91, with the background and the ids that COCO left out), ``lvis-v1``,
            ``lvis-v0.5``, ``voc``, ``cityscapes`` (the 8 of Detectron2) or ``cityscapes-10`` (with the caravan and
            the trailer, as maskrcnn-benchmark reads Cityscapes).

    Raises:
        ExportError: There is none of that name.
    """
    if name not in class_list_names():
        raise ExportError(f"there is no list of class names {name!r}; there are: {', '.join(class_list_names())}")
    return tuple((_LISTS / f"{name}.txt").read_text(encoding="utf-8").splitlines())


class _ByLabel(tuple[str, ...]):
    """Names of which the file itself says the labels, so none may be put before them or taken off their front."""

    __slots__ = ()


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read class names.

    Args:
        path: A text file with one name a line, or JSON: a list of names, or a mapping of label to name; or, where
            there is no such file, the name of a built-in list. The background may be among the names or not.

    Returns:
        The names in their order; of a mapping by label, where a missing label 0 is the background and others are N/A.

    Raises:
        ExportError: The file is missing, empty, too large, or in none of these forms.
    """
    if str(path) in class_list_names() and not path.exists():
        return class_list(str(path))
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES} bytes, so it is no list of names")
        text = path.read_text(encoding="utf-8-sig")
        names = _from_json(text) if path.suffix.lower() == ".json" else _from_lines(text)
        _check_names(names)
    except (OSError, ValueError, RecursionError) as error:
        raise ExportError(
            f"class names {path} cannot be read: {error}; built-in lists are: {', '.join(class_list_names())}"
        ) from error
    return names


def _from_lines(text: str) -> tuple[str, ...]:
    # Not splitlines(), which splits at odd characters inside of a name too.
    return tuple(line.strip(" \t") for line in text.rstrip(" \t\n").split("\n"))


def _from_json(text: str) -> tuple[str, ...]:
    content = json.loads(text, object_pairs_hook=_without_duplicates)
    names = content.values() if isinstance(content, dict) else content
    if not isinstance(content, dict | list) or not all(isinstance(name, str) for name in names):
        raise ValueError("the JSON must be a list of names or a mapping of label to name, each name in quotes")
    if isinstance(content, list):
        return tuple(name.strip(" \t") for name in content)
    by_label = {_label(label): name.strip(" \t") for label, name in content.items()}
    labels = range(max(by_label, default=-1) + 1)
    return _ByLabel(by_label.get(label, "N/A" if label else "background") for label in labels)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a label stands in the mapping twice")
    return content


def _label(text: str) -> int:
    plain = len(text) <= 6 and text.isascii() and text.isdigit() and text == str(int(text))
    if not plain or int(text) >= _MOST_LABELS:
        raise ValueError(f"the label {text[:40]!r} must be a whole number from 0 to {_MOST_LABELS - 1}")
    return int(text)


def _check_names(names: tuple[str, ...]) -> None:
    if not names or not all(names):
        raise ValueError("there must be one name a line without blank lines between them, or JSON without empty names")
    for place, name in enumerate(names):
        if any(_is_control(character) for character in name):
            raise ValueError(f"name {place + 1}, {name[:80]!a}, has characters that cannot be printed")


def _is_control(character: str) -> bool:
    kind = unicodedata.category(character)
    return (kind[0] == "C" and character not in _JOINERS) or kind in ("Zl", "Zp")


def fitting_class_names(names: tuple[str, ...] | None, classes: int, background_first: bool = True) -> tuple[str, ...]:
    """Names for every label of a model, or numbers where none were given.

    Args:
        names: One per class, with or without the background; None for numbers.
        classes: How many the checkpoint has, background included.
        background_first: The background is label 0 and gets a name; else it is the last class, which is no label.

    Returns:
        One name per label: ``classes`` of them with the background first, else one less.

    Raises:
        ExportError: There are more or fewer names than classes, or the background is not where it must be.
    """
    if names is None:
        numbers = tuple(f"class {label}" for label in range(classes))
        return ("background", *numbers[1:]) if background_first else numbers[:-1]
    backgrounds = [place for place, name in enumerate(names) if _is_background(name)]
    fitted = (_with_background if background_first else _without_background)(names, backgrounds, classes)
    if fitted is None:
        given, wanted = len(names) - len(backgrounds), classes - 1
        raise ExportError(
            f"the checkpoint has {classes} classes with the background, but {len(names)} class names were given; "
            f"{_likely_cause(names, backgrounds, classes, background_first)} "
            f"(the background aside, {wanted} names wanted, {given} given)"
        )
    return fitted


def _with_background(names: tuple[str, ...], backgrounds: list[int], classes: int) -> tuple[str, ...] | None:
    if len(names) == classes and backgrounds == [0]:
        return tuple(names)
    missing = len(names) == classes - 1 and not backgrounds and not isinstance(names, _ByLabel)
    return ("background", *names) if missing else None


def _without_background(names: tuple[str, ...], backgrounds: list[int], classes: int) -> tuple[str, ...] | None:
    if len(names) == classes - 1 and not backgrounds:
        return tuple(names)
    if len(names) != classes or backgrounds not in ([0], [classes - 1]):
        return None
    if backgrounds == [0]:
        return None if isinstance(names, _ByLabel) else names[1:]
    return tuple(names[:-1])


def _is_background(name: str) -> bool:
    return name.replace("_", "").replace(" ", "").lower() in ("background", "bg")


def fitting_class_lists(classes: int) -> list[str]:
    """Built-in lists for so many classes, background included, which only one of the lists has."""
    return [name for name in class_list_names() if len(class_list(name)) == classes - (name != "coco-by-id")]


def _likely_cause(names: tuple[str, ...], backgrounds: list[int], classes: int, background_first: bool) -> str:
    if isinstance(names, _ByLabel) and (0 in backgrounds) != background_first:
        if background_first:
            return "label 0 is the background: leave it out of the mapping and count the classes from 1"
        return "label 0 is the first class: give it a name, count from 0 and leave the background out"
    if len(backgrounds) > 1 or (backgrounds and backgrounds[0] not in (0, len(names) - 1)):
        return f"the background must come first or be left out, not as name {backgrounds[-1] + 1}"
    if background_first and backgrounds and backgrounds != [0]:
        return "the background must come first or be left out, not last"
    if len(names) == classes and not backgrounds:
        return "the first of so many must be `background`: call it that if it stands for it, else one is too many"
    if fitting := fitting_class_lists(classes):
        return f"the built-in list {' or '.join(fitting)} has as many: --labels {fitting[0]}"
    return "it was trained on other classes than these: give its own names with --labels, one a line"
