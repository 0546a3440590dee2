"""What a value of ``model-config.yaml`` must be, and the one text that says so."""


def check(holds: bool, name: str, expected: str, value: object) -> None:
    """Refuse a value.

    Raises:
        ValueError: It does not hold; the text names the key, what was expected and what was there.
    """
    if not holds:
        raise ValueError(f"model-config.yaml: {name} must be {expected}, got {value!r}")


def is_count(value: object, least: int = 1) -> bool:
    """An integer, and at least the least; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_probability(value: object) -> bool:
    """A number from 0 to 1; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def are_sizes(value: object) -> bool:
    """A list of pairs of counts."""
    return isinstance(value, list | tuple) and all(
        isinstance(size, list | tuple) and len(size) == 2 and all(map(is_count, size)) for size in value
    )
