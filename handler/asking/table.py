"""Detections as lines for people."""

from collections.abc import Mapping, Sequence
from typing import Any


def table(detections: Sequence[Mapping[str, Any]]) -> str:
    """Detections as lines: class, score, box, mask area in pixels."""
    lines = [f"{'class':<16} {'score':>6} {'x1':>8} {'y1':>8} {'x2':>8} {'y2':>8} {'mask px':>9}"]
    for each in detections:
        corners = " ".join(f"{corner:8.1f}" for corner in each["box"])
        lines.append(f"{each['class']:<16} {each['score']:6.3f} {corners} {_area(each.get('mask')):>9}")
    return "\n".join(lines)


def _area(mask: Any) -> str:
    """Pixels of a mask; of polygons it is not told, since their edges are a matter of taste."""
    return str(mask_area(mask["counts"])) if isinstance(mask, Mapping) and "counts" in mask else "-"


def mask_area(counts: str) -> int:
    """Pixels inside a mask.

    Args:
        counts: COCO's compressed run lengths.
    """
    return sum(run_lengths(counts)[1::2])


def run_lengths(counts: str) -> list[int]:
    """Read COCO's compressed run lengths: pixels outside and inside the mask in turn, column by column.

    Args:
        counts: Each length in groups of five bits, lowest first, as characters from ``0`` (48) on; bit 5 says that
            another group follows, bit 4 of the last group is the sign. From the fourth length on it is the
            difference to the length two before.

    Source:
        The format of ``counts`` in COCO's annotations, as read by pycocotools.
    """
    lengths: list[int] = []
    value = shift = 0
    for code in counts.encode("ascii"):
        group = code - 48
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths
