"""What counts as the same answer to one picture, on answers made by hand."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from export.errors import ExportError
from export.prove.answers import Answer
from export.prove.compared import Cut, Tolerance, compare

TOLERANCE = Tolerance()
CUT = Cut(score_threshold=0.05, max_detections=100)


def answer() -> Answer:
    """Three boxes of 20 x 20, two of one label, and the masks that fill them."""
    boxes = torch.tensor([[10.0, 10, 30, 30], [12.0, 40, 32, 60], [50.0, 50, 70, 70]])
    masks = torch.zeros(3, 80, 80, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist(), strict=True):
        mask[top:bottom, left:right] = True
    return Answer(boxes, torch.tensor([0.9, 0.8, 0.06]), torch.tensor([1, 1, 2]), masks)


def rows(given: Answer, chosen: list[int]) -> Answer:
    masks = None if given.masks is None else given.masks[chosen]
    return Answer(given.boxes[chosen], given.scores[chosen], given.labels[chosen], masks)


def with_masks(given: Answer, change: Callable[[torch.Tensor], torch.Tensor]) -> Answer:
    assert given.masks is not None
    return replace(given, masks=change(given.masks.clone()))


def flipped(count: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Turn off pixels in the middle of the first mask: they touch no outline."""

    def flip(masks: torch.Tensor) -> torch.Tensor:
        for pixel in range(count):
            masks[0, 18 + pixel // 4, 18 + pixel % 4] = False
        return masks

    return flip


def test_the_same_in_another_order_is_the_same() -> None:
    compared = compare(rows(answer(), [2, 0, 1]), answer(), TOLERANCE, CUT)
    assert (compared.detections, compared.apart, compared.moved, compared.at_threshold) == (3, (), 0, 0)
    assert float(compared.boxes.max()) == float(compared.scores.max()) == float(compared.masks.max()) == 0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda a: replace(a, boxes=a.boxes + torch.tensor([[0.0, 0, 0.2, 0], [0] * 4, [0] * 4])), "box 0.2 px"),
        (lambda a: replace(a, scores=a.scores - torch.tensor([0.004, 0, 0])), "score 0.004"),
        (lambda a: replace(a, boxes=a.boxes * torch.tensor([[float("nan")], [1], [1]])), "only the framework finds it"),
        (lambda a: replace(a, scores=a.scores * torch.tensor([float("nan"), 1, 1])), "score nan"),
        (lambda a: replace(a, labels=torch.tensor([3, 1, 2])), "label 1, score 0.900 at 10.0, 10.0, 30.0, 30.0: only"),
        (lambda a: with_masks(a, flipped(12)), "mask 3.0% apart"),
        (lambda a: rows(a, [1, 2]), "only the framework finds it"),
        (lambda a: rows(a, [0, 0, 1, 2]), "only the export finds it"),
    ],
    ids=["corner", "score", "box of NaN", "score of NaN", "label", "mask", "missing", "doubled"],
)
def test_tells_what_is_apart(change: Callable[[Answer], Answer], text: str) -> None:
    compared = compare(change(answer()), answer(), TOLERANCE, CUT)
    assert text in compared.apart[0]
    assert len(compared.apart) <= 2  # a wrong label is two: one side has it, and the other has another


def test_rounding_is_not_apart() -> None:
    close = replace(answer(), boxes=answer().boxes + 0.05, scores=answer().scores + 1e-3)
    compared = compare(with_masks(close, flipped(3)), answer(), TOLERANCE, CUT)
    assert compared.apart == ()
    assert compared.mask_pixels == 3
    assert float(compared.masks.max()) == pytest.approx(3 / 400)


def test_a_mask_that_lies_a_pixel_off_is_counted_as_such() -> None:
    one = compare(with_masks(answer(), lambda masks: masks.roll(1, dims=1)), answer(), TOLERANCE, CUT)
    two = compare(with_masks(answer(), lambda masks: masks.roll(2, dims=1)), answer(), TOLERANCE, CUT)
    assert (one.moved, one.apart) == (3, ())
    assert (two.moved, len(two.apart)) == (0, 3)


def test_a_detection_on_the_threshold_may_be_found_by_one_side_only() -> None:
    near = replace(answer(), scores=torch.tensor([0.9, 0.8, 0.0515]))
    for found, expected in ((near, rows(near, [0, 1])), (rows(near, [0, 1]), near)):
        compared = compare(found, expected, TOLERANCE, CUT)
        assert (compared.apart, compared.at_threshold) == ((), 1)
    above = compare(answer(), rows(answer(), [0, 1]), TOLERANCE, CUT)  # 0.06 is not near 0.05
    assert (len(above.apart), above.at_threshold) == (1, 0)


def test_the_last_place_of_a_full_answer_is_a_threshold_too() -> None:
    close = replace(answer(), scores=torch.tensor([0.9, 0.801, 0.8]))
    found, expected = rows(close, [0, 1]), rows(close, [0, 2])
    assert compare(found, expected, TOLERANCE, replace(CUT, max_detections=2)).at_threshold == 2
    assert len(compare(found, expected, TOLERANCE, CUT).apart) == 2


def test_boxes_of_one_place_are_told_apart_by_their_scores() -> None:
    double = rows(answer(), [0, 0])
    double = replace(double, scores=torch.tensor([0.9, 0.5]))
    compared = compare(rows(double, [1, 0]), double, TOLERANCE, CUT)
    assert (float(compared.scores.max()), compared.apart) == (0.0, ())


def test_nothing_found_by_either_side_is_no_difference() -> None:
    nothing = rows(answer(), [])
    assert compare(nothing, nothing, TOLERANCE, CUT).apart == ()


def test_a_network_without_masks_has_none_to_compare() -> None:
    boxes_only = replace(answer(), masks=None)
    assert float(compare(boxes_only, boxes_only, TOLERANCE, CUT).masks.max()) == 0


def test_masks_on_one_side_only_are_refused() -> None:
    with pytest.raises(ExportError, match="only the framework finds masks"):
        compare(replace(answer(), masks=None), answer(), TOLERANCE, CUT)


def test_a_score_of_nan_is_not_on_any_threshold() -> None:
    broken = replace(rows(answer(), [0]), scores=torch.tensor([float("nan")]))
    compared = compare(broken, rows(answer(), []), TOLERANCE, CUT)
    assert (len(compared.apart), compared.at_threshold) == (1, 0)
