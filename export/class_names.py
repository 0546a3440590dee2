"""The name of each label, from a file, a built-in list, a preset or, failing all three, a number."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from export.errors import ExportError

_LISTS = Path(__file__).parent / "class_lists"


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


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read class names.

    Args:
        path: A text file with one name a line, or JSON: a list of names, or a mapping of label to name; or, where
            there is no such file, the name of a built-in list. The background may be among the names or not.

    Raises:
        ExportError: The file is missing, empty, or in none of these forms.
    """
    if str(path) in class_list_names() and not path.exists():
        return class_list(str(path))
    try:
        text = path.read_text(encoding="utf-8")
        names = _from_json(json.loads(text)) if path.suffix == ".json" else [line.strip() for line in text.splitlines()]
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise ExportError(
            f"class names {path} cannot be read: {error}; built-in lists are: {', '.join(class_list_names())}"
        ) from error
    while names and not names[-1]:
        names.pop()
    if not names or not all(names):
        raise ExportError(f"class names {path} must be one name a line without blank lines between them")
    return tuple(names)


def _from_json(content: Any) -> list[str]:
    if isinstance(content, dict):
        by_label = {int(label): str(name) for label, name in content.items()}
        return [
            by_label.get(label, "background" if label == 0 else "N/A") for label in range(max(by_label, default=-1) + 1)
        ]
    if not isinstance(content, list):
        raise ValueError("the JSON must be a list of names or a mapping of label to name")
    return [str(name) for name in content]


def fitting_class_names(names: tuple[str, ...] | None, classes: int, background_first: bool = True) -> tuple[str, ...]:
    """Names for every label of a model, or numbers where none were given.

    Args:
        names: One per class, with or without the background; None for numbers.
        classes: How many the checkpoint has, background included.
        background_first: The background is label 0 and gets a name; else it is the last class, which is no label.

    Returns:
        One name per label: ``classes`` of them with the background first, else one less.

    Raises:
        ExportError: There are more or fewer names than classes.
    """
    if names is None:
        numbers = tuple(f"class {label}" for label in range(classes))
        return ("background", *numbers[1:]) if background_first else numbers[:-1]
    fitted = _with_background(names, classes) if background_first else _without_background(names, classes)
    if len(fitted) != classes - (not background_first):
        raise ExportError(
            f"the checkpoint has {classes} classes with the background, but {len(names)} class names were given; "
            f"{_likely_cause(classes)}"
        )
    return fitted


def _with_background(names: tuple[str, ...], classes: int) -> tuple[str, ...]:
    missing = len(names) == classes - 1 and not _is_background(names[0])
    return ("background", *names) if missing else names


def _without_background(names: tuple[str, ...], classes: int) -> tuple[str, ...]:
    if len(names) != classes:
        return names
    if _is_background(names[0]):
        return names[1:]
    return names[:-1] if _is_background(names[-1]) else names


def _is_background(name: str) -> bool:
    return name.strip(" _").lower() == "background"


def fitting_class_lists(classes: int) -> list[str]:
    """Built-in lists for so many classes, background included, which only one of the lists has."""
    return [name for name in class_list_names() if len(class_list(name)) == classes - (name != "coco-by-id")]


def _likely_cause(classes: int) -> str:
    if fitting := fitting_class_lists(classes):
        return f"the built-in list {' or '.join(fitting)} has as many: --labels {fitting[0]}"
    return "it was trained on other classes than these: give its own names with --labels, one a line"
