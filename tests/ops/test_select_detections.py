"""ops.select_detections against plain tensor code, torchvision's box coding, and the ways a model may call it."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import ops
from tests.ops.cpu_levels import outputs_at_all_levels
from tests.ops.test_propose import clip, decode, golden, to

NAN, INF = math.nan, math.inf
OPTIONS: dict[str, Any] = {
    "score_threshold": 0.05,
    "nms_threshold": 0.5,
    "max_detections": 20,
    "box_weights": [10.0, 10.0, 5.0, 5.0],
}
Rows = tuple[Tensor, Tensor, Tensor, Tensor]  # boxes, scores, labels, proposal rows


def class_scores_of(logits: Tensor, activation: str) -> Tensor:
    if activation == "softmax":
        return logits.float().softmax(1)
    return logits.float().sigmoid() if activation == "sigmoid" else logits.float()


def deltas_of(box_deltas: Tensor, classes: int, label: int, background_first: bool) -> Tensor:
    columns = box_deltas.shape[1]
    if columns == 4:
        return box_deltas.float()
    first = label - 1 if background_first and columns == 4 * (classes - 1) else label
    return box_deltas[:, 4 * first : 4 * first + 4].float()


def reference_image(
    scores: Tensor,
    box_deltas: Tensor,
    proposals: Tensor,
    image_size: Sequence[int],
    *,
    score_threshold: float,
    nms_threshold: float,
    max_detections: int,
    box_weights: Sequence[float],
    background_first: bool = True,
    min_size: float = 0.0,
    legacy: bool = False,
    inclusive: bool = False,
) -> Rows:
    classes, found = scores.shape[1], []
    for label in range(1, classes) if background_first else range(classes - 1):
        deltas = deltas_of(box_deltas, classes, label, background_first)
        boxes = clip(decode(proposals, deltas, box_weights, float(legacy)), *image_size, float(legacy))
        keep = (boxes[:, 2:] - boxes[:, :2] + float(legacy) >= min_size).all(1) & (scores[:, label] > score_threshold)
        rows = keep.nonzero().flatten()
        rows = rows[ops.nms(boxes[rows], scores[rows, label], nms_threshold, legacy=legacy, inclusive=inclusive)]
        found += [(-float(scores[row, label]), int(row), label, boxes[row]) for row in rows]
    found = sorted(found, key=lambda detection: detection[:3])[:max_detections]
    boxes = torch.stack([box for *_, box in found]) if found else torch.zeros(0, 4)
    columns = [torch.tensor([detection[i] for detection in found]) for i in range(3)]
    return boxes, -columns[0].float(), columns[2].long(), columns[1].long()


def reference(
    class_scores: Tensor,
    box_deltas: Tensor,
    proposals: Tensor,
    counts: Tensor,
    image_sizes: Tensor,
    *,
    activation: str = "softmax",
    **options: Any,
) -> list[Rows]:
    per_image, results = proposals.shape[1], []
    for image, (count, size) in enumerate(zip(counts.tolist(), image_sizes.tolist(), strict=True)):
        rows = slice(image * per_image, image * per_image + min(max(count, 0), per_image))
        scores = class_scores_of(class_scores[rows], activation)
        boxes = proposals[image, : rows.stop - rows.start]
        results.append(reference_image(scores, box_deltas[rows], boxes, size, **options))
    return results


def head_output(
    images: int, rows: int, classes: int, columns: int, seed: int = 0, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(images, rows, 2, generator=generator) * 150
    sides = torch.rand(images, rows, 2, generator=generator) * 60 + 2
    logits = torch.randn(images * rows, classes, generator=generator) * 2
    deltas = torch.randn(images * rows, columns, generator=generator)
    counts = torch.arange(rows, rows - images, -1)
    sizes = torch.tensor([[180, 200], [150, 190], [40, 50]])[torch.arange(images) % 3]
    return [logits.to(dtype), deltas.to(dtype), torch.cat([corners, corners + sides], 2), counts, sizes]


def assert_selects(device: torch.device, given: Sequence[Tensor], **options: Any) -> None:
    boxes, scores, labels, rows, counts = (t.cpu() for t in ops.select_detections(*to(device, given), **options))
    expected = reference(*given, **options)
    most = options["max_detections"]
    assert [tuple(t.shape) for t in (boxes, scores, labels, rows)] == [
        (len(expected), most, 4),
        *[(len(expected), most)] * 3,
    ]
    assert counts.tolist() == [len(image[1]) for image in expected]
    for image, (box, score, label, row) in enumerate(expected):
        count = len(score)
        torch.testing.assert_close(boxes[image, :count], box, rtol=1e-5, atol=1e-4)  # exp differs by an ulp
        torch.testing.assert_close(scores[image, :count], score, rtol=1e-5, atol=1e-7)  # and so does the sum
        assert torch.equal(labels[image, :count], label)
        assert torch.equal(rows[image, :count], row)
        assert not any(result[image, count:].any() for result in (boxes, scores, labels, rows))


CONVENTIONS: dict[str, dict[str, Any]] = {
    "torchvision": {"min_size": 1e-2},
    "detectron2": {"background_first": False},
    "maskrcnn-benchmark": {"legacy": True, "inclusive": True},
    "sigmoid": {"activation": "sigmoid", "background_first": False, "score_threshold": 0.3},
    "none": {"activation": "none", "score_threshold": -1.0},
    "weights and sides": {"box_weights": [9.0, 8.0, 4.0, 3.0], "min_size": 20.0},
    "more wanted than there are": {"max_detections": 500},
    "everything above the threshold": {"score_threshold": -1.0, "max_detections": 500},  # several helpings
    "nothing above it": {"score_threshold": 1.0},
    "none wanted": {"max_detections": 0},
}


@pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=CONVENTIONS.keys())
@pytest.mark.parametrize("columns", [32, 28, 4], ids=["all classes", "no background", "agnostic"])
def test_conventions(convention: dict[str, Any], columns: int, device: torch.device) -> None:
    for images in (1, 3):
        assert_selects(device, head_output(images, 70, 8, columns, seed=images), **OPTIONS | convention)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dtypes(dtype: torch.dtype, device: torch.device) -> None:
    # Few logits: halves tie, and of equal scores the order is fixed.
    assert_selects(device, head_output(2, 30, 5, 20, seed=4, dtype=dtype), **OPTIONS)


def test_strided_views(device: torch.device) -> None:
    logits, deltas, *rest = head_output(2, 30, 5, 20, seed=5)
    fused = torch.cat([logits, deltas], 1)  # one linear layer for both
    assert_selects(device, [fused[:, :5], fused[:, 5:], *rest], **OPTIONS)
    rest[0] = rest[0].mT.contiguous().mT
    assert_selects(device, [logits.T.contiguous().T, deltas.T.contiguous().T, *rest], **OPTIONS)


@pytest.mark.parametrize("count", [-3, 0, 1, 9, 10, 11, 1 << 40])
def test_counts(count: int, device: torch.device) -> None:
    logits, deltas, proposals, _, sizes = head_output(1, 10, 4, 16, seed=6)
    assert_selects(device, [logits, deltas, proposals, torch.tensor([count]), sizes], **OPTIONS)


@pytest.mark.parametrize("images", [0, 2])
@pytest.mark.parametrize("rows", [0, 5])
def test_no_images_or_no_proposals(images: int, rows: int, device: torch.device) -> None:
    assert_selects(device, head_output(images, rows, 4, 16), **OPTIONS)


def test_background_alone(device: torch.device) -> None:
    assert_selects(device, head_output(1, 5, 1, 4), **OPTIONS)


@pytest.mark.parametrize("most", [1, 33, 100, 5000])
def test_more_candidates_than_are_sorted_at_a_time(most: int, device: torch.device) -> None:
    """Of 11,700 candidates of 39 classes, all must be looked at where most overlap and many are wanted."""
    _, *given = head_output(2, 300, 40, 4, seed=8)
    scores = torch.randperm(600 * 40, generator=torch.Generator().manual_seed(9)).view(600, 40) / (600 * 40)  # no ties
    options = {"score_threshold": -1.0, "nms_threshold": 0.1, "max_detections": most, "activation": "none"}
    assert_selects(device, [scores, *given], **OPTIONS | options)


def select_rows(
    device: torch.device,
    scores: Tensor,
    proposals: Tensor,
    deltas: Tensor | None = None,
    width: int = 100,
    **options: Any,
) -> list[Tensor]:
    """The detections of one image, from scores as they are and boxes as they are."""
    deltas = torch.zeros(len(proposals), 4) if deltas is None else deltas
    given = [scores, deltas, proposals[None], torch.tensor([len(proposals)]), torch.tensor([[100, width]])]
    results = ops.select_detections(*to(device, given), **OPTIONS | {"activation": "none"} | options)
    count = int(results[4])
    return [result[0, :count].cpu() for result in results[:4]]


APART = torch.tensor([[0.0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]])


def test_equal_scores_go_by_row_then_label(device: torch.device) -> None:
    _, _, labels, rows = select_rows(device, torch.full((3, 3), 0.5), APART)
    assert rows.tolist() == [0, 0, 1, 1, 2, 2]
    assert labels.tolist() == [1, 2] * 3


def row_of_boxes(count: int, step: float) -> Tensor:
    """Boxes of width 10, each `step` to the right of the one before."""
    left = torch.arange(count) * step
    return torch.stack([left, left * 0, left + 10, left * 0 + 10], 1)


def test_equal_scores_of_many(device: torch.device) -> None:
    """More of them than are sorted at a time, and the last one does not fit."""
    scores, boxes = torch.full((450, 4), 0.5), row_of_boxes(450, 11.0)
    _, _, labels, rows = select_rows(device, scores, boxes, width=10000, max_detections=3 * 450 - 1)
    assert rows.tolist() == [row for row in range(450) for _ in range(3)][:-1]
    assert labels.tolist() == ([1, 2, 3] * 450)[:-1]


@pytest.mark.parametrize("most", [30, 2000])
def test_a_suppressed_box_suppresses_nothing(most: int, device: torch.device) -> None:
    """Each box overlaps its neighbours only, so that every other one stays, however long the row."""
    scores = torch.stack([torch.zeros(1300), torch.linspace(1, 0.1, 1300)], 1)
    *_, rows = select_rows(device, scores, row_of_boxes(1300, 3.0), width=10000, max_detections=most)
    assert rows.tolist() == list(range(0, 1300, 2))[:most]


def test_classes_leave_each_other_alone(device: torch.device) -> None:
    heap = torch.tensor([[0.0, 0, 20, 20], [0, 0, 20, 19], [0, 0, 20, 18]])
    _, scores, labels, rows = select_rows(device, torch.tensor([[0, 0.9, 0.6], [0, 0.8, 0.7], [0, 0.5, 0.4]]), heap)
    assert list(zip(labels.tolist(), rows.tolist(), strict=True)) == [(1, 0), (2, 1)]
    assert scores.tolist() == pytest.approx([0.9, 0.7])


@pytest.mark.parametrize("inclusive", [False, True])
def test_overlap_on_the_threshold(inclusive: bool, device: torch.device) -> None:
    halves = torch.tensor([[0.0, 0, 10, 20], [0, 0, 10, 10]])
    *_, rows = select_rows(device, torch.tensor([[0, 0.9], [0, 0.8]]), halves, inclusive=inclusive)
    assert rows.tolist() == ([0] if inclusive else [0, 1])


def test_nan_scores_and_nan_boxes_are_dropped(device: torch.device) -> None:
    deltas = torch.zeros(3, 4)
    deltas[1, 2] = NAN
    *_, rows = select_rows(device, torch.tensor([[0, NAN], [0, 0.9], [0, 0.8]]), APART, deltas)
    assert rows.tolist() == [2]


@pytest.mark.parametrize("poison", [NAN, INF])
def test_softmax_of_an_overflown_row_is_nan(poison: float, device: torch.device) -> None:
    logits = torch.tensor([[0.0, 1.0], [0, poison], [-INF, 200.0]])
    _, scores, _, rows = select_rows(device, logits, APART, activation="softmax")
    assert rows.tolist() == [2, 0]
    assert scores.tolist() == pytest.approx([1, 1 / (1 + 1 / math.e)])


def test_threshold_itself_is_not_above(device: torch.device) -> None:
    *_, rows = select_rows(device, torch.tensor([[0, 0.5], [0, 0.5000001], [0, 0.4]]), APART, score_threshold=0.5)
    assert rows.tolist() == [1]


def test_infinite_growth_stays_in_the_image(device: torch.device) -> None:
    deltas = torch.tensor([[0, 0, INF, INF], [0, 0, -INF, -INF], [INF, 0, 0, 0]])  # clamped; a point; off the image
    boxes, *_, rows = select_rows(device, torch.tensor([[0, 0.9], [0, 0.8], [0, 0.7]]), APART, deltas, min_size=1.0)
    assert rows.tolist() == [0]
    assert boxes.tolist() == [[0, 0, 100, 100]]


def decode_goldens(size: Sequence[int], device: torch.device, **options: Any) -> dict[tuple[int, int], Tensor]:
    """torchvision's codes of four classes over its boxes: the detections by proposal row and class."""
    codes, boxes, weights = golden("box_coder.npz", "box_codes", "box_boxes", "box_weights")
    given = [torch.ones(40, 5), codes, boxes[None], torch.tensor([40]), torch.tensor([list(size)])]
    results = ops.select_detections(
        *to(device, given), score_threshold=0.0, nms_threshold=INF, max_detections=200, box_weights=weights.tolist(),
        activation="none", background_first=True, **options,
    )  # fmt: skip
    found, _, labels, rows, counts = (result.cpu() for result in results)
    keys = zip(rows[0].tolist(), (labels[0] - 1).tolist(), strict=True)
    return dict(list(zip(keys, found[0], strict=True))[: int(counts)])


