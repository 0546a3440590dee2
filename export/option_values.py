"""How the values of options are read, and what is said of one that cannot be."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from math import inf


def count(most: int) -> Callable[[str], int]:
    """A reader of whole numbers.

    Args:
        most: The largest; the smallest is 1.
    """

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ArgumentTypeError(f"must be a whole number from 1 to {most:,}, got {text!r}") from None
        if not 1 <= value <= most:
            raise ArgumentTypeError(f"must be from 1 to {most:,}, got {text}")
        return value

    return read


def at_least_zero(text: str) -> float:
    """A number, 0 or more."""
    if not 0 <= (value := _number(text)) < inf:
        raise ArgumentTypeError(f"must be at least 0, got {text}")
    return value


def share(text: str) -> float:
    """A number from 0 to 1."""
    if not 0 <= (value := _number(text)) <= 1:
        raise ArgumentTypeError(f"must be from 0 to 1, got {text}")
    return value


def numbers(text: str) -> tuple[float, ...]:
    """Numbers above 0 with commas between them."""
    return tuple(_above_zero(part) for part in text.split(","))


def levels(text: str) -> tuple[tuple[float, ...], ...]:
    """Numbers above 0: commas between levels, slashes within one."""
    return tuple(tuple(_above_zero(size) for size in level.split("/")) for level in text.split(","))


def _above_zero(text: str) -> float:
    if not 0 < (value := _number(text)) < inf:
        raise ArgumentTypeError(f"must be above 0, got {text}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentTypeError(f"must be a number, got {text!r}") from None
