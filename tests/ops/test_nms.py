"""ops.nms against a loop over boxes, torchvision's own answers, and the ways a model may call it."""

import math
from pathlib import Path

import numpy
import pytest
import torch
from torch import Tensor

import ops
from tests.ops.cpu_levels import outputs_at_all_levels

GOLDEN = Path(__file__).parents[1] / "golden"
NAN = math.nan


def golden_cases(name: str) -> list[str]:
    with numpy.load(GOLDEN / name) as file:
        return sorted({key.rsplit("_", 1)[0] for key in file})


def golden_case(name: str, case: str) -> dict[str, Tensor]:
    with numpy.load(GOLDEN / name) as file:
        return {key.rsplit("_", 1)[1]: torch.from_numpy(file[key]) for key in file if key.rsplit("_", 1)[0] == case}


def ious(boxes: Tensor, box: Tensor, extra: float) -> Tensor:
    def area(corners: Tensor) -> Tensor:
        return (corners[..., 2] - corners[..., 0] + extra) * (corners[..., 3] - corners[..., 1] + extra)

    sides = (torch.minimum(boxes[:, 2:], box[2:]) - torch.maximum(boxes[:, :2], box[:2]) + extra).clamp(min=0)
    shared = sides[:, 0] * sides[:, 1]
    return shared / (area(boxes) + area(box) - shared)


def reference(
    boxes: Tensor,
    scores: Tensor,
    threshold: float,
    classes: Tensor | None = None,
    *,
    legacy: bool = False,
    inclusive: bool = False,
) -> list[int]:
    kept: list[int] = []
    removed = torch.zeros(len(boxes), dtype=torch.bool)
    ranks = scores.nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf)
    for i in torch.sort(ranks, descending=True, stable=True).indices.tolist():
        if removed[i]:
            continue
        kept.append(i)
        overlaps = ious(boxes, boxes[i], float(legacy)).double()
        hits = (overlaps > threshold) | ((overlaps == threshold) & inclusive)
        removed |= hits if classes is None else hits & (classes == classes[i])
    return kept


