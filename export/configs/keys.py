"""The keys of a configuration against those that are read: a misspelt one must not pass for one of no interest."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from export.configs.config import Values
from export.errors import ExportError

# Real options of the frameworks that look like those that are read, but matter to training or to other networks only.
_LOOKALIKES = frozenset(
    {
        "MODEL.RETINANET",  # maskrcnn-benchmark, beside RETINANET_ON
        "MODEL.RPN.FPN_POST_NMS_TOP_N_TRAIN",
        "MODEL.RESNETS.RES4_DILATION",  # Detectron2's DeepLab
    }
)
_SIMILAR, _SIMILAR_SECTION = 0.85, 0.8


def check_keys(name: str, values: Values, defaults: Values) -> None:
    """Refuse keys that look like a misspelling of one that is read; the many others that are not read may stand.

    Args:
        name: A preset's name or a file, for messages.
        values: Dotted keys as the configuration spells them; an empty section has the value ``{}``.
        defaults: The framework's own values of all keys that are read.

    Raises:
        ExportError: A key is misspelt, a section has a value, or a value is a section.
    """
    names = _names_by_section(defaults)
    for key, value in values.items():
        _check_spelling(name, key, names)
        if key in names and value != {}:
            raise ExportError(f"{name}: {key} is {value!r}; it must be a section (a mapping of keys), or be left out")
        if key in defaults and isinstance(value, Mapping):
            raise ExportError(f"{name}: {key} is a section; it must be a value such as {_shown(defaults[key])}")


def _names_by_section(defaults: Values) -> dict[str, list[str]]:
    """Dotted section, "" at the top -> what is read of it."""
    names: dict[str, list[str]] = {"": ["_BASE_"]}
    for key in defaults:
        parts = key.split(".")
        for depth, part in enumerate(parts):
            children = names.setdefault(".".join(parts[:depth]), [])
            if part not in children:
                children.append(part)
    return names


def _check_spelling(name: str, key: str, names: Mapping[str, list[str]]) -> None:
    section = ""
    for part in key.split("."):
        path = f"{section}.{part}" if section else part
        if section not in names:
            _refuse_inside_of_a_value(name, key, section, names)
            return
        if part not in names[section]:
            _refuse_near(name, path, section, names[section])
        section = path


def _refuse_near(name: str, path: str, section: str, known: list[str]) -> None:
    part = path.rpartition(".")[2]
    near = get_close_matches(part.upper(), known, n=1, cutoff=_SIMILAR if section else _SIMILAR_SECTION)
    if near and path not in _LOOKALIKES:
        meant = f"{section}.{near[0]}" if section else near[0]
        raise ExportError(f"{name}: {path} is not known; did you mean {meant}? Correct or remove it")


def _refuse_inside_of_a_value(name: str, key: str, section: str, names: Mapping[str, list[str]]) -> None:
    parent, _, last = section.rpartition(".")
    if last in names.get(parent, ()):
        raise ExportError(f"{name}: {key} stands below {section}, which is a value and not a section")


def _shown(value: Any) -> str:
    return repr(list(value) if isinstance(value, tuple) else value)
