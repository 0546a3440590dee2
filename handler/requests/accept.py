"""The header ``Accept``: which of the media types that there are a client likes best."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Offer = TypeVar("Offer", bound=str)

MOST_RANGES = 100  # browsers send ten
_QUALITY = re.compile(r"0(\.\d*)?|1(\.0*)?|\.\d+", re.ASCII)


@dataclass(frozen=True)
class _Range:
    """One media range: a type, ``image/*`` or ``*/*``, and how much it is wanted, from 0 (not at all) to 1."""

    name: str
    quality: float

    def specificity(self, media_type: str) -> int:
        """How closely it names a type: 3 by itself, 2 by its kind, 1 as anything, 0 not at all."""
        kind = media_type.split("/")[0]
        return {media_type: 3, f"{kind}/*": 2, "*/*": 1}.get(self.name, 0)


def preferred(accept: str, offers: Sequence[Offer]) -> Offer | None:
    """The media type to answer with.

    Args:
        accept: The header.
        offers: What there is, our favourite first.

    Returns:
        The offer of the highest quality; of several the one that the client names most closely, then our favourite.
        None where the client wants none of them or says nothing.

    Source:
        RFC 9110, section 12.5.1. Ranges that do not follow it are skipped.
    """
    ranges = list(_ranges(accept))
    ranked = [(*_rank(offer, ranges), -place) for place, offer in enumerate(offers)]
    quality, _, place = max(ranked, default=(0.0, 0, 0))
    return offers[-place] if quality > 0 else None


def _rank(offer: str, ranges: Iterable[_Range]) -> tuple[float, int]:
    """Quality of an offer and how closely it is named: the closest range counts, a wider one does not."""
    closeness, quality = max(((each.specificity(offer), each.quality) for each in ranges), default=(0, 0.0))
    return (quality, closeness) if closeness else (0.0, 0)


def _ranges(accept: str) -> Iterable[_Range]:
    for part in accept.split(",", MOST_RANGES)[:MOST_RANGES]:
        name, *parameters = (each.strip().lower() for each in part.split(";"))
        qualities = [each.removeprefix("q=") for each in parameters if each.startswith("q=")]
        if all(_QUALITY.fullmatch(each) for each in qualities):
            yield _Range(name, float(qualities[0]) if qualities else 1.0)
