"""The option ``classes``: names and ids to labels."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

from handler.requests.values import shown

MOST_CLASSES = 10_000
LONGEST_NAME = 200


class ClassNames:
    """The classes that may be asked for: all but the background, which is never found."""

    def __init__(self, names: Iterable[str]) -> None:
        """Take the class names of a model card; a label is a position among them."""
        self._labels: dict[str, frozenset[int]] = {}
        self._ids: set[int] = set()
        self._background: set[int] = set()
        for label, name in enumerate(names):
            if name.strip("_ ").lower() == "background":
                self._background.add(label)
            else:
                self._ids.add(label)
                self._add(name.strip(), label)
                self._add(name.strip().lower(), label)
        self._longest = max((name.count(",") for name in self._labels), default=0) + 1  # parts of a name

    def _add(self, name: str, label: int) -> None:
        self._labels[name] = self._labels.get(name, frozenset()) | {label}

    def read(self, value: Any) -> frozenset[int]:
        """The labels of a text with commas, a list, or one id.

        A name counts in whatever case, may stand for several labels, and wins over an id; names with commas in them
        are found in a text too.

        Raises:
            ValueError: A class is unknown or the background, or there is none; the text says which.
        """
        wanted = self._split(value) if isinstance(value, str) else value if isinstance(value, list) else [value]
        if not wanted:
            raise ValueError("an empty list; leave the option out for all classes")
        if len(wanted) > MOST_CLASSES:
            raise ValueError(f"more than {MOST_CLASSES:,} classes")
        return frozenset().union(*(self._read_one(each) for each in wanted))

    def _split(self, text: str) -> list[str]:
        """Cut at commas, but keep together what is a name with commas: the longest one counts."""
        return list(self._joined(text.split(",", MOST_CLASSES + 1)))

    def _joined(self, parts: list[str]) -> Iterator[str]:
        start = 0
        while start < len(parts):
            ends = range(min(start + self._longest, len(parts)), start, -1)
            known = (end for end in ends if self._find(",".join(parts[start:end])))
            end = next(known, start + 1)
            yield ",".join(parts[start:end])
            start = end

    def _find(self, name: str) -> frozenset[int]:
        """Labels of a name: as it is written, else in lower case."""
        name = name.strip()
        return self._labels.get(name) or self._labels.get(name.lower(), frozenset())

    def _read_one(self, each: Any) -> frozenset[int]:
        if isinstance(each, bool) or not isinstance(each, int | str):
            raise ValueError(f"a class is a name or an id, not {shown(each)}")
        if isinstance(each, str) and (labels := self._find(each)):
            return labels
        label = _label(each)
        if label in self._ids:
            return frozenset({label})
        if label in self._background or str(each).strip("_ ").lower() == "background":
            raise ValueError("the background is never found")
        raise ValueError(f"there is no class {shown(each)}{self._meant(each)}")

    def _meant(self, each: int | str) -> str:
        """The name that may have been meant. Long ones are not compared: that takes time with the square."""
        if not isinstance(each, str) or len(each) > LONGEST_NAME:
            return ""
        close = difflib.get_close_matches(each.strip(), self._labels, 1)
        return f"; did you mean {close[0]}?" if close else ""


def _label(each: int | str) -> int:
    """The id that a text of digits says, -1 for any other."""
    if isinstance(each, int):
        return each
    digits = each.strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else -1
