"""A framework's YAML file, with its bases, to dotted keys; nothing in the file is run."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from export.configs.config import Values
from export.errors import ExportError

_MOST_BYTES = 1 << 20  # the frameworks' own full dumps have 15 kB
_MOST_VALUES = 10_000  # aliases and merges (<<) can make a small file into a huge tree, or an endless one
_MOST_CHARACTERS = 10_000  # of one value: the time to read 1:1:1:... as a number grows with its square

# What PyYAML's own constructors raise on values that a tag does not fit, such as !!int "" or !!timestamp x.
_FROM_CONSTRUCTORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)

# Gives the built-in base of that name, where there is one.
FindBase = Callable[[str], Values | None]


def read_yaml(path: Path, find_base: FindBase = lambda name: None) -> dict[str, Any]:
    """Read a configuration file and the files that it builds on (``_BASE_``).

    Args:
        path: The file.
        find_base: Called with the text of a ``_BASE_`` that is no file beside this one.

    Returns:
        Dotted keys to values: numbers, strings, switches, lists and tuples; strings that are Python literals are
        read as such, as both frameworks do. An empty section is ``{}``.

    Raises:
        ExportError: A file is missing, is not YAML, wants Python objects, has a key twice or one that is no text,
            is too large, or is its own base.
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
        tree = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_Loader)
    except (OSError, RecursionError, yaml.YAMLError, *_FROM_CONSTRUCTORS) as error:
        raise ExportError(f"config {path} cannot be read: {error}") from error
    if not isinstance(tree, dict):
        raise ExportError(f"config {path} must be a mapping of keys such as MODEL, found {type(tree).__name__}")
    return tree


def _flat(tree: dict[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _decoded(value)


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return value


class _Loader(yaml.SafeLoader):
    """YAML's safe types and tuples; a document is checked as a graph of nodes before anything is made of it."""

    _composed = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._composed += 1
        if self._composed > 2 * _MOST_VALUES:  # with the keys
            raise _too_large()
        return super().compose_node(parent, index)

    def get_single_node(self) -> yaml.Node | None:
        root = super().get_single_node()
        if root is not None:
            _check_nodes(root)
        return root


def _check_nodes(root: yaml.Node) -> None:
    """Walk the nodes as a reader would, aliases and merges followed, and give up early: what passes can be built."""
    stack = [root]
    for _ in range(_MOST_VALUES):
        if not stack:
            return
        node = stack.pop()
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
            stack.extend(value for _, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            stack.extend(node.value)
        elif len(node.value) > _MOST_CHARACTERS:
            raise _error(f"a value of more than {_MOST_CHARACTERS} characters", node)
    raise _too_large()


def _check_keys(mapping: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in mapping.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag not in (_TEXT, _MERGE):
            raise _error(f"the key {_spelt(key)} is not text such as MODEL", key)
        if "." in key.value:
            raise _error(f"the key {_spelt(key)} has a dot; write sections below one another", key)
        if key.value in seen:
            raise _error(f"the key {_spelt(key)} stands twice in one section", key)
        seen.add(key.value)


_TEXT, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"


def _spelt(key: yaml.Node) -> str:
    return repr(key.value[:80]) if isinstance(key, yaml.ScalarNode) else f"of the type {key.tag.rpartition(':')[2]}"


def _error(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _too_large() -> yaml.YAMLError:
    return yaml.YAMLError(f"it has more than {_MOST_VALUES} values; it is not a configuration")


def _tuple(loader: _Loader, node: yaml.Node) -> tuple[Any, ...]:
    if not isinstance(node, yaml.SequenceNode):
        raise _error("a tuple must be a sequence", node)
    return tuple(loader.construct_sequence(node, deep=True))


def _refuse(loader: _Loader, suffix: str, node: yaml.Node) -> None:
    raise _error(f"!!python/{suffix} would run code or make objects; only plain values are read", node)


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _tuple)
_Loader.add_multi_constructor("tag:yaml.org,2002:python/", _refuse)