def test_torchvision_box_coder(device: torch.device) -> None:
    (expected,) = golden("box_coder.npz", "box_out")
    found = decode_goldens((1 << 40, 1 << 40), device, min_size=-INF)  # clipped at 0 only
    boxes = torch.stack([found[row, label] for row in range(40) for label in range(4)])
    torch.testing.assert_close(boxes, expected.view(-1, 4).clamp(min=0), rtol=1e-6, atol=1e-4)  # exp: an ulp


@pytest.mark.parametrize("min_size", [0.001, 0.01, 16.0])
def test_torchvision_clip_and_small_boxes(min_size: float, device: torch.device) -> None:
    clipped, keep = golden("box_coder.npz", "box_clip_600x800", f"box_keep_min{min_size}")
    found = decode_goldens((600, 800), device, min_size=min_size)
    assert sorted(row * 4 + label for row, label in found) == keep.tolist()
    for (row, label), box in found.items():
        torch.testing.assert_close(box, clipped[row, label], rtol=1e-6, atol=1e-4)  # exp differs by an ulp


@pytest.mark.parametrize("min_size", [0.001, 0.01])
def test_torchvision_remove_small_boxes(min_size: float, device: torch.device) -> None:
    boxes, keep = golden("box_coder.npz", "rsb_boxes", f"rsb_keep_{min_size}")
    scores = torch.ones(len(boxes), 2)
    *_, rows = select_rows(device, scores, boxes, min_size=min_size, nms_threshold=INF)
    assert rows.tolist() == keep.tolist()


