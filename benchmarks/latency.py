"""Percentiles, as every table of a served model names them."""

from collections.abc import Sequence
from math import ceil

NAMED = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def percentile(times: Sequence[float], share: float) -> float:
    """The smallest of the times that at least this share of them does not exceed (nearest rank): one that was measured.

    Args:
        times: In any order.
        share: From 0 to 1.

    Raises:
        ValueError: There are no times, or there is no such share.
    """
    if not times or not 0 <= share <= 1:
        raise ValueError(f"a percentile needs times and a share from 0 to 1, got {len(times)} times and {share}")
    rank = ceil(share * len(times) - 1e-9)  # the product may be a little too much: 0.55 of 100 is the 55th
    return sorted(times)[max(0, rank - 1)]


def percentiles(times: Sequence[float]) -> dict[str, float | None]:
    """p50, p90, p99 and max; None where nothing was answered."""
    named = {name: percentile(times, share) if times else None for name, share in NAMED.items()}
    return named | {"max": max(times, default=None)}
