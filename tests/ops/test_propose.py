"""ops.propose against plain tensor code, torchvision's anchors and box coding, and the ways a model may call it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor

import ops
from tests.ops.cpu_levels import outputs_at_all_levels

GOLDEN = Path(__file__).parents[1] / "golden"
NAN, INF = math.nan, math.inf
OPTIONS: dict[str, Any] = {"pre_nms_top_n": 50, "post_nms_top_n": 60, "nms_threshold": 0.6}
CELLS = torch.tensor([[-8.0, -8, 8, 8], [-11, -6, 11, 6], [-6, -11, 6, 11]])


def decode(anchors: Tensor, deltas: Tensor, weights: Sequence[float], extra: float) -> Tensor:
    sides = anchors[:, 2:] - anchors[:, :2] + extra
    centres = anchors[:, :2] + 0.5 * sides
    dx, dy, dw, dh = (deltas[:, i] / weights[i] for i in range(4))
    centres = torch.stack([dx, dy], 1) * sides + centres
    half = 0.5 * torch.stack([dw, dh], 1).clamp(max=math.log(1000 / 16)).exp() * sides
    return torch.cat([centres - half, centres + half - extra], 1)


def clip(boxes: Tensor, height: int, width: int, extra: float) -> Tensor:
    limits = torch.tensor([width, height, width, height]) - extra
    return torch.minimum(boxes.clamp(min=0), limits)


def anchors_of(cells: Tensor, height: int, width: int, stride_y: int, stride_x: int) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height) * stride_y, torch.arange(width) * stride_x, indexing="ij")
    shifts = torch.stack([x, y, x, y], -1).reshape(-1, 1, 4).float()
    return (shifts + cells).reshape(-1, 4)


def reference(
    image_sizes: Tensor,
    cell_anchors: Tensor,
    *levels: Tensor,
    strides: Sequence[int],
    pre_nms_top_n: int,
    post_nms_top_n: int,
    nms_threshold: float,
    box_weights: Sequence[float] = (1, 1, 1, 1),
    min_size: float = 0.0,
    score_threshold: float | None = None,
    sigmoid: bool = True,
    strides_from_grid: bool = False,
    legacy: bool = False,
    inclusive: bool = False,
) -> list[tuple[Tensor, Tensor]]:
    """(boxes, scores) of each image."""
    extra, results = float(legacy), []
    for image, (picture_height, picture_width) in enumerate(image_sizes.tolist()):
        boxes, scores = [torch.zeros(0, 4)], [torch.zeros(0)]
        for number, (objectness, deltas) in enumerate(zip(levels[::2], levels[1::2], strict=True)):
            height, width = objectness.shape[2:]
            pace = [strides[number]] * 2
            if strides_from_grid:
                pace = [strides[0] * levels[0].shape[2] // height, strides[0] * levels[0].shape[3] // width]
            logits = objectness[image].permute(1, 2, 0).flatten().float().nan_to_num(nan=-INF, posinf=INF, neginf=-INF)
            best = logits.sort(descending=True, stable=True).indices[:pre_nms_top_n]
            codes = deltas[image].permute(1, 2, 0).reshape(-1, 4).float()[best]
            decoded = decode(anchors_of(cell_anchors[number], height, width, *pace)[best], codes, box_weights, extra)
            clipped, score = clip(decoded, picture_height, picture_width, extra), logits[best]
            score = score.sigmoid() if sigmoid else score
            keep = (clipped[:, 2:] - clipped[:, :2] + extra >= min_size).all(1)
            keep &= score >= (-INF if score_threshold is None else score_threshold)
            clipped, score = clipped[keep], score[keep]
            kept = ops.nms(clipped, score, nms_threshold, legacy=legacy, inclusive=inclusive)
            boxes.append(clipped[kept])
            scores.append(score[kept])
        all_scores = torch.cat(scores)
        order = all_scores.sort(descending=True, stable=True).indices[:post_nms_top_n]
        results.append((torch.cat(boxes)[order], all_scores[order]))
    return results


def network_output(
    images: int, grids: Sequence[tuple[int, int]], seed: int, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """Objectness and deltas of each level, as slices of one channels-last output, as a fused head gives them."""
    generator = torch.Generator().manual_seed(seed)
    levels = []
    for height, width in grids:
        count = images * height * width * 3
        logits = (torch.randperm(count, generator=generator) / count - 0.5) * 8  # distinct: the order is certain
        deltas = torch.randn(images, height, width, 12, generator=generator) * 0.3
        fused = torch.cat([logits.reshape(images, height, width, 3), deltas], 3).to(dtype).permute(0, 3, 1, 2)
        levels += [fused[:, :3], fused[:, 3:]]
    return levels


def to(device: torch.device, tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.to(device) for tensor in tensors]


def assert_proposes(
    device: torch.device, sizes: Tensor, cells: Tensor, levels: Sequence[Tensor], **options: Any
) -> None:
    boxes, scores, counts = ops.propose(*to(device, [sizes, cells, *levels]), **options)
    expected = reference(sizes, cells, *levels, **options)
    assert counts.tolist() == [len(score) for _, score in expected]
    for image, (box, score) in enumerate(expected):
        torch.testing.assert_close(boxes[image, : len(box)].cpu(), box, rtol=1e-5, atol=1e-4)  # exp differs by an ulp
        torch.testing.assert_close(scores[image, : len(box)].cpu(), score, rtol=1e-6, atol=1e-7)
        assert not boxes[image, len(box) :].any()
        assert not scores[image, len(box) :].any()


CONVENTIONS: dict[str, dict[str, Any]] = {
    "torchvision": {"min_size": 1e-3, "score_threshold": 0.0, "strides_from_grid": True},
    "detectron2": {"min_size": 1e-38, "sigmoid": False},
    "maskrcnn-benchmark": {"legacy": True, "inclusive": True},
    "weights": {"box_weights": [10.0, 9.0, 5.0, 4.0]},
    "filters": {"min_size": 14.0, "score_threshold": 0.4},
    "all kept": {"nms_threshold": 1.0, "post_nms_top_n": 10_000, "pre_nms_top_n": 10_000},
    "none wanted": {"post_nms_top_n": 0},
    "none looked at": {"pre_nms_top_n": 0},
}


@pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=CONVENTIONS.keys())
@pytest.mark.parametrize("images", [1, 3])
def test_conventions(convention: dict[str, Any], images: int, device: torch.device) -> None:
    levels = network_output(images, [(13, 17), (7, 9), (3, 4)], seed=images)
    sizes = torch.tensor([[104, 130], [60, 136], [104, 9]])[:images]  # less than the canvas of 104 x 136
    cells = CELLS * torch.tensor([1.0, 2, 4])[:, None, None]
    assert_proposes(device, sizes, cells, levels, **OPTIONS | {"strides": [8, 16, 32]} | convention)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", ["fused channels last", "contiguous"])
def test_dtypes_and_layouts(dtype: torch.dtype, layout: str, device: torch.device) -> None:
    levels = network_output(2, [(6, 5), (3, 3)], seed=9, dtype=dtype)
    if layout == "contiguous":
        levels = [level.contiguous() for level in levels]
    assert_proposes(
        device, torch.tensor([[48, 40], [40, 33]]), CELLS.repeat(2, 1, 1), levels, strides=[8, 16], **OPTIONS
    )


@pytest.mark.parametrize("depth", range(1, 7))
def test_each_number_of_levels(depth: int, device: torch.device) -> None:
    levels = network_output(1, [(4, 6)] * depth, seed=depth)
    cells = torch.stack([CELLS * (1 + i) for i in range(depth)])
    assert_proposes(device, torch.tensor([[32, 48]]), cells, levels, strides=[8] * depth, **OPTIONS)


HELPINGS: dict[str, dict[str, Any]] = {  # of the 2048 entries that a CUDA block holds, and of the strips of its NMS
    "many kept": {"pre_nms_top_n": 4500, "post_nms_top_n": 3000, "nms_threshold": 0.9},
    "strips suppress strips": {"pre_nms_top_n": 6500, "post_nms_top_n": 10**9, "nms_threshold": 0.5},
    "enough in the first strip": {"pre_nms_top_n": 4500, "post_nms_top_n": 70, "nms_threshold": 0.9},
}


# The first level has three chunks, the last of them short. bfloat16 has few values, so that many logits are equal. No
# box changes its size and no logit becomes a sigmoid: an exp that differs by an ulp would move an IoU across the
# threshold, or reorder two scores.
@pytest.mark.parametrize("options", HELPINGS.values(), ids=HELPINGS.keys())
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_many_anchors(options: dict[str, Any], dtype: torch.dtype, device: torch.device) -> None:
    levels = network_output(1, [(61, 69), (31, 35)], seed=7, dtype=dtype)
    missing = torch.rand(levels[0].shape, generator=torch.Generator().manual_seed(8))
    levels[0][missing < 0.05], levels[0][missing > 0.99] = NAN, -INF
    for deltas in levels[1::2]:
        deltas.unflatten(1, (3, 4))[:, :, 2:] = 0
    cells = CELLS * torch.tensor([1.0, 2])[:, None, None]
    assert_proposes(device, torch.tensor([[488, 552]]), cells, levels, strides=[8, 16], sigmoid=False, **options)


def one_level(logits: Tensor, deltas: Tensor | None = None) -> list[Tensor]:
    """Logits (H, W) of one anchor; the deltas are zero unless given as (4, H, W)."""
    return [logits[None, None], torch.zeros(1, 4, *logits.shape) if deltas is None else deltas[None]]


def propose_one(device: torch.device, levels: Sequence[Tensor], **options: Any) -> tuple[Tensor, Tensor, Tensor]:
    sizes, cell = torch.tensor([[100, 100]]), torch.tensor([[[0.0, 0, 4, 4]]])
    boxes, scores, counts = ops.propose(
        *to(device, [sizes, cell, *levels]), **OPTIONS | {"strides": [10], "min_size": 1.0} | options
    )
    return boxes[0].cpu(), scores[0].cpu(), counts.cpu()


def test_equal_logits_go_by_number(device: torch.device) -> None:
    boxes, _, counts = propose_one(device, one_level(torch.zeros(3, 3)), pre_nms_top_n=4)
    assert counts.tolist() == [4]
    assert boxes[:, :2].tolist() == [[0, 0], [10, 0], [20, 0], [0, 10]]


def test_many_equal_logits_go_by_number(device: torch.device) -> None:
    levels = to(
        device, [torch.tensor([[1000, 1000]]), torch.tensor([[[0.0, 0, 4, 4]]]), *one_level(torch.zeros(99, 99))]
    )
    boxes, _, counts = ops.propose(
        *levels, **OPTIONS | {"strides": [10], "pre_nms_top_n": 7000, "post_nms_top_n": 9000}
    )
    assert counts.tolist() == [7000]
    numbers = torch.arange(7000)
    assert torch.equal(boxes[0, :, :2].cpu(), torch.stack([numbers % 99, numbers // 99], 1) * 10.0)


def test_equal_scores_go_by_level(device: torch.device) -> None:
    levels = one_level(torch.tensor([[100.0, 0, 200]])) + one_level(torch.tensor([[300.0, 0, 400]]))  # sigmoid: 1, 0.5
    cells = torch.tensor([[[0.0, 0, 4, 4]], [[0.0, 50, 4, 54]]])
    boxes, scores, _ = ops.propose(
        *to(device, [torch.tensor([[100, 100]]), cells, *levels]), strides=[10, 10], **OPTIONS
    )
    assert scores[0].tolist() == [1, 1, 1, 1, 0.5, 0.5]
    assert boxes[0, :, :2].tolist() == [[20, 0], [0, 0], [20, 50], [0, 50], [10, 0], [10, 50]]


def test_nan_logit_counts_as_minus_infinity(device: torch.device) -> None:
    levels = one_level(torch.tensor([[NAN, -INF, -3.0]]))
    boxes, scores, counts = propose_one(device, levels, sigmoid=False)
    assert counts.tolist() == [3]
    assert boxes[:, 0].tolist() == [20, 0, 10]
    assert scores.tolist() == [-3, -INF, -INF]
    assert propose_one(device, levels)[1].tolist() == pytest.approx([1 / (1 + math.e**3), 0, 0])
    assert propose_one(device, levels, score_threshold=0.01)[2].tolist() == [1]


@pytest.mark.parametrize("channel", range(4))
def test_nan_delta_drops_its_box_only(channel: int, device: torch.device) -> None:
    deltas = torch.zeros(4, 1, 3)
    deltas[channel, 0, 1] = NAN
    boxes, _, counts = propose_one(device, one_level(torch.tensor([[3.0, 2, 1]]), deltas), min_size=0.0)
    assert counts.tolist() == [2]
    assert boxes[:2, 0].tolist() == [0, 20]


def test_infinite_deltas_stay_in_the_image(device: torch.device) -> None:
    deltas = torch.zeros(4, 1, 3)
    deltas[2:, 0, 0], deltas[2:, 0, 1] = INF, -INF  # clamped to 62.5 times the size; no size at all
    boxes, _, counts = propose_one(device, one_level(torch.tensor([[3.0, 2, 1]]), deltas))
    assert counts.tolist() == [2]
    assert boxes[:2].tolist() == [[0, 0, 100, 100], [20, 0, 24, 4]]


@pytest.mark.parametrize("grid", [(0, 4), (4, 0)])
def test_empty_level(grid: tuple[int, int], device: torch.device) -> None:
    levels = [*network_output(1, [(2, 2)], seed=1), torch.zeros(1, 3, *grid), torch.zeros(1, 12, *grid)]
    cells, options = CELLS.repeat(2, 1, 1), OPTIONS | {"strides": [8, 16]}
    assert_proposes(device, torch.tensor([[16, 16]]), cells, levels, **options)
    boxes, scores, counts = ops.propose(
        *to(device, [torch.tensor([[16, 16]]), cells, *levels[2:], *levels[2:]]), strides_from_grid=True, **options
    )
    assert (boxes.shape, scores.shape, counts.tolist()) == ((1, 0, 4), (1, 0), [0])


def test_no_images(device: torch.device) -> None:
    sizes = torch.zeros(0, 2, dtype=torch.int64)
    boxes, scores, counts = ops.propose(
        *to(device, [sizes, CELLS[None], *network_output(0, [(2, 2)], seed=1)]), strides=[8], **OPTIONS
    )
    assert (boxes.shape, scores.shape, counts.shape) == ((0, 12, 4), (0, 12), (0,))


@pytest.mark.parametrize("size", [[0, 0], [-5, 40], [1 << 60, 1 << 60]])
@pytest.mark.parametrize("legacy", [False, True])
def test_strange_image_sizes(size: list[int], legacy: bool, device: torch.device) -> None:
    levels = network_output(1, [(3, 3)], seed=4)
    assert_proposes(
        device, torch.tensor([size]), CELLS[None], levels, strides=[8], min_size=1.0, legacy=legacy, **OPTIONS
    )


def golden(name: str, *keys: str) -> list[Tensor]:
    with numpy.load(GOLDEN / name) as file:
        return [torch.from_numpy(numpy.atleast_1d(file[key])) for key in keys]


def anchors_in_order(canvas: str, numbers: Tensor, device: torch.device) -> Tensor:
    """The anchors of a canvas that have these numbers over all levels, as proposals: their logits fall with the
    place in ``numbers``, and a picture larger by 2000 pixels on each side leaves them whole."""
    (grid,) = golden("anchors.npz", f"grid_{canvas}")
    cells = torch.stack(golden("anchors.npz", *(f"cell_{level}" for level in range(5))))
    logits = torch.full((int(grid.prod(1).sum()) * 3,), -1e6)
    logits[numbers] = -torch.arange(len(numbers)).float()
    levels = []
    for level, (height, width) in zip(logits.split((grid.prod(1) * 3).tolist()), grid.tolist(), strict=True):
        levels += [level.reshape(1, height, width, 3).permute(0, 3, 1, 2), torch.zeros(1, 12, height, width)]
    boxes, scores, _ = ops.propose(
        *to(device, [torch.tensor([[8000, 8000]]), cells + 2000, *levels]),
        strides=[4, 8, 16, 32, 64], strides_from_grid=True, sigmoid=False,
        pre_nms_top_n=len(numbers), post_nms_top_n=len(numbers), nms_threshold=INF,
    )  # fmt: skip
    assert torch.equal(scores[0].cpu(), logits[numbers])
    return boxes[0].cpu() - 2000


@pytest.mark.parametrize("canvas", ["256x320", "224x352"])
def test_torchvision_anchors(canvas: str, device: torch.device) -> None:
    (expected,) = golden("anchors.npz", f"anchors_{canvas}")
    assert torch.equal(anchors_in_order(canvas, torch.arange(len(expected)), device), expected)


# The sixth level of 800 x 1088 has strides (61, 64), of 800 x 1312 (61, 62).
@pytest.mark.parametrize("canvas", ["800x1088", "800x1312"])
def test_torchvision_anchors_of_uneven_grids(canvas: str, device: torch.device) -> None:
    count, expected = golden("anchors.npz", f"anchors_{canvas}_count", f"anchors_{canvas}_every997")
    assert torch.equal(anchors_in_order(canvas, torch.arange(0, int(count), 997), device), expected)


def test_torchvision_last_anchors_of_uneven_grid(device: torch.device) -> None:
    count, expected = golden("anchors.npz", "anchors_800x1088_count", "anchors_800x1088_last16")
    assert torch.equal(anchors_in_order("800x1088", torch.arange(int(count) - 16, int(count)), device), expected)


def decode_one_by_one(height: int, width: int, device: torch.device, **options: Any) -> tuple[Tensor, Tensor]:
    """torchvision's RPN codes over its boxes, each box an anchor of a grid of one cell and an image of its own."""
    codes, boxes, weights = golden("box_coder.npz", "rpn_codes", "rpn_boxes", "rpn_weights")
    rows, counts = [], []
    for code, box in zip(codes, boxes, strict=True):
        proposals, _, count = ops.propose(
            *to(device, [torch.tensor([[height, width]]), box.view(1, 1, 4), torch.zeros(1, 1, 1, 1)]),
            code.view(1, 4, 1, 1).to(device), strides=[4], box_weights=weights.tolist(), **OPTIONS | options,
        )  # fmt: skip
        rows.append(proposals[0, 0].cpu())
        counts.append(count.cpu())
    return torch.stack(rows), torch.cat(counts)


