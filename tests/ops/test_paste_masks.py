"""ops.paste_masks against the formulas of Detectron2 and torchvision, and the ways a model may call it."""

from pathlib import Path

import numpy
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import ops
from tests.ops.cpu_levels import outputs_at_all_levels
from tests.ops.mask_cases import BOXES, INF, NAN, NOTHING, random_boxes, random_probs

GOLDEN = Path(__file__).parents[1] / "golden" / "paste_masks.npz"
HEIGHT, WIDTH = 40, 60
CLOSE = 1e-4  # this near to the threshold another order of the same roundings may flip a pixel


def exact_reference(probs: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    x1, y1, x2, y2 = boxes[:, :, None].unbind(1)
    x = (torch.arange(width) + 0.5 - x1) / (x2 - x1) * 2 - 1
    y = (torch.arange(height) + 0.5 - y1) / (y2 - y1) * 2 - 1
    grid = torch.stack([x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], 3)
    return F.grid_sample(probs[:, None], grid, align_corners=False)[:, 0]


def integer_reference(probs: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    planes = torch.zeros(len(probs), height, width)
    padded = F.pad(probs, (1, 1, 1, 1))[:, None]
    halves = (boxes[:, 2:] - boxes[:, :2]) * 0.5 * (padded.shape[-1] / probs.shape[-1])
    centres = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    for plane, mask, corners in zip(planes, padded, torch.cat([centres - halves, centres + halves], 1), strict=True):
        left, top, right, bottom = corners.long().tolist()
        if right < max(left, 0) or bottom < max(top, 0):
            continue
        stretched = F.interpolate(mask[None], size=(bottom - top + 1, right - left + 1), mode="bilinear")[0, 0]
        seen = stretched[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
        plane[max(top, 0) : bottom + 1, max(left, 0) : right + 1] = seen
    return planes


REFERENCES = {"exact": exact_reference, "integer": integer_reference}


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("rule", REFERENCES)
@pytest.mark.parametrize("size", [1, 14, 28])
@pytest.mark.parametrize("rows", BOXES.values(), ids=BOXES.keys())
def test_named_boxes(rows: list[list[float]], size: int, rule: str, inclusive: bool, device: torch.device) -> None:
    boxes = torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)
    if rule == "integer":
        boxes = boxes.clamp(-900, 900)  # the reference makes the whole box
    probs = torch.rand(len(rows), size, size, generator=torch.Generator().manual_seed(size))
    expected = REFERENCES[rule](probs, boxes, HEIGHT, WIDTH)
    pasted = ops.paste_masks(
        probs.to(device), boxes.to(device), HEIGHT, WIDTH, 0.4, rule=rule, inclusive=inclusive
    ).cpu()
    sure = (expected - 0.4).abs() > CLOSE
    assert torch.equal(pasted[sure], (expected > 0.4)[sure])
    assert pasted.shape == (len(rows), HEIGHT, WIDTH)
    assert pasted.dtype == torch.bool


@pytest.mark.parametrize("case", ["m28", "m28_smooth", "ones28", "m14", "empty", "rand"])
def test_torchvision(case: str, device: torch.device) -> None:
    with numpy.load(GOLDEN) as file:
        probs, boxes, size, expected = (
            torch.from_numpy(file[f"{case}_{key}"]) for key in ("masks", "boxes", "size", "out")
        )
    pasted = ops.paste_masks(probs[:, 0].to(device), boxes.to(device), *size.tolist(), rule="integer", inclusive=False)
    sure = (expected[:, 0] - 0.5).abs() > CLOSE
    assert torch.equal(pasted.cpu()[sure], (expected[:, 0] > 0.5)[sure])


@pytest.mark.parametrize("rule", REFERENCES)
@pytest.mark.parametrize("threshold", [0.5, 0.0, -1.0])
@pytest.mark.parametrize("box", NOTHING.values(), ids=NOTHING.keys())
def test_no_pixel_belongs(box: list[float], threshold: float, rule: str, device: torch.device) -> None:
    probs = torch.ones(1, 28, 28, device=device)
    assert not ops.paste_masks(
        probs, torch.tensor([box], dtype=torch.float32, device=device), HEIGHT, WIDTH, threshold, rule=rule
    ).any()


def test_an_empty_box_holds_nothing_but_by_the_integer_rule_its_pixel(device: torch.device) -> None:
    probs, box = torch.ones(1, 28, 28, device=device), torch.tensor([[7.5, 3.5, 7.5, 3.5]], device=device)
    assert not ops.paste_masks(probs, box, HEIGHT, WIDTH).any()
    assert ops.paste_masks(probs, box, HEIGHT, WIDTH, rule="integer").nonzero().tolist() == [[0, 3, 7]]


@pytest.mark.parametrize(("inclusive", "pixels"), [(True, 11), (False, 9)])
def test_a_centre_on_the_edge_of_the_box_has_half_the_probability(
    inclusive: bool, pixels: int, device: torch.device
) -> None:
    # Centres 10.5 to 20.5 are eleven; the first and the last lie on the edge, between a one and a zero of the ring.
    box = torch.tensor([[10.5, -1000, 20.5, 1000]], device=device)
    pasted = ops.paste_masks(torch.ones(1, 28, 28, device=device), box, 1, WIDTH, inclusive=inclusive)
    assert pasted.sum() == pixels
    assert pasted[0, 0, 15 - pixels // 2 : 16 + pixels // 2].all()


@pytest.mark.parametrize(
    ("threshold", "inclusive", "pixels"),
    [
        (0.0, True, 16),  # centres 7.5 to 22.5: the ring's cells are 5 wide, and theirs lie at both ends
        (0.0, False, 14),  # without the two that are exactly 0
        (-INF, True, 16),
        (1.0, True, 6),  # centres 12.5 to 17.5: from the centre of the first cell to that of the second
        (1.0, False, 0),
        (INF, True, 0),
        (NAN, True, 0),
    ],
)
def test_thresholds_at_and_past_the_ends(threshold: float, inclusive: bool, pixels: int, device: torch.device) -> None:
    box = torch.tensor([[10.0, -1000, 20, 1000]], device=device)
    pasted = ops.paste_masks(torch.ones(1, 2, 2, device=device), box, 1, WIDTH, threshold, inclusive=inclusive)
    assert pasted.sum() == pixels


def test_hostile_probabilities_are_clamped(device: torch.device) -> None:
    generator = torch.Generator().manual_seed(3)
    probs = random_probs(40, 14, generator)[3::4].to(device)
    boxes = random_boxes(torch.tensor([[HEIGHT, WIDTH]] * 10), generator).to(device)
    clean = probs.nan_to_num(nan=0.0, posinf=1.0, neginf=0.0).clamp(0, 1)
    assert not torch.equal(clean, probs)
    pasted = ops.paste_masks(probs, boxes, HEIGHT, WIDTH)
    assert pasted.any()
    assert torch.equal(pasted, ops.paste_masks(clean, boxes, HEIGHT, WIDTH))


def test_strided_views(device: torch.device) -> None:
    generator = torch.Generator().manual_seed(4)
    probs = torch.rand(8, 14, 14, 2, generator=generator).to(device)
    boxes = random_boxes(torch.tensor([[HEIGHT, WIDTH]] * 8), generator).to(device)
    views = probs[..., 1].transpose(1, 2), boxes.repeat_interleave(2, 0)[::2]
    expected = ops.paste_masks(views[0].contiguous(), boxes, HEIGHT, WIDTH)
    assert torch.equal(ops.paste_masks(*views, HEIGHT, WIDTH), expected)


def test_every_cpu_level_gives_the_same_bytes() -> None:
    code = """
import sys, torch, ops
from tests.ops.mask_cases import random_boxes, random_probs
generator = torch.Generator().manual_seed(5)
boxes = random_boxes(torch.tensor([[97, 131]] * 60), generator)
for rule in ("exact", "integer"):
    for size in (1, 14, 28):
        planes = ops.paste_masks(random_probs(60, size, generator), boxes, 97, 131, rule=rule)
        sys.stdout.buffer.write(planes.numpy().tobytes())
"""
    (output,) = outputs_at_all_levels(code)
    assert len(output) == 2 * 3 * 60 * 97 * 131
    assert output.count(1) > 100_000


@pytest.mark.parametrize("count", [0, 3])
def test_opcheck(count: int, device: torch.device) -> None:
    arguments = (torch.rand(count, 14, 14, device=device), torch.rand(count, 4, device=device) * 9, 12, 17)
    torch.library.opcheck(torch.ops.maskrcnn.paste_masks.default, arguments, {"rule": "integer"})


def test_traced_at_one_size_runs_at_others(device: torch.device) -> None:
    def twice(probs: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:  # on the same inputs in one graph
        return ops.paste_masks(probs, boxes, 12, 17), ops.paste_masks(probs, boxes, 12, 17)

    box = torch.tensor([[3.0, 2, 11, 9]], device=device)
    traced = torch.jit.trace(twice, (torch.rand(1, 14, 14, device=device), box))
    for count, size in ((0, 14), (1, 28), (7, 5)):
        probs, boxes = torch.rand(count, size, size, device=device), box.repeat(count, 1)
        for pasted in traced(probs, boxes):
            assert torch.equal(pasted, ops.paste_masks(probs, boxes, 12, 17))


def test_scripts(device: torch.device) -> None:
    @torch.jit.script
    def scripted(probs: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
        return torch.ops.maskrcnn.paste_masks(probs, boxes, height, width, 0.3, rule="integer", inclusive=False)

    probs, boxes = torch.rand(2, 14, 14, device=device), torch.tensor([[3.0, 2, 11, 9]] * 2, device=device)
    expected = ops.paste_masks(probs, boxes, 12, 17, 0.3, rule="integer", inclusive=False)
    assert torch.equal(scripted(probs, boxes, 12, 17), expected)


P, B = torch.zeros(3, 14, 14), torch.zeros(3, 4)
WRONG = {
    "probs rank": ((P[0], B, 9, 9), "probs must be (N, M, M) with M > 0, got (14, 14)"),
    "probs not square": ((P[:, 1:], B, 9, 9), "probs must be (N, M, M) with M > 0, got (3, 13, 14)"),
    "probs without cells": ((P[:, :0, :0], B, 9, 9), "probs must be (N, M, M) with M > 0, got (3, 0, 0)"),
    "probs dtype": ((P.half(), B, 9, 9), "probs must be float32, got Half"),
    "boxes count": ((P, B[:2], 9, 9), "boxes must be (3, 4), got (2, 4)"),
    "boxes width": ((P, B[:, :3], 9, 9), "boxes must be (3, 4), got (3, 3)"),
    "boxes dtype": ((P, B.double(), 9, 9), "boxes must be float32, got Double"),
    "no height": ((P, B, 0, 9), "height and width must be from 1 to 65535, got 0 and 9"),
    "too wide": ((P, B, 9, 65536), "height and width must be from 1 to 65535, got 9 and 65536"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_arguments(arguments: tuple[Tensor, Tensor, int, int], message: str, device: torch.device) -> None:
    probs, boxes, height, width = arguments
    with pytest.raises(RuntimeError) as error:
        ops.paste_masks(probs.to(device), boxes.to(device), height, width)
    assert str(error.value) == f"paste_masks: {message}"


def test_wrong_rule(device: torch.device) -> None:
    with pytest.raises(RuntimeError) as error:
        ops.paste_masks(P.to(device), B.to(device), 9, 9, rule="nearest")
    assert str(error.value) == "paste_masks: rule must be 'exact' or 'integer', got 'nearest'"


def test_refuses_gradients(device: torch.device) -> None:
    with pytest.raises(RuntimeError, match="paste_masks: an input requires grad"):
        ops.paste_masks(torch.rand(1, 14, 14, device=device, requires_grad=True), torch.rand(1, 4, device=device), 9, 9)
