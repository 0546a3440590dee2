"""Sizes that repeat: on a GPU, work of few different sizes finds its graph and its algorithms again.

Between the sizes up to a quarter is padding.
"""


def batch_bucket(count: int, most: int) -> int:
    """Rows of the canvas for so many pictures: the next power of two, or the most there may be.

    Args:
        count: At least 1, at most ``most``.
        most: ``max_pass_size``.
    """
    return min(_power_of_two_from(count), most)


def batch_buckets(most: int) -> list[int]:
    """All that ``batch_bucket`` may give, ascending."""
    return sorted({batch_bucket(count, most) for count in range(1, most + 1)})


def batch_parts(count: int, most: int) -> list[int]:
    """Cut a pass into passes of which at most a quarter is padding: 5 of 8 rows would be 4 and 1, 6 stay together.

    Args:
        count: Pictures, at most ``most``.
        most: ``max_pass_size``.
    """
    parts = []
    while count:
        bucket = batch_bucket(count, most)
        part = count if 4 * (bucket - count) <= bucket else _power_of_two_from(count) // 2
        parts.append(part)
        count -= part
    return parts


def row_bucket(count: int) -> int:
    """Rows of the mask head for so many detections: steps of 8 up to 64, then of an eighth to a quarter."""
    step = max(8, _power_of_two_from(count) // 8)
    return -(-count // step) * step


def row_buckets(most: int) -> list[int]:
    """All that ``row_bucket`` may give for 1 to ``most`` rows, ascending."""
    return sorted({row_bucket(count) for count in range(1, most + 1)})


def _power_of_two_from(count: int) -> int:
    """The least power of two that is not below a count of at least 1."""
    return 1 << (count - 1).bit_length()