def test_torchvision_box_coder(device: torch.device) -> None:
    (expected,) = golden("box_coder.npz", "rpn_out")
    whole, _ = decode_one_by_one(1 << 40, 1 << 40, device, min_size=-INF)  # clipped at 0 only
    torch.testing.assert_close(whole, expected.clamp(min=0), rtol=1e-6, atol=1e-4)  # exp differs by an ulp


@pytest.mark.parametrize("min_size", [0.001, 0.01, 16.0])
def test_torchvision_clip_and_small_boxes(min_size: float, device: torch.device) -> None:
    clipped, keep = golden("box_coder.npz", "rpn_clip_600x800", f"rpn_keep_min{min_size}")
    boxes, counts = decode_one_by_one(600, 800, device, min_size=min_size)
    assert counts.nonzero().flatten().tolist() == keep.tolist()
    torch.testing.assert_close(boxes[keep], clipped[keep, 0], rtol=1e-6, atol=1e-4)  # exp differs by an ulp


def test_every_cpu_level_gives_the_same_bytes() -> None:
    code = """
import sys, torch, ops
from tests.ops.test_propose import CELLS, network_output
levels, options = network_output(2, [(40, 50), (20, 25)], seed=1), dict(pre_nms_top_n=900, post_nms_top_n=700)
for legacy in (False, True):
    for result in ops.propose(torch.tensor([[320, 400], [300, 390]]), CELLS.repeat(2, 1, 1), *levels,
                              strides=[8, 16], nms_threshold=0.5, legacy=legacy, **options):
        sys.stdout.buffer.write(result.numpy().tobytes())
"""
    (output,) = outputs_at_all_levels(code)
    assert len(output) == 2 * 2 * (700 * 20 + 8)


