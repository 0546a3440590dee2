import pytest
import torch
from torch import Tensor

from export.errors import ExportError
from export.verification.comparison import Differences, compare_answers


def answer() -> list[Tensor]:
    """Two pictures; the scores of the first one are nearly equal."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 5, 50, 50], [1, 2, 3, 4]])
    scores = torch.tensor([0.8002, 0.8, 0.4])
    return [boxes, scores, torch.tensor([1, 1, 2]), torch.rand(3, 4, 4), torch.tensor([2, 1])]


def test_equal_answers_are_equal() -> None:
    same = answer()
    assert compare_answers(same, same) == Differences(0.0, 0.0, 0.0)


def test_neighbours_in_score_may_swap_places() -> None:
    expected = answer()
    swapped = [part[[1, 0, 2]] for part in expected[:4]] + [expected[4]]
    assert compare_answers(swapped, expected) == Differences(0.0, 0.0, 0.0)


def test_no_others_may_swap_places() -> None:
    expected = answer()
    expected[1][0] = expected[1][1] + 1.5e-3  # near enough to be taken for the other, too far to swap
    swapped = [part[[1, 0, 2]] for part in expected[:4]] + [expected[4]]
    with pytest.raises(ExportError, match=r"scores are 0.0015 apart swapped places"):
        compare_answers(swapped, expected)


def test_finds_the_largest_difference() -> None:
    expected, found = answer(), answer()
    found[3] = expected[3].clone()
    found[0][2, 3] += 0.25
    found[1][0] += 0.001
    found[3][1, 2, 3] += 0.5
    worst = compare_answers(found, expected)
    assert (worst.boxes, worst.scores, worst.masks) == pytest.approx((0.25, 0.001, 0.5), rel=1e-3)
    assert worst.beyond(Differences(0.3, 1e-4, 1.0)) == ["scores 0.001 > 0.0001"]


def test_a_nan_is_beyond_every_tolerance() -> None:
    assert len(Differences(float("nan"), float("nan"), float("nan")).beyond(Differences())) == 3


def test_refuses_another_count() -> None:
    found = [*answer()[:4], torch.tensor([1, 2])]
    with pytest.raises(ExportError, match=r"must be \[2, 1\], got \[1, 2\]"):
        compare_answers(found, answer())


def test_refuses_another_label() -> None:
    found = answer()
    found[2][2] = 3
    with pytest.raises(ExportError, match="label 2 with score 0.4000 has no twin"):
        compare_answers(found, answer())


def test_refuses_masks_of_another_size() -> None:
    found = answer()
    found[3] = torch.rand(3, 5, 5)
    with pytest.raises(ExportError, match="must be"):
        compare_answers(found, answer())


def test_no_detection_at_all_is_fine() -> None:
    nothing = [part[:0] for part in answer()[:4]] + [torch.zeros(2, dtype=torch.int64)]
    assert compare_answers(nothing, nothing) == Differences(0.0, 0.0, 0.0)
