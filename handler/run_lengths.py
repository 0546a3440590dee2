"""COCO's compressed run lengths as numbers, with NumPy; the command, which has none, has a reader of its own."""

import numpy as np
from numpy.typing import NDArray


def run_lengths(counts: str) -> NDArray[np.int64]:
    """Read compressed run lengths: pixels outside and inside the mask in turn, column by column.

    Args:
        counts: Each length in groups of five bits, lowest first, as characters from ``0`` (48) on; bit 5 says that
            another group follows, bit 4 of the last group is the sign. From the fourth length on it is the
            difference to the length two before.

    Returns:
        (R,) int64, pixels.

    Raises:
        ValueError: The last length ends early, or one is longer than any picture.

    Source:
        The format of ``counts`` in COCO's annotations, as read by pycocotools.
    """
    groups = np.frombuffer(counts.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(groups & 32 == 0)
    if len(groups) and (not len(ends) or ends[-1] != len(groups) - 1):
        raise ValueError("mask: the last run length ends early")
    begins = np.concatenate((np.zeros(min(1, len(ends)), dtype=np.int64), ends[:-1] + 1))
    widths = ends - begins + 1
    if len(widths) and widths.max() > 7:  # 35 bits
        raise ValueError("mask: a run length is longer than any picture")
    shifts = 5 * (np.arange(len(groups)) - np.repeat(begins, widths))
    lengths = np.add.reduceat((groups & 31) << shifts, begins) if len(ends) else groups
    lengths = lengths - (((groups[ends] >> 4) & 1) << (5 * widths))
    lengths[1::2] = lengths[1::2].cumsum()
    lengths[2::2] = lengths[2::2].cumsum()
    return lengths


def runs_inside(counts: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the pixels of a mask begin and end, counted column by column.

    Args:
        counts: As ``run_lengths`` takes them.

    Returns:
        (R,) int64 first positions and (R,) int64 positions past the last; no run is empty, and no two touch.
    """
    ends = run_lengths(counts).cumsum()
    begins, ends = ends[:-1:2], ends[1::2]
    begins = begins[: len(ends)]
    filled = begins < ends
    begins, ends = begins[filled], ends[filled]
    apart = begins[1:] != ends[:-1]
    first, last = np.append(True, apart), np.append(apart, True)
    return (begins[first], ends[last]) if len(begins) else (begins, ends)
