"""The reference's building blocks against recorded answers, PyTorch's own layers, and cases worked out by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.reference.detectron2 import Settings
from tests.reference.detectron2_boxes import anchor_grid, cell_anchors, decode, nms, nms_within
from tests.reference.detectron2_heads import pyramid_levels
from tests.reference.detectron2_layers import BatchNorm, GroupNorm, deform_conv2d, paste, roi_align
from tests.reference.detectron2_settings import C4_ANCHORS, FPN_ANCHORS

GOLDEN = Path(__file__).parents[1] / "golden"
UNIT = (1.0, 1.0, 1.0, 1.0)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_anchors_are_detectron2s() -> None:
    golden = np.load(GOLDEN / "detectron" / "anchors.npz")
    for sizes, stride in zip(FPN_ANCHORS, Settings().strides, strict=True):
        expected = golden[f"d2_fpn_stride{stride}"]
        np.testing.assert_allclose(cell_anchors(sizes, (0.5, 1.0, 2.0)), expected, rtol=1e-6)
    np.testing.assert_allclose(cell_anchors(C4_ANCHORS[0], (0.5, 1.0, 2.0)), golden["d2_c4"], rtol=1e-6)


def test_anchors_go_row_by_row() -> None:
    grid = anchor_grid(torch.tensor([[-1.0, -1.0, 1.0, 1.0], [-2.0, -2.0, 2.0, 2.0]]), height=2, width=3, stride=10)
    centres = ((grid[:, :2] + grid[:, 2:]) / 2).tolist()
    assert centres == [[x, y] for y in (0.0, 10.0) for x in (0.0, 10.0, 20.0) for _ in range(2)]


def test_decode_moves_by_shares_of_the_sides() -> None:
    # Sides 10 x 20 about (15, 30): 0.5 right, 0.5 up, twice as wide, and as high as the limit of 1000 / 16 allows.
    deltas = torch.tensor([[0.5, -0.5, math.log(2.0), 99.0]])
    moved = decode(deltas, torch.tensor([[10.0, 20.0, 20.0, 40.0]]), UNIT)[0]
    torch.testing.assert_close(moved, torch.tensor([[10.0, 20.0 - 625, 30.0, 20.0 + 625]]))


def test_nms_keeps_the_best_and_what_overlaps_by_no_more() -> None:
    boxes = torch.tensor(
        [[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 5.0], [0.0, 0.0, 10.0, 9.0], [20.0, 20.0, 30.0, 30.0]]
    )
    scores = torch.tensor([0.9, 0.8, 0.7, 0.95])
    assert nms(boxes, scores, 0.5).tolist() == [3, 0, 1]  # 1 overlaps 0 by 0.5, 2 by 0.9
    groups = torch.tensor([0, 0, 1, 1])
    assert nms_within(groups, boxes, scores, 0.4).tolist() == [3, 0, 2]


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [0, 1, 2, 3])
def test_roi_align_is_the_recorded_one(aligned: bool, ratio: int) -> None:
    golden = np.load(GOLDEN / "roi_align.npz")
    maps, rois = torch.from_numpy(golden["input"]), torch.from_numpy(golden["rois"])
    pooled = [roi_align(maps[int(roi[0])], roi[None, 1:], 4, 7, ratio, aligned)[0] for roi in rois]
    expected = golden[f"out_aligned{int(aligned)}_sr{ratio}_7x7"]
    np.testing.assert_allclose(torch.stack(pooled), expected, atol=2e-5, rtol=0)


def test_a_box_is_pooled_from_the_level_of_its_size() -> None:
    sides = torch.tensor([0.0, 111.9, 112.0, 223.9, 224.0, 447.9, 448.0, 5000.0])
    boxes = torch.stack([torch.zeros(8), torch.zeros(8), sides, sides], dim=1)
    assert pyramid_levels(boxes).tolist() == [2, 2, 3, 3, 4, 4, 5, 5]


@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 1), (1, 2), (2, 4)])
def test_unmoved_taps_make_a_plain_convolution(stride: int, groups: int) -> None:
    x, weight = random(2, 8, 9, 11), random(12, 8 // groups, 3, 3)
    expected = F.conv2d(x, weight, stride=stride, padding=1, groups=groups)
    still, open_ = torch.zeros(2, 18, *expected.shape[2:]), torch.full((2, 9, *expected.shape[2:]), 0.5)
    plain = deform_conv2d(x, still, None, weight, stride, 1, groups)
    torch.testing.assert_close(plain, expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(deform_conv2d(x, still, open_, weight, stride, 1, groups), plain / 2)


def test_a_tap_moves_down_by_the_first_offset_and_right_by_the_second() -> None:
    x, weight, offset = torch.zeros(1, 1, 5, 6), torch.zeros(1, 1, 3, 3), torch.zeros(1, 18, 5, 6)
    x[0, 0, 3, 4] = 8.0
    weight[0, 0, 1, 2] = 1.0  # tap 5: one to the right
    offset[:, 10], offset[:, 11] = 2.25, 0.5  # so the cell at row 1 sees 3.25, the one at column 2 sees 3.5
    moved = deform_conv2d(x, offset, None, weight, 1, 1, 1)[0, 0]
    expected = torch.zeros(5, 6)
    expected[1, 2] = expected[1, 3] = 8 * 0.75 * 0.5  # columns 3.5 and 4.5 both see half of column 4
    expected[0, 2] = expected[0, 3] = 8 * 0.25 * 0.5  # row 2.25 sees a quarter of row 3
    torch.testing.assert_close(moved, expected)


def test_samples_fade_out_within_a_cell_of_the_map() -> None:
    x, weight, offset = torch.ones(1, 1, 3, 3), torch.zeros(1, 1, 3, 3), torch.zeros(1, 18, 3, 3)
    weight[0, 0, 1, 1], offset[:, 8] = 1.0, -1.75  # the centre tap, up
    rows = deform_conv2d(x, offset, None, weight, 1, 1, 1)[0, 0, :, 0]
    torch.testing.assert_close(rows, torch.tensor([0.0, 0.25, 1.0]))  # at -1.75, -0.75 and 0.25


def test_group_norm_is_pytorchs() -> None:
    x, norm = random(2, 64, 5, 7) * 3 + 1, GroupNorm(64)
    norm.load_state_dict({"weight": random(64, seed=1), "bias": random(64, seed=2)})
    torch.testing.assert_close(norm(x), F.group_norm(x, 32, norm.weight, norm.bias, 1e-5), rtol=0, atol=1e-5)


def test_batch_norm_is_pytorchs() -> None:
    x, norm = random(2, 6, 5, 7) * 3 + 1, BatchNorm(6, tracked=False)
    mean, variance, weight, bias = (random(6, seed=seed) for seed in range(4))
    state = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": variance.square()}
    norm.load_state_dict(state)
    expected = F.batch_norm(x, mean, variance.square(), weight, bias, eps=1e-5)
    torch.testing.assert_close(norm(x), expected, rtol=0, atol=1e-4)


def test_a_mask_covers_the_pixels_whose_centres_it_covers() -> None:
    # A 2 x 2 mask, its left half full, over 4 x 4 pixels: columns 2 and 3 stand at cells 0.25 and 0.75 of 0 (full)
    # to 1 (empty); the first is 0.75 full, the second 0.25.
    probs = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    plane = paste(probs, torch.tensor([[1.0, 2.0, 5.0, 6.0]]), height=7, width=6)[0]
    expected = torch.zeros(7, 6, dtype=torch.bool)
    expected[2:6, 1:3] = True
    assert torch.equal(plane, expected)
