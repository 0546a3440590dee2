"""Each CUDA kernel against the CPU's, at the sizes of a real model.

Both are built without contraction and share their arithmetic, so most results must be the same bits. What may differ
is stated with each test: the last bit of exp, and what follows from it. Where a decision hangs on such a number, the
case keeps a margin around it, which is checked.
"""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from tests.cuda import op_calls as calls

# Relative: one unit in the last place of exp, in a sigmoid, a softmax of 91 terms or a side of a box.
EXP = 2e-6
# In pixels: the same, times the longest side.
CORNER = 2e-3
# Half an IoU of a pair of decoded boxes may move by, with room.
MARGIN = 2e-6


def on_both(call: calls.Call, cuda: torch.device) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    with torch.inference_mode():
        return call(), tuple(result.cpu() for result in call.to(cuda)())


SAME_BITS: dict[str, Callable[[], calls.Call]] = {
    "propose": partial(calls.propose, 8),
    "propose, one picture": partial(calls.propose, 1, seed=3),
    "select, 91 classes": partial(calls.select, 8),
    "select, 2 classes": partial(calls.select, 3, classes=2),
    "nms 12000": partial(calls.nms, 12_000),
    "nms 12000 of 80 classes": partial(calls.nms, 12_000, 80),
    "nms 1": partial(calls.nms, 1),
    "nms of none": partial(calls.nms, 0),
    "encode, integer": partial(calls.encode, 800, "integer", False),
    "encode, exact": partial(calls.encode, 800, "exact", True),
    "encode none": partial(calls.encode, 0, "exact", True),
    "paste, integer": partial(calls.paste, "integer"),
    "paste, exact": partial(calls.paste, "exact"),
    "resize, bilinear": partial(calls.resize, "bilinear"),
    "resize, Pillow": partial(calls.resize, "pillow"),
    "resize, bilinear, float16": partial(calls.resize, "bilinear", torch.float16),
    "resize, Pillow, bfloat16": partial(calls.resize, "pillow", torch.bfloat16),
}


@pytest.mark.parametrize("make", SAME_BITS.values(), ids=SAME_BITS.keys())
def test_gives_the_same(make: Callable[[], calls.Call], cuda: torch.device) -> None:
    for expected, found in zip(*on_both(make(), cuda), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


POOLED: dict[str, Callable[[], calls.Call]] = {
    "7x7 of 1000": partial(calls.pyramid, 7, 1000),
    "7x7 of 1000, eight pictures": partial(calls.pyramid, 7, 1000, channels=32, images=8),
    "14x14 of 100": partial(calls.pyramid, 14, 100),
    "an odd number of channels": partial(calls.pyramid, 7, 100, channels=37),
    "adaptive": partial(calls.pyramid, 7, 200, channels=64, ratio=0),
    "no box": partial(calls.pyramid, 7, 0),
    "one level": partial(calls.roi_align),
}


@pytest.mark.parametrize("make", POOLED.values(), ids=POOLED.keys())
def test_pools_the_same(make: Callable[[], calls.Call], cuda: torch.device) -> None:
    (expected,), (found,) = on_both(make(), cuda)
    assert found.is_contiguous(memory_format=torch.channels_last) == expected.is_contiguous(
        memory_format=torch.channels_last
    )
    # The order of the sums is a kernel's own: four taps of some samples, of values near 1.
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_pools_halves_to_their_last_bit(dtype: torch.dtype, cuda: torch.device) -> None:
    last_bit = torch.finfo(dtype).eps
    odd = calls.pyramid(14, 100, channels=37, dtype=dtype)
    for call in (calls.pyramid(7, 300, dtype=dtype), odd, calls.roi_align(dtype)):
        (expected,), (found,) = on_both(call, cuda)
        assert found.dtype == dtype
        torch.testing.assert_close(found, expected, rtol=last_bit, atol=1e-4)  # rounded once, from a float32 sum


@pytest.mark.parametrize("groups", [1, 32])
@pytest.mark.parametrize("masked", [True, False])
def test_convolves_the_same(masked: bool, groups: int, cuda: torch.device) -> None:
    (expected,), (found,) = on_both(calls.deform(groups=groups, masked=masked), cuda)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)  # order of up to 2304 terms of sums near 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("groups", [1, 32])
def test_convolves_halves(groups: int, dtype: torch.dtype, cuda: torch.device) -> None:
    (expected,), (found,) = on_both(calls.deform(dtype, groups), cuda)
    last_bit = torch.finfo(dtype).eps  # the samples are rounded too, and the sums before the bias
    torch.testing.assert_close(found, expected, rtol=2 * last_bit, atol=4 * last_bit)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_proposes_from_halves(dtype: torch.dtype, cuda: torch.device) -> None:
    """Many logits are equal in half precision: then the lower number is better, on every device."""
    for expected, found in zip(*on_both(calls.propose(4, dtype), cuda), strict=True):
        assert torch.equal(found, expected)


def test_proposes_the_same_by_sigmoid(cuda: torch.device) -> None:
    """Scores of two levels that are as near as the last bits of exp may swap places, and nothing else."""
    call = calls.propose(8)
    call.options.update(sigmoid=True, score_threshold=0.0)
    (boxes, scores, counts), (found_boxes, found_scores, found_counts) = on_both(call, cuda)
    assert torch.equal(found_counts, counts)
    torch.testing.assert_close(found_scores, scores, rtol=EXP, atol=0)
    for ours, theirs in zip(found_boxes.tolist(), boxes.tolist(), strict=True):
        assert len(set(map(tuple, ours)) ^ set(map(tuple, theirs))) <= 2  # one at the end of a thousand


def margin(boxes: Tensor, threshold: float) -> float:
    """How far the IoU of the nearest pair is from a threshold."""
    corners = (
        torch.maximum(boxes[:, None, :2], boxes[None, :, :2]),
        torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:]),
    )
    both = (corners[1] - corners[0]).clamp(min=0).prod(2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return float((both / (area[:, None] + area - both) - threshold).abs().min())


def test_proposes_the_same_of_decoded_boxes(cuda: torch.device) -> None:
    """With exp in every box: the same boxes, order and counts, where no pair is within the margin of the threshold."""
    for seed in range(100):
        call = calls.propose(1, growth=1.0, seed=seed)
        call.options.update(pre_nms_top_n=150)
        every = calls.Call(call.op, call.tensors, call.options | {"nms_threshold": 2.0})()[0][0]
        if margin(every.double(), 0.7) > MARGIN:
            break
    else:
        pytest.fail("no case keeps the margin")
    (boxes, scores, counts), (found_boxes, found_scores, found_counts) = on_both(call, cuda)
    assert torch.equal(found_counts, counts)
    assert torch.equal(found_scores, scores)
    torch.testing.assert_close(found_boxes, boxes, rtol=0, atol=CORNER)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_selects_the_same_of_activated_scores(activation: str, cuda: torch.device) -> None:
    """Scores differ by less than the last bits of exp; two as near as that may swap, and nothing else."""
    expected, found = on_both(calls.select(8, classes=21, activation=activation), cuda)
    assert torch.equal(found[4], expected[4])
    torch.testing.assert_close(found[1], expected[1], rtol=EXP, atol=0)
    for image, count in enumerate(expected[4].tolist()):
        ours, theirs = (
            {(int(row), int(label)) for row, label in zip(side[3][image, :count], side[2][image, :count], strict=True)}
            for side in (found, expected)
        )
        assert len(ours ^ theirs) <= 2  # one at the end of a hundred