def test_every_cpu_level_gives_the_same_bytes() -> None:
    code = """
import sys, ops
from tests.ops.test_select_detections import OPTIONS, head_output
for activation in ("softmax", "sigmoid"):
    for result in ops.select_detections(*head_output(2, 300, 21, 84), activation=activation, **OPTIONS):
        sys.stdout.buffer.write(result.numpy().tobytes())
"""
    (output,) = outputs_at_all_levels(code)
    assert len(output) == 2 * 2 * (20 * 36 + 8)


def test_opcheck(device: torch.device) -> None:
    arguments = tuple(to(device, head_output(2, 9, 4, 16)))
    torch.library.opcheck(torch.ops.maskrcnn.select_detections.default, arguments, OPTIONS)


def selector(*given: Tensor) -> tuple[Tensor, ...]:
    return *ops.select_detections(*given, **OPTIONS), *ops.select_detections(*given, **OPTIONS)


def test_traced_at_one_size_runs_at_others(device: torch.device) -> None:
    traced = torch.jit.trace(selector, tuple(to(device, head_output(1, 5, 4, 16))))
    for images, rows, classes in ((1, 5, 4), (3, 80, 4), (2, 0, 4), (2, 9, 7)):
        given = to(device, head_output(images, rows, classes, 4 * classes))
        for result, expected in zip(traced(*given), selector(*given), strict=True):  # the op is in the graph twice
            assert torch.equal(result, expected)