def test_opcheck(device: torch.device) -> None:
    arguments = to(device, [torch.tensor([[48, 40]]), CELLS.repeat(2, 1, 1), *network_output(1, [(6, 5), (3, 3)], 1)])
    torch.library.opcheck(torch.ops.maskrcnn.propose.default, tuple(arguments), OPTIONS | {"strides": [8, 16]})


def proposer(sizes: Tensor, cells: Tensor, *levels: Tensor) -> tuple[Tensor, ...]:
    options = OPTIONS | {"strides": [8, 16], "strides_from_grid": True}
    return *ops.propose(sizes, cells, *levels, **options), *ops.propose(sizes, cells, *levels, **options)


def test_traced_at_one_size_runs_at_others(device: torch.device) -> None:
    def arguments(images: int, height: int, width: int) -> list[Tensor]:
        levels = network_output(images, [(height, width), (height // 2, width // 2)], seed=height)
        return to(device, [torch.tensor([[height * 8, width * 8 - 3]] * images), CELLS.repeat(2, 1, 1), *levels])

    traced = torch.jit.trace(proposer, tuple(arguments(1, 4, 4)), check_trace=False)
    for shape in ((1, 4, 4), (3, 9, 6), (2, 21, 3), (1, 2, 2)):
        given = arguments(*shape)
        for result, expected in zip(traced(*given), proposer(*given), strict=True):  # the op is in the graph twice
            assert torch.equal(result, expected)


def test_scripts(device: torch.device) -> None:
    @torch.jit.script
    def scripted(sizes: Tensor, cells: Tensor, objectness: Tensor, deltas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return torch.ops.maskrcnn.propose(
            sizes, cells, objectness, deltas, strides=[8], pre_nms_top_n=50, post_nms_top_n=60, nms_threshold=0.6
        )

    given = to(device, [torch.tensor([[48, 40]]), CELLS[None], *network_output(1, [(6, 5)], seed=2)])
    for result, expected in zip(scripted(*given), ops.propose(*given, strides=[8], **OPTIONS), strict=True):
        assert torch.equal(result, expected)


SIZES, GRIDS = torch.tensor([[48, 40]]), network_output(1, [(6, 5), (3, 3)], seed=3)
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "image_sizes shape": ({"image_sizes": SIZES[0]}, "image_sizes must be (2, 2), got (2,)"),
    "images": ({"image_sizes": SIZES.repeat(2, 1)}, "objectness0 must be (2, 3, H, W), got (1, 3, 6, 5)"),
    "image_sizes dtype": ({"image_sizes": SIZES.int()}, "image_sizes must be int64, got Int"),
    "cell_anchors levels": ({"cell_anchors": CELLS[None]}, "cell_anchors must be (2, A, 4), got (1, 3, 4)"),
    "cell_anchors dtype": (
        {"cell_anchors": CELLS.repeat(2, 1, 1).double()},
        "cell_anchors must be float32, got Double",
    ),
    "objectness rank": ({"objectness1": GRIDS[2][0]}, "objectness1 must be (1, 3, H, W), got (3, 3, 3)"),
    "objectness anchors": ({"objectness1": GRIDS[2][:, :2]}, "objectness1 must be (1, 3, H, W), got (1, 2, 3, 3)"),
    "deltas channels": ({"deltas1": GRIDS[3][:, :8]}, "deltas1 must be (1, 12, 3, 3), got (1, 8, 3, 3)"),
    "deltas grid": ({"deltas0": GRIDS[3]}, "deltas0 must be (1, 12, 6, 5), got (1, 12, 3, 3)"),
    "dtype": (
        {"deltas0": GRIDS[1].half()},
        "objectness0 and deltas0 must be both float32, float16 or bfloat16, got Float and Half",
    ),
    "half a level": ({"deltas1": None}, "objectness1 and deltas1 must be given together, got one of them"),
    "a gap": (
        {"objectness1": None, "deltas1": None, "objectness2": GRIDS[2], "deltas2": GRIDS[3]},
        "objectness1 must be given before objectness2, got None",
    ),
    "strides": ({"strides": [8]}, "strides must be 2 numbers, got 1"),
    "stride 0": ({"strides": [8, 0]}, "strides must be in [1, 2^20), got 0"),
    "pre_nms_top_n": ({"pre_nms_top_n": -1}, "pre_nms_top_n must be >= 0, got -1"),
    "post_nms_top_n": ({"post_nms_top_n": -1}, "post_nms_top_n must be >= 0, got -1"),
    "nms_threshold": ({"nms_threshold": NAN}, "nms_threshold must be a number, got NaN"),
    "min_size": ({"min_size": NAN}, "min_size must be a number, got NaN"),
    "score_threshold": ({"score_threshold": NAN}, "score_threshold must be a number, got NaN"),
    "three weights": ({"box_weights": [1.0] * 3}, "box_weights must be 4 numbers (x, y, width, height), got 3"),
    "weight 0": ({"box_weights": [1.0, 0.0, 1.0, 1.0]}, "box_weights must be positive, got 0"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_arguments(changes: dict[str, Any], message: str, device: torch.device) -> None:
    names = ["image_sizes", "cell_anchors", "objectness0", "deltas0", "objectness1", "deltas1"]
    arguments = dict(zip(names, [SIZES, CELLS.repeat(2, 1, 1), *GRIDS], strict=True))
    arguments |= OPTIONS | {"strides": [8, 16]} | changes
    placed = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in arguments.items()}
    with pytest.raises(RuntimeError) as error:
        ops.propose(**placed)
    assert str(error.value) == f"propose: {message}"


def test_refuses_gradients(device: torch.device) -> None:
    given = to(device, [SIZES, CELLS.repeat(2, 1, 1), *GRIDS])
    with pytest.raises(RuntimeError, match="propose: an input requires grad"):
        ops.propose(*given[:3], given[3].requires_grad_(), *given[4:], strides=[8, 16], **OPTIONS)
