"""Which detections are answered: thresholds, counts and labels of each picture for itself."""

import torch

from handler.selection import Selection, kept_rows

SCORES = torch.tensor([[0.9, 0.6, 0.3], [0.9, 0.6, 0.3]])
LABELS = torch.tensor([[1, 2, 1], [1, 2, 1]])
ALL = Selection(0.05, 100, 0.5)


def kept(*selections: Selection, valid: torch.Tensor | None = None) -> list[list[bool]]:
    valid = torch.ones(2, 3, dtype=torch.bool) if valid is None else valid
    return kept_rows(selections, SCORES, LABELS, valid).tolist()  # type: ignore[no-any-return]


def test_a_score_at_the_threshold_is_left_out_of_its_own_picture_only() -> None:
    at = float(SCORES[0, 1])
    assert kept(Selection(at, 100, 0.5), ALL) == [[True, False, False], [True, True, True]]


def test_the_best_of_the_wanted_classes_are_counted() -> None:
    ones = Selection(0.05, 1, 0.5, labels=frozenset({1}))
    twos = Selection(0.05, 5, 0.5, labels=frozenset({2, 7}))
    assert kept(ones, twos) == [[True, False, False], [False, True, False]]


def test_a_class_that_is_not_there_keeps_nothing() -> None:
    assert kept(Selection(0.05, 5, 0.5, labels=frozenset({9})), ALL)[0] == [False] * 3


def test_rows_that_are_no_detections_do_not_count() -> None:
    valid = torch.tensor([[False, True, True], [True, True, False]])
    first = Selection(0.05, 1, 0.5)
    assert kept(first, ALL, valid=valid) == [[False, True, False], [True, True, False]]
