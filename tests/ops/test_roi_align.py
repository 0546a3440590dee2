"""ops.roi_align against its definition, torchvision's own answers, and the ways a model may call it."""

import math
import re
import time
from pathlib import Path

import numpy
import pytest
import torch
from torch import Tensor

import ops
from tests.ops.cpu_levels import outputs_at_all_levels
from tests.ops.refusals import reads_values
from tests.ops.roi_align_reference import reference_roi_align

GOLDEN = numpy.load(Path(__file__).parents[1] / "golden" / "roi_align.npz")
SCALE = 0.25
NAN, INF = math.nan, math.inf
CASES = {
    "none": [],
    "one": [[0, 4, 8, 40, 30]],
    "both images": [[1, 3, 5, 20, 31], [0, 3, 5, 20, 31]],
    "the whole map": [[0, 0, 0, 52, 44]],
    "past every edge": [[1, -30, -20, 90, 70]],
    "just past the edge, where samples still count": [[0, -4, -4, 0, 0], [0, 52, 44, 56, 48]],
    "far outside": [[0, 400, 400, 500, 500], [0, -500, -500, -400, -400]],
    "a point": [[0, 20, 20, 20, 20]],
    "inverted": [[1, 40, 30, 20, 10]],
    "thinner than a cell": [[1, 20.2, 3, 20.3, 40]],
}


def features(dtype: torch.dtype = torch.float32, channels: int = 5, height: int = 11, width: int = 13) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, channels, height, width, generator=generator).to(dtype)


def random_rois(count: int, seed: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 4, generator=generator) * 70 - 10
    image = torch.randint(2, (count, 1), generator=generator).float()
    return torch.cat([image, corners.view(-1, 2, 2).sort(1).values.view(-1, 4)], 1)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [-1, 0, 1, 2, 3])