def random_boxes(count: int, seed: int, reach: float = 100.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * reach
    sides = torch.rand(count, 2, generator=generator) * 30
    return torch.cat([corners, corners + sides], 1), torch.rand(count, generator=generator)


CASES: dict[str, list[list[float]]] = {
    "none": [],
    "one": [[0, 0, 10, 10]],
    "one point, twice": [[3, 3, 3, 3], [3, 3, 3, 3]],  # IoU 0 / 0
    "inverted": [[10, 10, 0, 0], [0, 0, 10, 10], [1, 1, 9, 9]],
    "NaN in the best": [[0, NAN, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]],
    "NaN in a later one": [[0, 0, 10, 10], [0, 0, NAN, 10], [0, 0, 10, 10]],
    "infinite": [[-math.inf, 0, math.inf, 10], [0, 0, 10, 10], [0, 0, math.inf, math.inf]],
    "area past float32": [[0, 0, 1e30, 1e30], [0, 0, 1e30, 1e30]],
    "IoU exactly 1/2": [[0, 0, 10, 20], [0, 0, 10, 10]],
}


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("threshold", [-0.5, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("rows", CASES.values(), ids=CASES.keys())
def test_named_cases(
    rows: list[list[float]], threshold: float, legacy: bool, inclusive: bool, device: torch.device
) -> None:
    boxes, scores = torch.tensor(rows, dtype=torch.float32).reshape(-1, 4), torch.arange(len(rows), 0, -1).float()
    kept = ops.nms(boxes.to(device), scores.to(device), threshold, legacy=legacy, inclusive=inclusive)
    assert kept.tolist() == reference(boxes, scores, threshold, legacy=legacy, inclusive=inclusive)
    assert kept.dtype == torch.int64
    assert kept.device.type == device.type


@pytest.mark.parametrize("count", [63, 64, 65, 257, 1023, 1024, 1025])  # around the ends of lanes and blocks
@pytest.mark.parametrize("classes", [None, 1, 7])
def test_random_boxes(count: int, classes: int | None, device: torch.device) -> None:
    boxes, scores = random_boxes(count, seed=count)
    labels = None if classes is None else torch.arange(count) * 5 % classes - 3
    kept = ops.nms(boxes.to(device), scores.to(device), 0.3, None if labels is None else labels.to(device))
    assert kept.tolist() == reference(boxes, scores, 0.3, labels)


@pytest.mark.parametrize("count", [2048, 2049, 4500])  # around the strips of the CUDA kernels
@pytest.mark.parametrize("classes", [None, 3])
def test_many_boxes(count: int, classes: int | None, device: torch.device) -> None:
    boxes, scores = random_boxes(count, seed=count, reach=500)
    labels = None if classes is None else torch.arange(count) * 5 % classes << 40  # equal in the lower 32 bits
    kept = ops.nms(boxes.to(device), scores.to(device), 0.3, None if labels is None else labels.to(device))
    assert kept.tolist() == reference(boxes, scores, 0.3, labels)


def test_order_of_mixed_scores(device: torch.device) -> None:
    boxes = torch.arange(700.0)[:, None] * 10 + torch.tensor([0.0, 0, 4, 4])  # all apart
    values = torch.tensor([NAN, math.inf, -math.inf, -0.0, 0.0, 1e-45, -1e-45, -NAN, 3.4e38, 1, -1])
    scores = values[torch.randint(len(values), (700,), generator=torch.Generator().manual_seed(9))]
    assert ops.nms(boxes.to(device), scores.to(device), 0.5).tolist() == reference(boxes, scores, 0.5)


@pytest.mark.parametrize("case", golden_cases("nms.npz"))
def test_torchvision_nms(case: str, device: torch.device) -> None:
    golden = golden_case("nms.npz", case)
    kept = ops.nms(golden["boxes"].to(device), golden["scores"].to(device), float(golden["thr"]))
    assert torch.equal(kept.cpu(), golden["keep"])


@pytest.mark.parametrize("case", golden_cases("batched_nms.npz"))
def test_torchvision_batched_nms(case: str, device: torch.device) -> None:
    golden = golden_case("batched_nms.npz", case)
    classes = golden["idxs"].to(device)
    kept = ops.nms(golden["boxes"].to(device), golden["scores"].to(device), float(golden["thr"]), classes).cpu()
    if case == "ties_vanilla":  # torchvision sorts equal scores here in no particular order
        assert torch.equal(golden["scores"][kept], golden["scores"][golden["keep"]])
        kept, golden["keep"] = kept.sort().values, golden["keep"].sort().values
    assert torch.equal(kept, golden["keep"])


def test_equal_scores_keep_the_lower_index_first(device: torch.device) -> None:
    boxes = torch.tensor([[0.0, 0, 9, 9], [50, 0, 59, 9], [0, 0, 9, 9]], device=device)
    assert ops.nms(boxes, torch.ones(3, device=device), 0.5).tolist() == [0, 1]


def test_nan_scores_rank_last_beside_minus_infinity(device: torch.device) -> None:
    boxes = torch.tensor([[0.0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]], device=device)
    assert ops.nms(boxes, torch.tensor([NAN, -math.inf, -1e30], device=device), 0.5).tolist() == [2, 0, 1]


def test_threshold_is_a_double(device: torch.device) -> None:
    boxes = torch.tensor([[0.0, 0, 30, 10], [0, 0, 10, 10]], device=device)  # IoU: float32 of 1/3, above the double
    scores = torch.tensor([2.0, 1.0], device=device)
    in_float32 = float(torch.tensor(1 / 3))
    assert ops.nms(boxes, scores, 1 / 3).tolist() == [0]
    assert ops.nms(boxes, scores, in_float32).tolist() == [0, 1]
    assert ops.nms(boxes, scores, in_float32, inclusive=True).tolist() == [0]
    assert ops.nms(boxes, scores, math.inf, inclusive=True).tolist() == [0, 1]


def test_strided_views(device: torch.device) -> None:
    boxes, scores = random_boxes(90, seed=2)
    classes = torch.arange(90) % 3
    wide = torch.stack([boxes, -boxes], 2).to(device)  # (90, 4, 2): the last axis is not the box
    kept = ops.nms(
        wide[:, :, 0], scores.repeat_interleave(2).to(device)[::2], 0.3, classes.repeat(2).to(device).view(2, 90)[1]
    )
    assert kept.tolist() == reference(boxes, scores, 0.3, classes)


def test_every_cpu_level_gives_the_same_bytes() -> None:
    code = """
import sys, torch, ops
generator = torch.Generator().manual_seed(5)
corners = torch.rand(3000, 2, generator=generator) * 300
boxes = torch.cat([corners, corners + torch.rand(3000, 2, generator=generator) * 40], 1)
for legacy in (False, True):
    kept = ops.nms(boxes, torch.rand(3000, generator=generator), 0.4, legacy=legacy)
    sys.stdout.buffer.write(kept.numpy().tobytes())
"""
    (output,) = outputs_at_all_levels(code)
    assert len(output) > 8 * 500


@pytest.mark.parametrize("with_classes", [False, True])
def test_opcheck(with_classes: bool, device: torch.device) -> None:
    boxes, scores = random_boxes(20, seed=3)
    classes = (torch.arange(20, device=device) % 2,) if with_classes else ()
    arguments = (boxes.to(device), scores.to(device), 0.5, *classes)
    torch.library.opcheck(torch.ops.maskrcnn.nms.default, arguments)


def test_traced_at_one_size_runs_at_others(device: torch.device) -> None:
    boxes, scores = (tensor.to(device) for tensor in random_boxes(5, seed=4))
    traced = torch.jit.trace(lambda x, y: (ops.nms(x, y, 0.5), ops.nms(x, y, 0.5)), (boxes, scores))
    for count in (0, 1, 300):
        boxes, scores = (tensor.to(device) for tensor in random_boxes(count, seed=count))
        for kept in traced(boxes, scores):  # the op called twice on the same inputs in one graph
            assert torch.equal(kept, ops.nms(boxes, scores, 0.5))


def test_scripts(device: torch.device) -> None:
    @torch.jit.script
    def scripted(boxes: Tensor, scores: Tensor, classes: Tensor) -> Tensor:
        return torch.ops.maskrcnn.nms(boxes, scores, 0.5, classes, legacy=True)

    boxes, scores = (tensor.to(device) for tensor in random_boxes(80, seed=6))
    classes = torch.arange(80, device=device) % 2
    assert torch.equal(scripted(boxes, scores, classes), ops.nms(boxes, scores, 0.5, classes, legacy=True))


BOXES, SCORES, CLASSES = torch.zeros(3, 4), torch.zeros(3), torch.zeros(3, dtype=torch.int64)
WRONG = {
    "boxes rank": ((BOXES[0], SCORES, 0.5), "nms: boxes must be (N, 4), got (4,)"),
    "boxes width": ((BOXES[:, :3], SCORES, 0.5), "nms: boxes must be (N, 4), got (3, 3)"),
    "boxes dtype": ((BOXES.double(), SCORES, 0.5), "nms: boxes must be float32, got Double"),
    "scores length": ((BOXES, SCORES[:2], 0.5), "nms: scores must be (3,), got (2,)"),
    "scores rank": ((BOXES, SCORES[:, None], 0.5), "nms: scores must be (3,), got (3, 1)"),
    "scores dtype": ((BOXES, SCORES.half(), 0.5), "nms: scores must be float32, got Half"),
    "classes length": ((BOXES, SCORES, 0.5, CLASSES[:1]), "nms: classes must be (3,), got (1,)"),
    "classes dtype": ((BOXES, SCORES, 0.5, CLASSES.int()), "nms: classes must be int64, got Int"),
    "threshold": ((BOXES, SCORES, NAN), "nms: iou_threshold must be a number, got NaN"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_arguments(arguments: tuple[Tensor, ...], message: str, device: torch.device) -> None:
    placed = [value.to(device) if isinstance(value, Tensor) else value for value in arguments]
    with pytest.raises(RuntimeError) as error:
        ops.nms(*placed)
    assert str(error.value) == message


def test_refuses_gradients(device: torch.device) -> None:
    boxes, scores = (tensor.to(device) for tensor in random_boxes(4, seed=7))
    with pytest.raises(RuntimeError, match="nms: an input requires grad"):
        ops.nms(boxes.requires_grad_(), scores, 0.5)
