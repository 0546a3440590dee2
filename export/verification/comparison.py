"""How far two answers of the same network are apart."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from export.errors import ExportError

# Scores closer than this may swap places: they are rounding apart.
SCORE_TIE = 1e-3
# Scores farther apart than this are not of one detection.
_NEAR = 3e-3


@dataclass(frozen=True)
class Differences:
    """Largest absolute differences, or the largest that are allowed.

    The defaults are the tolerances: rounding that a deep network amplifies, far below what a user could see.

    Attributes:
        boxes: In canvas pixels.
        scores: Of 1.
        masks: Of 1.
    """

    boxes: float = 0.05
    scores: float = 2e-3
    masks: float = 1e-2

    def or_larger(self, other: "Differences") -> "Differences":
        """Field by field the larger of the two."""
        return Differences(*(max(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)))

    def beyond(self, tolerance: "Differences") -> list[str]:
        """The fields that exceed a tolerance, for a message. A NaN exceeds every tolerance."""
        pairs = ((f.name, getattr(self, f.name), getattr(tolerance, f.name)) for f in fields(self))
        return [f"{name} {found:.2g} > {allowed:.2g}" for name, found, allowed in pairs if not found <= allowed]


NONE = Differences(0.0, 0.0, 0.0)


def compare_answers(found: Sequence[Tensor], expected: Sequence[Tensor]) -> Differences:
    """Compare what ``forward`` gives.

    Args:
        found: boxes (K, 4), scores (K), labels (K), masks (K, M, M), counts (B).
        expected: The same.

    Returns:
        The largest differences, each detection against its twin.

    Raises:
        ExportError: The counts differ, a detection has no twin with its label and nearly its score, or two whose
            scores are not nearly equal swapped places.
    """
    if found[4].tolist() != expected[4].tolist():
        raise ExportError(f"detections per picture must be {expected[4].tolist()}, got {found[4].tolist()}")
    counts = expected[4].tolist()
    pictures = zip(*(_per_picture(answer, counts) for answer in (found, expected)), strict=True)
    worst = NONE
    for ours, theirs in pictures:
        worst = worst.or_larger(_compare_picture(ours, theirs))
    return worst


def _per_picture(answer: Sequence[Tensor], counts: list[int]) -> list[tuple[Tensor, ...]]:
    return list(zip(*(torch.split(part, counts) for part in answer[:4]), strict=True))


def _compare_picture(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> Differences:
    twins = _twins(found, expected)
    _check_order(twins, expected[1])
    return Differences(*(largest_difference(found[part][twins], expected[part]) for part in (0, 1, 3)))


def _twins(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> list[int]:
    """Index into ``found`` for each expected detection: the nearest box among those that may swap places."""
    free = list(range(len(found[1])))
    twins = []
    for box, score, label in zip(*expected[:3], strict=True):
        near = [i for i in free if found[2][i] == label and abs(float(found[1][i] - score)) < _NEAR]
        if not near:
            raise ExportError(f"a detection of label {int(label)} with score {float(score):.4f} has no twin")
        twins.append(min(near, key=lambda i: float((found[0][i] - box).abs().max())))
        free.remove(twins[-1])
    return twins


def _check_order(twins: list[int], scores: Tensor) -> None:
    """Refuse detections that swapped places although their scores are not rounding apart."""
    places = torch.tensor(twins)
    swapped = (places[:, None] > places).triu(1)  # [i, j]: i was expected before j and was found after it
    gaps = (scores[:, None] - scores).abs()[swapped]
    if len(gaps) and float(gaps.max()) >= SCORE_TIE:
        raise ExportError(f"detections whose scores are {float(gaps.max()):.2g} apart swapped places")


def largest_difference(found: Tensor, expected: Tensor) -> float:
    """Largest absolute difference of two tensors of one shape; 0 for empty ones.

    Raises:
        ExportError: The shapes differ.
    """
    if found.shape != expected.shape:
        raise ExportError(f"an output must be {tuple(expected.shape)}, got {tuple(found.shape)}")
    return float((found.double() - expected.double()).abs().max()) if found.numel() else 0.0
