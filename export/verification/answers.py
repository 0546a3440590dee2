"""How an answer of what was exported is held against the model's own."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from export.errors import ExportError
from export.verification.comparison import NONE, Differences, compare_answers, largest_difference
from export.verification.proof_cases import Case

FEATURE_TOLERANCE = 1e-3  # of the largest feature of a level: a hundred times the rounding of 50 layers

Answer = tuple[Tensor, ...]


def as_tuple(answer: Tensor | Answer) -> Answer:
    """What a method gave, as a tuple where it was one tensor, too."""
    return (answer,) if isinstance(answer, Tensor) else answer


def is_forward(case: Case) -> bool:
    """Whether it runs the whole network."""
    return case.method == "forward"


def checked(
    case: Case,
    found: Answer,
    expected: Answer,
    tolerance: Differences,
    differences: Callable[[Case, Answer, Answer], Differences],
) -> Differences:
    """The differences of one answer.

    Args:
        case: What was run.
        found: The answer of what was exported.
        expected: The model's own.
        tolerance: The largest differences allowed.
        differences: Finds them.

    Raises:
        ExportError: They are beyond the tolerance; names the case.
    """
    try:
        worst = differences(case, found, expected)
    except ExportError as error:
        raise ExportError(f"the export differs from the model in {case.name}: {error}") from error
    if beyond := worst.beyond(tolerance):
        raise ExportError(f"the export differs from the model in {case.name}: {', '.join(beyond)}")
    return worst


def differences_of(case: Case, found: Answer, expected: Answer) -> Differences:
    """All that two answers on one device can differ in.

    Raises:
        ExportError: They are not of the same detections, or the features are apart.
    """
    if case.method == "segment":
        return Differences(0.0, 0.0, largest_difference(found[0], expected[0]))
    return compare_answers(found, expected) if is_forward(case) else _compare_first_half(case, found, expected)


def _compare_first_half(case: Case, found: Answer, expected: Answer) -> Differences:
    if found[2].tolist() != expected[2].tolist():
        raise ExportError("the labels differ")
    check_features(features(case, found), features(case, expected))
    boxes, scores = (
        largest_difference(*(_joined(answer, places) for answer in (found, expected)))
        for places in _BOXES_AND_SCORES[case.method]
    )
    return Differences(boxes, scores, 0.0)


# Places in what ``detect`` and ``explain`` give: of boxes, those of the proposals too; then of scores, of all classes
# and of the proposals too.
_BOXES_AND_SCORES = {"detect": ((0,), (1,)), "explain": ((0, 5), (1, 6, 7))}
_BEFORE_LEVELS = {"detect": 5, "explain": 8}


def _joined(answer: Answer, places: Sequence[int]) -> Tensor:
    """Some parts (B, D, ...) of an answer in one, (B, ...)."""
    return torch.cat([answer[place].flatten(1) for place in places], dim=1)


def features(case: Case, answer: Answer) -> Answer:
    """The levels of the pyramid in what ``detect`` or ``explain`` gave."""
    return answer[_BEFORE_LEVELS[case.method] :]


def check_elsewhere(case: Case, found: Answer, expected: Answer, tolerance: Differences) -> None:
    """Compare what no threshold decides: the levels of the pyramid, and the masks of given boxes."""
    if is_forward(case):
        check_whole(case, found, expected)
    else:
        checked(case, found, expected, tolerance, _differences_before_thresholds)


def _differences_before_thresholds(case: Case, found: Answer, expected: Answer) -> Differences:
    if case.method == "segment":
        return differences_of(case, found, expected)
    check_features(features(case, found), features(case, expected))
    return NONE


def check_model(cases: Sequence[Case], expected: Sequence[Answer]) -> None:
    """Refuse a model that finds nothing because it computes nothing."""
    for case, answer in zip(cases, expected, strict=True):
        if case.method == "detect" and not all(bool(level.isfinite().all()) for level in answer[5:]):
            raise ExportError("the model's own features are not finite: its weights are too large or damaged")


def check_features(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    """Compare the levels of the pyramid: they tell two networks apart even where nothing is detected."""
    for ours, theirs in zip(found, expected, strict=True):
        apart, largest = largest_difference(ours, theirs), float(theirs.abs().max())
        if not apart <= FEATURE_TOLERANCE * largest:
            raise ExportError(f"the features differ by {apart:.2g}, the largest is {largest:.2g}")


def check_whole(case: Case, found: Answer, expected: Answer) -> None:
    """Compare the form of what ``forward`` gave.

    Raises:
        ExportError: It is not finite, or its parts do not fit each other.
    """
    finite = all(bool(part.isfinite().all()) for part in found)
    if not finite or len(found[3]) != int(found[4].sum()) or found[3].shape[1:] != expected[3].shape[1:]:
        raise ExportError(f"the export gives broken answers in {case.name}")