@pytest.mark.parametrize("rows", CASES.values(), ids=CASES.keys())
def test_named_cases(rows: list[list[float]], ratio: int, aligned: bool, device: torch.device) -> None:
    rois = torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)
    pooled = ops.roi_align(features().to(device), rois.to(device), SCALE, 3, 4, ratio, aligned)
    expected = reference_roi_align(features(), rois, SCALE, 3, 4, ratio, aligned)
    torch.testing.assert_close(pooled.cpu(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("ratio", [2, 3, 8, 24])
@pytest.mark.parametrize("side", [1, 2, 3, 8])
def test_long_grids_on_small_maps(side: int, ratio: int, device: torch.device) -> None:
    """Samples that go up, down and past both edges never read more cells than a side of the map has."""
    ends = (-3.0, 0.7, 3.2, 6.3, 12.0)
    rois = torch.tensor([[0, x1, x1, x2, x2] for x1 in ends for x2 in ends])
    maps = features(channels=1, height=side, width=side)
    pooled = ops.roi_align(maps.to(device), rois.to(device), 1.0, 1, 1, ratio, True)
    expected = reference_roi_align(maps, rois, 1.0, 1, 1, ratio, True)
    torch.testing.assert_close(pooled.cpu(), expected, rtol=0, atol=1e-4)  # sums of up to 576 samples


GRIDS = {
    "wide bins of few samples": (1, 3, 9),  # height, width, sampling_ratio
    "more adaptive samples than cells of a table": (2, 2, 0),
    "more bins than a table has room for": (1, 70, -1),
    "more rows of bins than warps of a block": (9, 2, 2),
}


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
def test_grids_of_every_size(grid: tuple[int, int, int], device: torch.device) -> None:
    rois = torch.tensor([[0.0, 2, 3, 60, 40], [1, -20, -10, 60, 30], [1, 9, 9, 11, 10], [0, NAN, 3, 20, 20]])
    maps = features(channels=8).contiguous(memory_format=torch.channels_last)
    pooled = ops.roi_align(maps.to(device), rois.to(device), 1.0, *grid, True)
    expected = reference_roi_align(maps, rois[:3], 1.0, *grid, True)
    torch.testing.assert_close(pooled[:3].cpu(), expected, rtol=0, atol=1e-5)
    assert not pooled[3].any()


@pytest.mark.parametrize("ratio", [2, 9])
def test_more_rows_of_bins_than_run_at_once(ratio: int, device: torch.device) -> None:
    rois = torch.tensor([[0, 0, NAN, 5, 5], [0, 0, 0, 5, 5]], device=device)
    pooled = ops.roi_align(torch.ones(1, 1, 6, 6, device=device), rois, 1.0, 4500, 1, ratio).cpu()
    assert not pooled[0].any()
    torch.testing.assert_close(pooled[1], torch.ones(1, 4500, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("channels", [8, 264])  # a vector of halves; more vectors than a warp has lanes
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("ratio", [0, 2, 9])
def test_reads_vectors_and_single_values_alike(
    ratio: int, dtype: torch.dtype, channels: int, device: torch.device
) -> None:
    maps, rois = features(dtype, channels).contiguous(memory_format=torch.channels_last), random_rois(3).to(device)
    vectors = ops.roi_align(maps.to(device), rois, SCALE, 2, 3, ratio)
    expected = reference_roi_align(maps[:, -1:], rois.cpu(), SCALE, 2, 3, ratio).to(dtype)
    torch.testing.assert_close(vectors[:, -1:].cpu(), expected, rtol=torch.finfo(dtype).eps, atol=1e-5)
    for before, after in ((0, 1), (1, channels - 1)):  # cells of an odd size; of whole vectors, the first not aligned
        wide = torch.cat([maps[:, :before], maps, maps[:, :after]], 1).contiguous(memory_format=torch.channels_last)
        singles = ops.roi_align(wide.to(device)[:, before : before + channels], rois, SCALE, 2, 3, ratio)
        assert torch.equal(vectors, singles)


@pytest.mark.parametrize("key", [key for key in GOLDEN if key.startswith("out_aligned")])
def test_torchvision(key: str, device: torch.device) -> None:
    match = re.fullmatch(r"out_aligned([01])_sr(-?\d)_(\d+)x(\d+)", key)
    assert match is not None
    aligned, ratio, height, width = (int(group) for group in match.groups())
    maps, rois = (torch.from_numpy(GOLDEN[name]).to(device) for name in ("input", "rois"))
    pooled = ops.roi_align(maps, rois, float(GOLDEN["spatial_scale"]), height, width, ratio, bool(aligned))
    torch.testing.assert_close(pooled.cpu(), torch.from_numpy(GOLDEN[key]), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("key", "count", "scale", "size", "ratio", "aligned"),
    [
        ("out_empty_rois", 0, 0.25, 7, 2, False),
        ("out_scale1_aligned1_sr0_5x5", 20, 1.0, 5, 0, True),
        ("out_list_of_boxes", 5, 0.25, 2, 2, False),
    ],
)
def test_torchvision_variants(
    key: str, count: int, scale: float, size: int, ratio: int, aligned: bool, device: torch.device
) -> None:
    maps, rois = torch.from_numpy(GOLDEN["input"]), torch.from_numpy(GOLDEN["rois"])[:count].clone()
    if key == "out_list_of_boxes":  # a list of boxes per image: the position in the list is the image
        rois[:, 0] = torch.tensor([0, 0, 1, 2, 2])
    pooled = ops.roi_align(maps.to(device), rois.to(device), scale, size, size, ratio, aligned)
    torch.testing.assert_close(pooled.cpu(), torch.from_numpy(GOLDEN[key]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 63, 64, 65, 200])  # around the ends of blocks
def test_halves_are_summed_in_float32(dtype: torch.dtype, channels: int, device: torch.device) -> None:
    maps, rois = features(dtype, channels).to(device), random_rois(9).to(device)
    pooled = ops.roi_align(maps, rois, SCALE, 3, 2, 2)
    exact = ops.roi_align(maps.float(), rois, SCALE, 3, 2, 2)
    assert pooled.dtype == dtype
    assert torch.equal(pooled, exact.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_half_survives(dtype: torch.dtype, device: torch.device) -> None:
    """A sample at the centre of a one-cell map is that cell, so pooling copies: NaN, Inf and subnormals too."""
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype).view(1, -1, 1, 1).to(device)
    rois = torch.tensor([[0.0, 0, 0, 1, 1]], device=device)
    pooled = ops.roi_align(every, rois, 1.0, 1, 1, 1, True)
    torch.testing.assert_close(pooled, every, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rounds_to_nearest_even(dtype: torch.dtype, device: torch.device) -> None:
    """Averages of neighbours lie halfway between two numbers of the dtype, subnormals included."""
    start = torch.arange(0, 2**15 - 2, dtype=torch.int32)
    pairs = torch.stack([start, start + 1]).to(torch.int16).view(dtype).to(device)
    maps = pairs.t().reshape(1, -1, 1, 2)
    pooled = ops.roi_align(maps, torch.tensor([[0.0, 0, 0, 2, 1]], device=device), 1.0, 1, 1, 2, True)
    expected = (pairs[0].float() * 0.5 + pairs[1].float() * 0.5).to(dtype)
    torch.testing.assert_close(pooled.flatten(), expected, rtol=0, atol=0, equal_nan=True)


ABSURD = {
    "1e9 wide": [[-5e8, 0, 5e8, 40]],
    "1e9 wide and high": [[-5e8, -5e8, 5e8, 5e8]],
    "1e30": [[-1e30, -1e30, 1e30, 1e30]],
    "longest float": [[-3.4e38, -3.4e38, 3.4e38, 3.4e38]],
    "inverted 1e30": [[1e30, 1e30, -1e30, -1e30]],
    "infinite": [[-INF, 0, 40, 40], [0, 0, INF, INF], [INF, 0, INF, 40], [-INF, -INF, INF, INF]],
    "NaN": [[NAN, 0, 40, 40], [0, 0, 40, NAN], [NAN, NAN, NAN, NAN]],
}


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("boxes", ABSURD.values(), ids=ABSURD.keys())
def test_absurd_adaptive_boxes_are_almost_zero_and_quick(
    boxes: list[list[float]], aligned: bool, device: torch.device
) -> None:
    rois = torch.nn.functional.pad(torch.tensor(boxes), (1, 0)).to(device)
    begin = time.process_time()
    pooled = ops.roi_align(features().to(device).abs(), rois, SCALE, 7, 7, 0, aligned)
    assert pooled.abs().max() < 1e-5  # 13 of at least 3.5e7 samples land on the map, of values below 4
    assert time.process_time() - begin < 5  # the grid has up to 1e16 samples


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_roi_that_is_not_finite_is_zero(bad: float, device: torch.device) -> None:
    rois = torch.tensor([0, 4.0, 4, 40, 40]).repeat(4, 1)
    rois[:, 1:].fill_diagonal_(bad)
    pooled = ops.roi_align(features().to(device), rois.to(device), SCALE, 2, 2, 2)
    assert torch.equal(pooled.cpu(), torch.zeros(4, 5, 2, 2))


def test_clipping_a_long_grid_changes_nothing(device: torch.device) -> None:
    """2000 cells a bin, more samples than may be asked for: the reference walks over all of them."""
    rois = torch.tensor([[0, -3000.0, 2, 5000, 6]])
    pooled = ops.roi_align(features().to(device), rois.to(device), 1.0, 1, 4, 0)
    expected = reference_roi_align(features(), rois, 1.0, 1, 4, 0)
    assert expected.abs().max() > 1e-4
    torch.testing.assert_close(pooled.cpu(), expected, rtol=1e-3, atol=1e-8)


LAYOUTS = {
    "contiguous": lambda maps: maps.contiguous(),
    "channels-last": lambda maps: maps.contiguous(memory_format=torch.channels_last),
    "slice of more channels": lambda maps: torch.cat([maps, maps], 1).contiguous(memory_format=torch.channels_last)[
        :, maps.shape[1] :
    ],
    "slice of a larger map": lambda maps: torch.nn.functional.pad(maps, (2, 1, 3, 1))[:, :, 3:-1, 2:-1],
    "transposed": lambda maps: maps.transpose(2, 3).contiguous().transpose(2, 3),
    "expanded": lambda maps: maps[:1, :, :1].expand(2, -1, 11, -1),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_any_layout(layout, device: torch.device) -> None:  # type: ignore[no-untyped-def]
    maps, rois = layout(features()), random_rois(12)
    wide = torch.stack([rois, -rois], 2).to(device)  # (12, 5, 2): the last axis is not the roi
    pooled = ops.roi_align(maps.to(device), wide[:, :, 0], SCALE, 3, 4, 2)
    expected = reference_roi_align(maps, rois, SCALE, 3, 4, 2)
    torch.testing.assert_close(pooled.cpu(), expected, rtol=0, atol=1e-5)
    assert pooled.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(0, 5, 11, 13), (2, 0, 11, 13), (2, 5, 0, 13), (2, 5, 11, 0)])
def test_empty_maps(shape: tuple[int, ...], device: torch.device) -> None:
    rois = random_rois(0 if shape[0] == 0 else 3).to(device)
    pooled = ops.roi_align(torch.zeros(shape, device=device), rois, SCALE, 2, 3, 0)
    assert torch.equal(pooled, torch.zeros(len(rois), shape[1], 2, 3, device=device))


@pytest.mark.parametrize("count", [1, 300])  # few rois are split into rows of bins, many are not
def test_threads_change_nothing(count: int) -> None:
    maps, rois, threads = features(channels=70), random_rois(count), torch.get_num_threads()
    outputs = []
    for number in (1, 2, 5):
        torch.set_num_threads(number)
        outputs.append(ops.roi_align(maps, rois, SCALE, 7, 7, 2))
    torch.set_num_threads(threads)
    assert all(torch.equal(output, outputs[0]) for output in outputs)


def test_every_cpu_level_gives_the_same_bytes() -> None:
    code = """
import sys, torch, ops
generator = torch.Generator().manual_seed(5)
rois = torch.cat([torch.zeros(40, 1), torch.rand(40, 4, generator=generator) * 60], 1)
for dtype in (torch.float32, torch.float16, torch.bfloat16):
    maps = torch.randn(1, 101, 15, 16, generator=generator).to(dtype)
    for ratio in (0, 2):
        pooled = ops.roi_align(maps, rois, 0.25, 7, 7, ratio)
        sys.stdout.buffer.write(pooled.contiguous().view(torch.uint8).numpy().tobytes())
"""
    (output,) = outputs_at_all_levels(code)
    assert len(output) == 40 * 101 * 49 * 2 * (4 + 2 + 2)


ERRORS = {
    r"roi_align: features must be \(B, C, H, W\), got \(5, 11, 13\)": {"features": features()[0]},
    "roi_align: features must be float32, float16 or bfloat16, got Double": {"features": features().double()},
    r"roi_align: features must have sides of at most 16777216, got \(1, 1, 1, 16777217\)": {
        "features": torch.zeros(1, 1, 1, 1).expand(1, 1, 1, 2**24 + 1)
    },
    r"roi_align: rois must be \(N, 5\), got \(2, 4\)": {"rois": torch.zeros(2, 4)},
    "roi_align: rois must be float32, got Half": {"rois": torch.zeros(2, 5).half()},
    "roi_align: spatial_scale must be positive and finite, got 0": {"spatial_scale": 0.0},
    "roi_align: spatial_scale must be positive and finite, got inf": {"spatial_scale": INF},
    "roi_align: pooled_height must be at least 1, got 0": {"pooled_height": 0},
    "roi_align: pooled_width must be at least 1, got -7": {"pooled_width": -7},
    "roi_align: sampling_ratio must be at most 1024, got 1025": {"sampling_ratio": 1025},
}


@pytest.mark.parametrize(("message", "wrong"), ERRORS.items(), ids=ERRORS.keys())
def test_says_what_is_wrong(message: str, wrong: dict[str, object]) -> None:
    arguments = {"features": features(), "rois": random_rois(2), "spatial_scale": 1.0, "pooled_height": 2}
    with pytest.raises(RuntimeError, match=f"^{message}$"):
        ops.roi_align(**(arguments | {"pooled_width": 2} | wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize(("image", "told"), [(2, "2"), (-1, "-1"), (NAN, "nan"), (-0.5, "-0.5"), (1e30, "1e+30")])
def test_a_roi_of_an_image_that_is_not_there(image: float, told: str, device: torch.device) -> None:
    """The CPU refuses it; on a GPU it is 0, and the others are as without it."""
    rois, maps = random_rois(3).to(device), features().to(device)
    expected = ops.roi_align(maps, rois, SCALE, 2, 2)
    rois[1, 0] = image
    if reads_values(device):
        message = f"roi_align: rois must be of images 0 to 1, got {told} in row 1"
        with pytest.raises(RuntimeError, match=f"^{re.escape(message)}$"):
            ops.roi_align(maps, rois, SCALE, 2, 2)
        return
    expected[1] = 0
    assert torch.equal(ops.roi_align(maps, rois, SCALE, 2, 2), expected)


def test_refuses_gradients() -> None:
    with pytest.raises(RuntimeError, match="roi_align: an input requires grad"):
        ops.roi_align(features().requires_grad_(), random_rois(2), SCALE, 2, 2)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("count", [0, 4])
def test_opcheck(count: int, memory_format: torch.memory_format, device: torch.device) -> None:
    maps, rois = features().contiguous(memory_format=memory_format).to(device), random_rois(count).to(device)
    torch.library.opcheck(torch.ops.maskrcnn.roi_align.default, (maps, rois, SCALE, 3, 4, 2, True))


def test_a_trace_holds_at_another_size_and_in_two_calls(device: torch.device) -> None:
    def twice(maps: Tensor, rois: Tensor) -> Tensor:
        return ops.roi_align(maps, rois, SCALE, 3, 3, 2) + ops.roi_align(maps, rois, SCALE, 3, 3, 0, True)

    traced = torch.jit.trace(twice, (features().to(device), random_rois(3).to(device)))
    maps, rois = features(height=20, width=9).to(device), random_rois(8, seed=9).to(device)
    torch.testing.assert_close(traced(maps, rois), twice(maps, rois), rtol=0, atol=0)
    assert traced(maps, rois[:0]).shape == (0, 5, 3, 3)


def test_script(device: torch.device) -> None:
    def pool(maps: Tensor, rois: Tensor) -> Tensor:
        return torch.ops.maskrcnn.roi_align(maps, rois, 0.25, 3, 3, 2)

    maps, rois = features().to(device), random_rois(5).to(device)
    torch.testing.assert_close(torch.jit.script(pool)(maps, rois), ops.roi_align(maps, rois, SCALE, 3, 3, 2))
