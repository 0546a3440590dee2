"""The name of each label, from a file, a preset or, failing both, a number."""

import json
from pathlib import Path
from typing import Any

from export.errors import ExportError


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read class names.

    Args:
        path: A text file with one name a line, or JSON: a list of names, or a mapping of label to name. The first
            name (label 0) is the background.

    Raises:
        ExportError: The file is missing, empty, or in none of these forms.
    """
    try:
        text = path.read_text(encoding="utf-8")
        names = _from_json(json.loads(text)) if path.suffix == ".json" else [line.strip() for line in text.splitlines()]
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise ExportError(f"class names {path} cannot be read: {error}") from error
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


def fitting_class_names(names: tuple[str, ...] | None, classes: int) -> tuple[str, ...]:
    """Names for every label of a model, or numbers where none were given.

    Args:
        names: One per label, background included; None for numbers.
        classes: How many the checkpoint has, background included.

    Raises:
        ExportError: There are more or fewer names than classes.
    """
    if names is None:
        return ("background", *(f"class {label}" for label in range(1, classes)))
    if len(names) == classes - 1 and names[0] != "background":
        return ("background", *names)
    if len(names) != classes:
        raise ExportError(
            f"the checkpoint has {classes} classes with the background, but {len(names)} class names were given"
        )
    return names
