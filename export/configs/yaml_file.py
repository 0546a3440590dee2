"""A framework's YAML file, with its bases, to dotted keys; nothing in the file is run."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from export.configs.config import Values
from export.errors import ExportError

_MOST_BYTES = 1 << 20  # the frameworks' own full dumps have 15 kB
_MOST_VALUES = 10_000  # aliases can make a small file into a huge tree, or an endless one

# Gives the built-in base of that name, where there is one.
FindBase = Callable[[str], Values | None]


def read_yaml(path: Path, find_base: FindBase = lambda name: None) -> dict[str, Any]:
    """Read a configuration file and the files that it builds on (``_BASE_``).

    Args:
        path: The file.
        find_base: Called with the text of a ``_BASE_`` that is no file beside this one.

    Returns:
        Dotted keys to values: numbers, strings, switches, lists and tuples; strings that are Python literals are
        read as such, as both frameworks do.

    Raises:
        ExportError: A file is missing, is not YAML, wants Python objects, or is its own base.
    """
    return _read(path, find_base, ())


def _read(path: Path, find_base: FindBase, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise ExportError(f"config {path} is its own _BASE_: {' -> '.join(str(other) for other in seen)}")
    tree = _load(path)
    bases = tree.pop("_BASE_", [])
    values: dict[str, Any] = {}
    for base in bases if isinstance(bases, list | tuple) else [bases]:
        values |= _read_base(path, str(base), find_base, (*seen, path.resolve()))
    own = dict(_flat(tree, ""))
    return values | own


def _read_base(path: Path, base: str, find_base: FindBase, seen: tuple[Path, ...]) -> Values:
    beside = path.parent / Path(base).expanduser()
    if beside.is_file():
        return _read(beside, find_base, seen)
    built_in = find_base(base)
    if built_in is None:
        raise ExportError(
            f"config {path} builds on {base!r}, which is neither at {beside} nor one of the framework's own; "
            "copy it there, or give the full configuration that the training wrote (config.yaml of its output)"
        )
    return built_in


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ExportError(f"config {path} is larger than {_MOST_BYTES} bytes; it is not a configuration")
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ExportError(f"config {path} cannot be read: {error}") from error
    if not isinstance(tree, dict):
        raise ExportError(f"config {path} must be a mapping of keys such as MODEL, found {type(tree).__name__}")
    _check_size(path, tree)
    return tree


def _flat(tree: dict[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _decoded(value)


def _check_size(path: Path, tree: dict[Any, Any]) -> None:
    """Walk the tree as a reader would, aliases followed, and give up early: what passes can be walked again."""
    stack: list[Any] = [tree]
    for _ in range(_MOST_VALUES):
        if not stack:
            return
        node = stack.pop()
        stack.extend(node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ())
    raise ExportError(f"config {path} has more than {_MOST_VALUES} values; it is not a configuration")


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return value


class _Loader(yaml.SafeLoader):
    """YAML's safe types and tuples."""


def _tuple(loader: _Loader, node: yaml.Node) -> tuple[Any, ...]:
    if not isinstance(node, yaml.SequenceNode):
        raise yaml.constructor.ConstructorError(None, None, "a tuple must be a sequence", node.start_mark)
    return tuple(loader.construct_sequence(node, deep=True))


def _refuse(loader: _Loader, suffix: str, node: yaml.Node) -> None:
    raise yaml.constructor.ConstructorError(
        None, None, f"!!python/{suffix} would run code or make objects; only plain values are read", node.start_mark
    )


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _tuple)
_Loader.add_multi_constructor("tag:yaml.org,2002:python/", _refuse)
