"""ops.pyramid_roi_align against roi_align level by level, torchvision's own answers, and the ways a model calls it."""

import math
import re
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor

import ops
from tests.ops.cpu_levels import outputs_at_all_levels
from tests.ops.refusals import reads_values
from tests.ops.roi_align_reference import reference_roi_align

GOLDEN = numpy.load(Path(__file__).parents[1] / "golden" / "multiscale_roi_align.npz")
SCALES = [1 / 4, 1 / 8, 1 / 16, 1 / 32]
POOLED: dict[str, Any] = {"spatial_scales": SCALES, "pooled_height": 3, "pooled_width": 2, "sampling_ratio": 2}
NAN = math.nan
BELOW, ABOVE = numpy.nextafter(numpy.float32(224), numpy.float32([0, 999])).tolist()


def golden(*names: str) -> list[Tensor]:
    return [torch.from_numpy(GOLDEN[name]) for name in names]


def pyramid(dtype: torch.dtype = torch.float32, images: int = 2, channels: int = 4, size: int = 64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(6)
    shapes = [(images, channels, size >> level, (size + 16) >> level) for level in range(4)]
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def random_boxes(*shape: int, seed: int = 7, device: torch.device | str = "cpu") -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    sides = torch.exp(torch.rand(*shape, 2, generator=generator) * 5 + 1)
    corners = torch.rand(*shape, 2, generator=generator) * 200
    return torch.cat([corners, corners + sides], -1).to(device)


def level_of(box: list[float], levels: int, ratio_epsilon: float, level_epsilon: float, legacy: bool) -> int | None:
    """The rule in torch's float32 arithmetic, one box at a time; None for NaN."""
    x1, y1, x2, y2 = torch.tensor(box)
    area = (x2 - x1 + float(legacy)) * (y2 - y1 + float(legacy))
    level = torch.floor(4 + torch.log2(torch.sqrt(area) / 224.0 + ratio_epsilon) + torch.tensor(level_epsilon))
    return None if level.isnan() else int(level.clamp(2, 1 + levels)) - 2


def reference(
    boxes: Tensor, counts: list[int], levels: list[Tensor], ratio: int = 2, aligned: bool = False, **rule: Any
) -> Tensor:
    """Each box on its own through ``reference_roi_align`` of its level."""
    rule = {"ratio_epsilon": 0.0, "level_epsilon": 1e-6, "legacy": False} | rule
    starts = [i * boxes.shape[1] for i in range(len(counts))] if boxes.dim() == 3 else numpy.cumsum([0, *counts])
    flat = boxes.reshape(-1, 4)
    pooled = torch.zeros(len(flat), levels[0].shape[1], 3, 2)
    for image, row in ((i, starts[i] + k) for i in range(len(counts)) for k in range(counts[i])):
        level = level_of(flat[row].tolist(), len(levels), **rule)
        if level is not None:
            roi = torch.nn.functional.pad(flat[row : row + 1], (1, 0), value=image)
            pooled[row] = reference_roi_align(levels[level], roi, SCALES[level], 3, 2, ratio, aligned)[0]
    return pooled


CASES = {
    "none": [],
    "one": [[10, 10, 60, 70]],
    "exactly 112, 224, 448": [[0, 0, side, side] for side in (112, 224, 448)],
    "a float below and above 224": [[0, 0, side, side] for side in (BELOW, ABOVE)],
    "a point": [[30, 30, 30, 30]],
    "inverted one way": [[60, 10, 10, 70], [10, 10, 40, 40]],
    "inverted both ways": [[200, 200, 10, 10]],
    "NaN": [[NAN, 10, 60, 70], [10, 10, 60, NAN]],
    "larger than the last level": [[-2000, -2000, 3000, 3000]],
}
RULES = {
    "torchvision": {},
    "maskrcnn-benchmark": {"ratio_epsilon": 1e-6, "level_epsilon": 0.0, "legacy": True},
    "Detectron2": {"ratio_epsilon": 1e-8, "level_epsilon": 0.0, "aligned": True},
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
@pytest.mark.parametrize("rows", CASES.values(), ids=CASES.keys())
def test_named_cases(rows: list[list[float]], rule: dict[str, Any], device: torch.device) -> None:
    boxes, levels = torch.tensor(rows, dtype=torch.float32).reshape(-1, 4), pyramid()
    counts = torch.tensor([0, len(rows)], device=device)
    pooled = ops.pyramid_roi_align(boxes.to(device), counts, *(level.to(device) for level in levels), **POOLED, **rule)
    torch.testing.assert_close(pooled.cpu(), reference(boxes, [0, len(rows)], levels, **rule), rtol=0, atol=1e-5)


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
@pytest.mark.parametrize("ratio", [0, 2])
def test_random_boxes(ratio: int, levels: int, device: torch.device) -> None:
    boxes, counts, maps = random_boxes(12), [5, 7], pyramid()[:levels]
    arguments = POOLED | {"spatial_scales": SCALES[:levels], "sampling_ratio": ratio}
    pooled = ops.pyramid_roi_align(
        boxes.to(device), torch.tensor(counts, device=device), *(level.to(device) for level in maps), **arguments
    )
    torch.testing.assert_close(pooled.cpu(), reference(boxes, counts, maps, ratio), rtol=0, atol=1e-5)


def golden_arguments(device: torch.device) -> tuple[list[Tensor], dict[str, Any]]:
    levels = [level.to(device) for level in golden("feat_0", "feat_1", "feat_2", "feat_3")]
    return levels, {"spatial_scales": GOLDEN["scales"].tolist(), "sampling_ratio": 2}


def test_torchvision_packed(device: torch.device) -> None:
    levels, arguments = golden_arguments(device)
    boxes, counts = torch.cat(golden("boxes_0", "boxes_1")).to(device), torch.tensor([28, 24], device=device)
    pooled = ops.pyramid_roi_align(boxes, counts, *levels, **arguments, pooled_height=7, pooled_width=7)
    torch.testing.assert_close(pooled.cpu(), *golden("out_7"), rtol=0, atol=1e-5)


def test_torchvision_padded(device: torch.device) -> None:
    levels, arguments = golden_arguments(device)
    boxes, counts = torch.full((2, 30, 4), 9.0, device=device), torch.tensor([28, 24], device=device)
    for image, name in enumerate(["boxes_0", "boxes_1"]):
        boxes[image, : counts[image]] = golden(name)[0].to(device)
    pooled = ops.pyramid_roi_align(boxes, counts, *levels, **arguments, pooled_height=7, pooled_width=7).cpu()
    valid = torch.arange(30) < torch.tensor([[28], [24]])
    torch.testing.assert_close(pooled[valid.flatten()], *golden("out_7"), rtol=0, atol=1e-5)
    assert not pooled[~valid.flatten()].any()


def test_torchvision_without_boxes_in_the_first_image(device: torch.device) -> None:
    levels, arguments = golden_arguments(device)
    boxes, counts = golden("boxes_1")[0][:6].to(device), torch.tensor([0, 6], device=device)
    pooled = ops.pyramid_roi_align(boxes, counts, *levels, **arguments, pooled_height=14, pooled_width=14)
    torch.testing.assert_close(pooled.cpu(), *golden("out_14_img1only_first6"), rtol=0, atol=1e-5)


def test_rows_past_the_counts_are_zero(device: torch.device) -> None:
    boxes, levels, counts = random_boxes(9, device=device), [level.to(device) for level in pyramid()], [2, 3]
    packed = ops.pyramid_roi_align(boxes, torch.tensor(counts, device=device), *levels, **POOLED)
    padded = ops.pyramid_roi_align(
        torch.cat([boxes[:4], boxes[2:6]]).view(2, 4, 4), torch.tensor(counts, device=device), *levels, **POOLED
    )
    assert packed[:5].flatten(1).any(1).all()
    assert not packed[5:].any()
    assert torch.equal(padded, packed[[0, 1, 5, 5, 2, 3, 4, 5]])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_summed_in_float32(dtype: torch.dtype, device: torch.device) -> None:
    boxes, counts = random_boxes(20, device=device), torch.tensor([11, 9], device=device)
    levels = [level.to(device) for level in pyramid(dtype)]
    pooled = ops.pyramid_roi_align(boxes, counts, *levels, **POOLED)
    exact = ops.pyramid_roi_align(boxes, counts, *(level.float() for level in levels), **POOLED)
    assert pooled.dtype == dtype
    assert torch.equal(pooled, exact.to(dtype))


def test_any_layout(device: torch.device) -> None:
    boxes, counts, levels = random_boxes(2, 6), [6, 4], pyramid()
    expected = reference(boxes, counts, levels)
    mixed = [levels[0].contiguous(memory_format=torch.channels_last), *levels[1:]]
    strided = torch.stack([boxes, -boxes], 3).to(device)[..., 0]
    doubled = torch.tensor(counts, device=device).repeat_interleave(2)[::2]
    pooled = ops.pyramid_roi_align(strided, doubled, *(level.to(device) for level in mixed), **POOLED)
    torch.testing.assert_close(pooled.cpu(), expected, rtol=0, atol=1e-5)
    assert pooled.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("side", [1e9, 1e30, math.inf])
def test_absurd_adaptive_boxes(side: float, device: torch.device) -> None:
    boxes = torch.tensor([[-side, -side, side, side], [0, 0, side, 50]], device=device)
    levels = [level.to(device) for level in pyramid()]
    pooled = ops.pyramid_roi_align(
        boxes, torch.tensor([1, 1], device=device), *levels, **(POOLED | {"sampling_ratio": 0})
    )
    assert pooled.abs().max() < 1e-5


def test_every_cpu_level_gives_the_same_bytes() -> None:
    code = """
import sys, torch
from tests.ops.test_pyramid_roi_align import POOLED, pyramid, random_boxes
import ops
for dtype in (torch.float32, torch.float16, torch.bfloat16):
    pooled = ops.pyramid_roi_align(random_boxes(60), torch.tensor([25, 35]), *pyramid(dtype, channels=85), **POOLED)
    sys.stdout.buffer.write(pooled.contiguous().view(torch.uint8).numpy().tobytes())
"""
    (output,) = outputs_at_all_levels(code)
    assert len(output) == 60 * 85 * 6 * (4 + 2 + 2)


LEVELS = pyramid()
ERRORS: dict[str, dict[str, Any]] = {
    r"level0 must be \(B, C, H, W\), got \(4, 64, 80\)": {"level0": LEVELS[0][0]},
    "level0 must be float32, float16 or bfloat16, got Double": {"level0": LEVELS[0].double()},
    r"level1 must be \(2, 4, H, W\), got \(2, 3, 32, 40\)": {"level1": LEVELS[1][:, :3]},
    "level2 must be Float as level0, got Half": {"level2": LEVELS[2].half()},
    "levels must be given without a gap, got one after none": {"level1": None},
    "spatial_scales must be 4 numbers, one a level, got 3": {"spatial_scales": SCALES[:3]},
    "spatial_scales must be powers of two, got 0.3": {"spatial_scales": [0.3, 0.15, 0.075, 0.0375]},
    "spatial_scales must be powers of two, got -0.25": {"spatial_scales": [-0.25, 1, 1, 1]},
    "spatial_scales must halve from level to level, got 0.125 then 0.25": {"spatial_scales": [0.125, 0.25, 1, 1]},
    r"boxes must be \(2, P, 4\) or \(K, 4\), got \(3, 5, 4\)": {"boxes": random_boxes(3, 5)},
    r"boxes must be \(2, P, 4\) or \(K, 4\), got \(8, 5\)": {"boxes": torch.zeros(8, 5)},
    "boxes must be float32, got Double": {"boxes": random_boxes(8).double()},
    r"counts must be \(2,\), got \(3,\)": {"counts": torch.tensor([1, 2, 3])},
    "counts must be int64, got Int": {"counts": torch.tensor([1, 2]).int()},
    "canonical_size must be positive and finite, got 0": {"canonical_size": 0.0},
    "pooled_height must be at least 1, got 0": {"pooled_height": 0},
    "sampling_ratio must be at most 1024, got 1025": {"sampling_ratio": 1025},
}


@pytest.mark.parametrize(("message", "wrong"), ERRORS.items(), ids=ERRORS.keys())
def test_says_what_is_wrong(message: str, wrong: dict[str, Any]) -> None:
    levels = {f"level{i}": level for i, level in enumerate(LEVELS)}
    arguments = {"boxes": random_boxes(8), "counts": torch.tensor([3, 5])} | levels | POOLED | wrong
    with pytest.raises(RuntimeError, match=f"^pyramid_roi_align: {message}$"):
        ops.pyramid_roi_align(**arguments)


BAD_COUNTS: dict[str, tuple[tuple[int, ...], list[int], list[int]]] = {  # shape of boxes, counts, counts clamped
    "counts must be between 0 and 8 for image 0, got -1": ((8,), [-1, 2], [0, 2]),
    "counts must be between 0 and 5 for image 1, got 6": ((8,), [3, 6], [3, 5]),
    "counts must be between 0 and 8 for image 0, got 4611686018427387904": ((8,), [1 << 62, 1 << 62], [8, 0]),
    "counts must be between 0 and 4 for image 1, got 5": ((2, 4), [4, 5], [4, 4]),
    "counts must be between 0 and 4 for image 0, got -4611686018427387904": ((2, 4), [-(1 << 62), 1], [0, 1]),
}


@pytest.mark.parametrize(("message", "case"), BAD_COUNTS.items(), ids=BAD_COUNTS.keys())
def test_counts_out_of_range(
    message: str, case: tuple[tuple[int, ...], list[int], list[int]], device: torch.device
) -> None:
    """The CPU refuses them; a GPU takes the boxes that are there."""
    (shape, counts, clamped), levels = case, [level.to(device) for level in LEVELS]
    boxes = random_boxes(*shape, device=device)
    if reads_values(device):
        with pytest.raises(RuntimeError, match=f"^{re.escape('pyramid_roi_align: ' + message)}$"):
            ops.pyramid_roi_align(boxes, torch.tensor(counts, device=device), *levels, **POOLED)
        return
    pooled = ops.pyramid_roi_align(boxes, torch.tensor(counts, device=device), *levels, **POOLED)
    assert torch.equal(pooled, ops.pyramid_roi_align(boxes, torch.tensor(clamped, device=device), *levels, **POOLED))


@pytest.mark.parametrize("counts", [[0, 3, 0, 0, 5, 0], [0, 0, 0, 0, 0, 8], [8, 0, 0, 0, 0, 0]])
def test_packed_boxes_of_many_images(counts: list[int], device: torch.device) -> None:
    boxes, levels = random_boxes(8), pyramid(images=6, size=32)
    pooled = ops.pyramid_roi_align(
        boxes.to(device), torch.tensor(counts, device=device), *(level.to(device) for level in levels), **POOLED
    )
    torch.testing.assert_close(pooled.cpu(), reference(boxes, counts, levels), rtol=0, atol=1e-5)


def test_refuses_gradients() -> None:
    levels = pyramid()
    levels[2].requires_grad_()
    with pytest.raises(RuntimeError, match="pyramid_roi_align: an input requires grad"):
        ops.pyramid_roi_align(random_boxes(3), torch.tensor([1, 2]), *levels, **POOLED)


@pytest.mark.parametrize("shape", [(0,), (5,), (2, 3)])
def test_opcheck(shape: tuple[int, ...], device: torch.device) -> None:
    counts = torch.tensor([0, 0] if shape == (0,) else [2, 3], device=device)
    arguments = (random_boxes(*shape, device=device), counts, *(level.to(device) for level in pyramid()))
    torch.library.opcheck(torch.ops.maskrcnn.pyramid_roi_align.default, arguments, POOLED)


def test_a_trace_holds_at_another_size_and_in_two_calls(device: torch.device) -> None:
    def twice(boxes: Tensor, counts: Tensor, *levels: Tensor) -> Tensor:
        other = POOLED | {"sampling_ratio": 0, "aligned": True}
        return ops.pyramid_roi_align(boxes, counts, *levels, **POOLED) + ops.pyramid_roi_align(
            boxes, counts, *levels, **other
        )

    example = random_boxes(2, 5, device=device), torch.tensor([5, 1], device=device)
    traced = torch.jit.trace(twice, (*example, *(level.to(device) for level in pyramid())))
    boxes, counts = random_boxes(3, 8, device=device), torch.tensor([8, 0, 3], device=device)
    levels = [level.to(device) for level in pyramid(images=3, size=96)]
    torch.testing.assert_close(traced(boxes, counts, *levels), twice(boxes, counts, *levels), rtol=0, atol=0)
    assert traced(boxes[:, :0], counts * 0, *levels).shape == (0, 4, 3, 2)


def test_script(device: torch.device) -> None:
    def pool(boxes: Tensor, counts: Tensor, fine: Tensor, coarse: Tensor) -> Tensor:
        return torch.ops.maskrcnn.pyramid_roi_align(
            boxes, counts, fine, coarse, spatial_scales=[0.25, 0.125], pooled_height=3, pooled_width=2
        )

    levels = [level.to(device) for level in pyramid()[:2]]
    boxes, counts = random_boxes(6, device=device), torch.tensor([2, 4], device=device)
    expected = ops.pyramid_roi_align(
        boxes, counts, *levels, **(POOLED | {"spatial_scales": SCALES[:2]}) | {"sampling_ratio": -1}
    )
    assert torch.equal(torch.jit.script(pool)(boxes, counts, *levels), expected)
