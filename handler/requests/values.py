"""One value of an option, as text or as JSON, to what it means. What is not allowed raises ValueError."""

import math
import re
import reprlib
from collections.abc import Iterable
from typing import Any

LONGEST_TEXT = 10_000  # characters of an option
LONGEST_ID = 256
_LARGEST_ID = 2**53  # JSON readers that know no integers still hold it exactly
# float() would also take 1_000, nan and the digits of other scripts.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def shown(value: Any) -> str:
    """A value or a name as an error repeats it: short, and nothing in it that a terminal or a log would obey."""
    if isinstance(value, str) and len(value) <= 60 and value.isprintable():
        return value
    return reprlib.repr(value)


def read_number(value: Any, low: float, high: float) -> float:
    """A finite number from ``low`` to ``high``."""
    if isinstance(value, str):
        if len(value) > 60 or not _NUMBER.fullmatch(value):
            raise ValueError
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        raise ValueError from None
    if not low <= number <= high:  # not a number fails too
        raise ValueError
    return number


def read_integer(value: Any, low: int, high: int) -> int:
    """An integer from ``low`` to ``high``; 5.0 is one, as some languages write no other."""
    number = read_number(value, low, high)
    if not number.is_integer() or math.isinf(number):
        raise ValueError
    return int(number)


def read_word(value: Any, allowed: Iterable[str]) -> str:
    """One of some words, in whatever case."""
    word = value.strip().lower() if isinstance(value, str) else None
    if word not in tuple(allowed):
        raise ValueError
    return str(word)


def read_id(value: Any) -> int | str:
    """An integer, as digits too, or a text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)
    if isinstance(value, str) and 0 < len(value) <= LONGEST_ID and value.isprintable():
        return value
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _LARGEST_ID:
        raise ValueError
    return value
