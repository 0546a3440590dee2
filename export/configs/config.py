"""A framework's configuration: dotted keys to values, read with the type that is wanted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import isfinite
from typing import Any

from export.errors import ExportError

# "MODEL.RESNETS.DEPTH" -> 50; the framework's own keys.
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Allowed:
    """The values of a key for which the network is one that can be exported.

    Attributes:
        key: A dotted key, or a pattern of such with ``*``.
        values: The values; a list counts as a tuple.
        reason: What is supported, or what the other values mean.
        only_if: A key that must be true for this one to matter.
    """

    key: str
    values: tuple[Any, ...]
    reason: str
    only_if: str | None = None


@dataclass(frozen=True)
class Config:
    """Values over defaults, with the name to call them by.

    Attributes:
        name: A preset's name or a file, for messages.
        values: What the configuration itself says, over its bases.
        defaults: The framework's own.
    """

    name: str
    values: Values
    defaults: Values

    def __getitem__(self, key: str) -> Any:
        """The value of a key that the framework knows."""
        return self.values[key] if key in self.values else self.defaults[key]

    def number(self, key: str) -> float:
        """A number.

        Raises:
            ExportError: The value is something else.
        """
        value = self[key]
        if not _is_number(value):
            raise self.wrong(key, "must be a number")
        return float(value)

    def fraction(self, key: str) -> float:
        """A number from 0 to 1: a score, or an overlap (IoU).

        Raises:
            ExportError: The value is something else.
        """
        value = self.number(key)
        if not 0 <= value <= 1:
            raise self.wrong(key, "must be from 0 to 1")
        return value

    def whole(self, key: str, least: int = 1) -> int:
        """A whole number of at least ``least``.

        Raises:
            ExportError: The value is something else.
        """
        value = self.number(key)
        if value != int(value) or value < least:
            raise self.wrong(key, f"must be a whole number of at least {least}")
        return int(value)

    def flag(self, key: str) -> bool:
        """True or false.

        Raises:
            ExportError: The value is something else.
        """
        value = self[key]
        if not isinstance(value, bool):
            raise self.wrong(key, "must be True or False")
        return value

    def flags(self, key: str, count: int) -> tuple[bool, ...]:
        """A list of ``count`` switches.

        Raises:
            ExportError: The value is something else.
        """
        value = self[key]
        if not isinstance(value, list | tuple) or len(value) != count or not all(isinstance(v, bool) for v in value):
            raise self.wrong(key, f"must be a list of {count} times True or False")
        return tuple(value)

    def numbers(self, key: str, count: int | None = None) -> tuple[float, ...]:
        """A list of numbers, ``count`` of them where that is given.

        Raises:
            ExportError: The value is something else.
        """
        return self._numbers(key, self[key], count)

    def numbers_of_numbers(self, key: str) -> tuple[tuple[float, ...], ...]:
        """A list of lists of numbers.

        Raises:
            ExportError: The value is something else.
        """
        value = self[key]
        if not isinstance(value, list | tuple) or not value:
            raise self.wrong(key, "must be a list of lists of numbers")
        return tuple(self._numbers(key, row, None) for row in value)

    def _numbers(self, key: str, value: Any, count: int | None) -> tuple[float, ...]:
        wanted = f"must be a list of {'' if count is None else f'{count} '}numbers"
        if not isinstance(value, list | tuple) or not value or len(value) != (count or len(value)):
            raise self.wrong(key, wanted)
        if not all(_is_number(item) for item in value):
            raise self.wrong(key, wanted)
        return tuple(float(item) for item in value)

    def wrong(self, key: str, reason: str) -> ExportError:
        """The error that a value deserves."""
        return ExportError(f"{self.name}: {key} is {self[key]!r}; {reason}")

    def require(self, rules: Iterable[Allowed]) -> None:
        """Refuse what a network that can be exported does not have.

        Raises:
            ExportError: A value is not among those allowed; the text names the key, the value and what is supported.
        """
        for rule in rules:
            if rule.only_if is None or self[rule.only_if]:
                for key in self._matching(rule.key):
                    if not _is_among(self[key], rule.values):
                        raise self.wrong(key, rule.reason)

    def require_same(self, key: str, other: str) -> None:
        """Refuse two values that differ where the network has one for both.

        Raises:
            ExportError: They differ.
        """
        if _plain(self[key]) != _plain(self[other]):
            raise self.wrong(key, f"must be the same as {other}, {self[other]!r}")

    def _matching(self, pattern: str) -> list[str]:
        if "*" not in pattern:
            return [pattern] if pattern in self.values or pattern in self.defaults else []
        return [key for key in self.values if fnmatchcase(key, pattern)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _is_among(value: Any, allowed: tuple[Any, ...]) -> bool:
    plain = _plain(value)
    # False is not 0 here and True not 1: a switch with a number in it is a mistake.
    return any(plain == other and isinstance(plain, bool) == isinstance(other, bool) for other in allowed)


def _plain(value: Any) -> Any:
    return tuple(_plain(item) for item in value) if isinstance(value, list | tuple) else value
