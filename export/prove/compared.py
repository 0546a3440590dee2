"""How far two answers to one picture are apart, in pixels of that picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from export.errors import ExportError
from export.prove.answers import Answer


@dataclass(frozen=True)
class Tolerance:
    """What two computations of one network may differ by, where each rounds in its own order.

    Attributes:
        boxes: Of a corner, in pixels of the picture.
        scores: Of 1.
        masks: Share of a mask's pixels that may differ; one pixel always may.
        share: Of all detections that may be farther apart, or be found by one side only: where a score or an overlap
            is within rounding of a threshold, one side keeps what the other drops. Of fewer than a hundred: none.
        moved: Share of all masks, and one more, that may lie a pixel off: the paste of two frameworks cuts a box's
            corners to whole pixels, and rounding decides where a corner is almost whole.
    """

    boxes: float = 0.1
    scores: float = 2e-3
    masks: float = 0.01
    share: float = 0.01
    moved: float = 0.02


@dataclass(frozen=True)
class Cut:
    """What decides whether a detection is answered at all.

    Attributes:
        score_threshold: Detections at or below it are not.
        max_detections: Of a picture; the lesser ones are not.
    """

    score_threshold: float
    max_detections: int


@dataclass(frozen=True)
class Compared:
    """Two answers to one picture, each detection with its twin.

    Attributes:
        detections: How many the framework found.
        boxes: (M,) largest difference of a corner of each pair, in pixels.
        scores: (M,) difference of each pair.
        masks: (M,) share of the pixels of each pair's masks that differ; 0 without masks.
        mask_pixels: Pixels that differ, over all pairs.
        apart: A line for each pair beyond the tolerance and each detection without a twin, worst first.
        at_threshold: Detections without a twin whose score is within the tolerance of being dropped.
        moved: Masks that differ by more than the tolerance, but only along their outline.
    """

    detections: int = 0
    boxes: Tensor = field(default_factory=lambda: torch.zeros(0))
    scores: Tensor = field(default_factory=lambda: torch.zeros(0))
    masks: Tensor = field(default_factory=lambda: torch.zeros(0))
    mask_pixels: int = 0
    apart: tuple[str, ...] = ()
    at_threshold: int = 0
    moved: int = 0


def compare(found: Answer, expected: Answer, tolerance: Tolerance, cut: Cut) -> Compared:
    """Compare what was found in a picture with what the framework found.

    Args:
        found: Ours.
        expected: The framework's.
        tolerance: What makes two detections the same.
        cut: Excuses a detection that only one side kept.

    Raises:
        ExportError: Only one of them has masks.
    """
    if (found.masks is None) != (expected.masks is None):
        with_masks = "the framework" if found.masks is None else "the export"
        raise ExportError(f"only {with_masks} finds masks: are they of one network?")
    ours, theirs = twins(found, expected)
    pairs = _pairs(_rows(found, ours), _rows(expected, theirs), tolerance)
    lonely = [*_lonely("the framework", expected, theirs), *_lonely("the export", found, ours)]
    limit = _limit(found, expected, cut) + tolerance.scores
    return replace(
        pairs,
        detections=len(expected.scores),
        apart=(*pairs.apart, *(line for score, line in lonely if not score <= limit)),
        at_threshold=sum(score <= limit for score, _ in lonely),
    )


def twins(found: Answer, expected: Answer) -> tuple[list[int], list[int]]:
    """Pair detections of one label, the nearest boxes first; both ends of a pair are within half of its box's side.

    Returns:
        Indices into ``found`` and ``expected``, as many of each.
    """
    apart = (found.boxes[:, None] - expected.boxes).abs().amax(2)  # (N, M), in pixels
    reach = (expected.boxes[:, 2:] - expected.boxes[:, :2]).amax(1) / 2
    possible = (found.labels[:, None] == expected.labels) & (apart <= reach.clamp(min=1))
    # Of equally near ones, those with the nearest scores: duplicates of a box have one place.
    order = apart + 1e-3 * (found.scores[:, None] - expected.scores).abs()
    pairs = possible.nonzero()
    ours: list[int] = []
    theirs: list[int] = []
    for i, j in pairs[order[possible].argsort(stable=True)].tolist():
        if i not in ours and j not in theirs:
            ours.append(i)
            theirs.append(j)
    return ours, theirs


def _lonely(side: str, answer: Answer, paired: Sequence[int]) -> Iterator[tuple[float, str]]:
    """Score and line of each detection without a twin."""
    for i in sorted(set(range(len(answer.scores))) - set(paired)):
        score = float(answer.scores[i])
        corners = ", ".join(f"{corner:.1f}" for corner in answer.boxes[i].tolist())
        yield score, f"label {int(answer.labels[i])}, score {score:.3f} at {corners}: only {side} finds it"


def _limit(found: Answer, expected: Answer, cut: Cut) -> float:
    """The score at which detections begin to be dropped: the threshold, or the last place of a full answer."""
    full = [answer.scores for answer in (found, expected) if len(answer.scores) >= cut.max_detections]
    return max([cut.score_threshold, *(float(scores.min()) for scores in full)])


def _rows(answer: Answer, rows: Sequence[int]) -> Answer:
    masks = None if answer.masks is None else answer.masks[rows]
    return Answer(answer.boxes[rows], answer.scores[rows], answer.labels[rows], masks)


def _pairs(found: Answer, expected: Answer, tolerance: Tolerance) -> Compared:
    """Compare detections with their twins in the same rows."""
    boxes = (found.boxes - expected.boxes).abs().amax(1)
    scores = (found.scores - expected.scores).abs()
    masks, moved, pixels = _compare_masks(found, expected, tolerance)
    within = (boxes <= tolerance.boxes) & (scores <= tolerance.scores) & ((masks <= tolerance.masks) | moved)
    apart = [
        f"label {int(expected.labels[row])}, score {float(expected.scores[row]):.3f}: box {float(boxes[row]):.2g} px, "
        f"score {float(scores[row]):.2g}, mask {float(masks[row]):.1%} apart"
        for row in boxes.argsort(descending=True).tolist()
        if not within[row]
    ]
    return Compared(
        boxes=boxes, scores=scores, masks=masks, mask_pixels=pixels, apart=tuple(apart), moved=int(moved.sum())
    )


def _compare_masks(found: Answer, expected: Answer, tolerance: Tolerance) -> tuple[Tensor, Tensor, int]:
    """Of each pair the share of the pixels that differ and whether only the outline moved; all that differ."""
    count = len(found.scores)
    shares, moved, pixels = torch.zeros(count), torch.zeros(count, dtype=torch.bool), 0
    if found.masks is None or expected.masks is None:
        return shares, moved, pixels
    for row, (ours, theirs) in enumerate(zip(found.masks, expected.masks, strict=True)):
        different = int((ours ^ theirs).sum())
        pixels += different
        if different > 1:
            shares[row] = different / int((ours | theirs).sum())
        if shares[row] > tolerance.masks:
            moved[row] = bool((ours <= _grown(theirs)).all() and (theirs <= _grown(ours)).all())
    return shares, moved, pixels


def _grown(mask: Tensor) -> Tensor:
    """A mask and the pixels around it."""
    return F.max_pool2d(mask[None, None].float(), 3, 1, 1)[0, 0] > 0