def test_scripts(device: torch.device) -> None:
    @torch.jit.script
    def scripted(
        scores: Tensor, deltas: Tensor, proposals: Tensor, counts: Tensor, sizes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        return torch.ops.maskrcnn.select_detections(
            scores, deltas, proposals, counts, sizes, score_threshold=0.05, nms_threshold=0.5, max_detections=20,
            box_weights=[10.0, 10.0, 5.0, 5.0], activation="sigmoid",
        )  # fmt: skip

    given = to(device, head_output(2, 40, 5, 20))
    expected = ops.select_detections(*given, activation="sigmoid", **OPTIONS)
    assert all(torch.equal(result, wanted) for result, wanted in zip(scripted(*given), expected, strict=True))


GIVEN = dict(
    zip(["class_scores", "box_deltas", "proposals", "counts", "image_sizes"], head_output(2, 3, 4, 16), strict=True)
)
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "class_scores rank": ({"class_scores": torch.zeros(6)}, "class_scores must be (6, C), got (6,)"),
    "class_scores rows": ({"class_scores": torch.zeros(5, 4)}, "class_scores must be (6, C), got (5, 4)"),
    "no class": ({"class_scores": torch.zeros(6, 0)}, "class_scores must be (6, C), got (6, 0)"),
    "box_deltas": (
        {"box_deltas": torch.zeros(6, 8)},
        "box_deltas must be (6, 16), (6, 12) or (6, 4), got (6, 8)",
    ),
    "dtype": (
        {"box_deltas": torch.zeros(6, 16).half()},
        "class_scores and box_deltas must be both float32, float16 or bfloat16, got Float and Half",
    ),
    "proposals": ({"proposals": torch.zeros(6, 4)}, "proposals must be (B, P, 4), got (6, 4)"),
    "proposals dtype": ({"proposals": torch.zeros(2, 3, 4).half()}, "proposals must be float32, got Half"),
    "counts": ({"counts": torch.zeros(3, dtype=torch.int64)}, "counts must be (2,), got (3,)"),
    "counts dtype": ({"counts": torch.zeros(2)}, "counts must be int64, got Float"),
    "image_sizes": ({"image_sizes": torch.zeros(2, 3).long()}, "image_sizes must be (2, 2), got (2, 3)"),
    "image_sizes dtype": ({"image_sizes": torch.zeros(2, 2)}, "image_sizes must be int64, got Float"),
    "activation": ({"activation": "tanh"}, "activation must be 'softmax', 'sigmoid' or 'none', got 'tanh'"),
    "max_detections": ({"max_detections": -1}, "max_detections must be >= 0, got -1"),
    "score_threshold": ({"score_threshold": NAN}, "score_threshold must be a number, got NaN"),
    "nms_threshold": ({"nms_threshold": NAN}, "nms_threshold must be a number, got NaN"),
    "min_size": ({"min_size": NAN}, "min_size must be a number, got NaN"),
    "box_weights": ({"box_weights": [1.0, 1, 1, -1]}, "box_weights must be positive, got -1"),
    "no box_weights": ({"box_weights": []}, "box_weights must be 4 numbers (x, y, width, height), got 0"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_arguments(changes: dict[str, Any], message: str, device: torch.device) -> None:
    arguments = GIVEN | OPTIONS | changes
    placed = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in arguments.items()}
    with pytest.raises(RuntimeError) as error:
        ops.select_detections(**placed)
    assert str(error.value) == f"select_detections: {message}"


def test_refuses_gradients(device: torch.device) -> None:
    logits, *rest = to(device, head_output(1, 3, 4, 16))
    with pytest.raises(RuntimeError, match="select_detections: an input requires grad"):
        ops.select_detections(logits.requires_grad_(), *rest, **OPTIONS)
