"""ops.encode_rle, byte for byte against pycocotools over the planes of ops.paste_masks."""

import numpy
import pytest
import torch
from pycocotools import mask as coco
from torch import Tensor

import ops
from tests.ops.cpu_levels import outputs_at_all_levels
from tests.ops.mask_cases import BOXES, INF, NAN, NOTHING, random_boxes, random_probs

# (height, width): one pixel, one row, one column, smaller and larger than the mask, tall, wide
IMAGE_SIZES = [(1, 1), (1, 50), (50, 1), (9, 13), (40, 60), (133, 97), (900, 5), (7, 1200)]


def reference(
    probs: Tensor, boxes: Tensor, image_sizes: Tensor, thresholds: Tensor, rule: str, inclusive: bool
) -> list[bytes]:
    strings = []
    for row, (height, width) in enumerate(image_sizes.tolist()):
        mask, box = probs[row : row + 1], boxes[row : row + 1]
        (plane,) = ops.paste_masks(mask, box, height, width, float(thresholds[row]), rule=rule, inclusive=inclusive)
        strings.append(coco.encode(numpy.asfortranarray(plane.numpy().astype(numpy.uint8)))["counts"])
    return strings


def strings_of(counts: Tensor, offsets: Tensor) -> list[bytes]:
    text, ends = counts.cpu().numpy().tobytes(), offsets.tolist()
    assert ends[0] == 0
    assert ends[-1] == len(text)
    return [text[begin:end] for begin, end in zip(ends, ends[1:], strict=False)]


def encode(probs: Tensor, boxes: Tensor, size: tuple[int, int], threshold: float = 0.5) -> list[bytes]:
    image_sizes = torch.tensor(size, device=probs.device).repeat(len(probs), 1)
    thresholds = torch.full((len(probs),), threshold, device=probs.device)
    return strings_of(*ops.encode_rle(probs, boxes, image_sizes, thresholds))


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("rule", ["exact", "integer"])
@pytest.mark.parametrize("size", [1, 2, 14, 28, 112])
def test_random_masks(size: int, rule: str, inclusive: bool, device: torch.device) -> None:
    generator = torch.Generator().manual_seed(size)
    image_sizes = torch.tensor(IMAGE_SIZES).repeat(60, 1)[torch.randperm(480, generator=generator)]
    boxes, probs = random_boxes(image_sizes, generator), random_probs(480, size, generator)
    thresholds = torch.tensor([0.5, 0.5, 0.5, 0.05, 0.95])[torch.arange(480) % 5]
    arguments = probs, boxes, image_sizes, thresholds
    counts, offsets = ops.encode_rle(*(tensor.to(device) for tensor in arguments), rule=rule, inclusive=inclusive)
    assert strings_of(counts, offsets) == reference(*arguments, rule, inclusive)
    assert counts.dtype == torch.uint8
    assert offsets.dtype == torch.int64


@pytest.mark.parametrize("threshold", [0.5, 1.0, 0.0, -1.0, INF, -INF, NAN])
@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("rule", ["exact", "integer"])
def test_named_boxes(rule: str, inclusive: bool, threshold: float, device: torch.device) -> None:
    boxes = torch.tensor([*sum(BOXES.values(), []), *NOTHING.values()])
    generator = torch.Generator().manual_seed(7)
    for probs in (torch.ones(len(boxes), 14, 14), random_probs(len(boxes), 28, generator)):
        arguments = probs, boxes, torch.tensor([[40, 60]] * len(boxes)), torch.full((len(boxes),), threshold)
        counts, offsets = ops.encode_rle(*(tensor.to(device) for tensor in arguments), rule=rule, inclusive=inclusive)
        assert strings_of(counts, offsets) == reference(*arguments, rule, inclusive)


@pytest.mark.parametrize(
    ("probability", "size", "box", "string"),
    [
        (0.0, (4, 5), [0, 0, 5, 4], b"d0"),  # 20 zeros: 10100 has the sign's bit set, so a group of 0 follows
        (1.0, (4, 5), [-50, -40, 55, 44], b"0d0"),  # no zero, 20 ones
        (1.0, (1, 1), [-50, -50, 51, 51], b"01"),
        (1.0, (4, 6), [2, -40, 4, 44], b"888"),  # 8 zeros, 8 ones: the run goes on over two columns
        (1.0, (4, 6), [2, 1, 4, 3], b"92207"),  # 9 zeros, 2 ones, 2 zeros, 2 - 2 ones, 9 - 2 zeros
    ],
)
def test_strings_by_hand(
    probability: float, size: tuple[int, int], box: list[float], string: bytes, device: torch.device
) -> None:
    probs = torch.full((1, 28, 28), probability, device=device)
    assert encode(probs, torch.tensor([box], dtype=torch.float32, device=device), size) == [string]


def test_no_instance(device: torch.device) -> None:
    assert encode(torch.zeros(0, 28, 28, device=device), torch.zeros(0, 4, device=device), (4, 5)) == []


def test_the_largest_image(device: torch.device) -> None:
    # Its counts need 32 bits, the last of the second string as a difference. By hand, a mask of one cell: column
    # 30000 has 1, its neighbours 0; columns 30000 and 30001 have 3/4, so rows from 2/5 = 17000 to 53000.
    boxes = torch.tensor([[30000.0, -1e6, 30001, 1e6], [30000, 20000, 30002, 50000]], device=device)
    strings = encode(torch.ones(2, 1, 1, device=device), boxes, (65535, 65535), 0.3)
    masks = [{"size": [65535, 65535], "counts": string} for string in strings]
    assert coco.toBbox(masks).tolist() == [[30000, 0, 1, 65535], [30000, 17000, 2, 36000]]
    assert coco.area(masks).tolist() == [65535, 72000]


def test_probabilities_on_both_sides_of_the_threshold_by_one_bit(device: torch.device) -> None:
    # Interpolation rounds, so between two cells just below the threshold it may be reached.
    generator = torch.Generator().manual_seed(9)
    steps = torch.randint(-2, 3, (200, 6, 6), generator=generator, dtype=torch.int32)
    probs = (torch.tensor(0.7).view(torch.int32) + steps).view(torch.float32)
    probs[torch.rand(200, 6, 6, generator=generator) < 0.3] = 0.1
    image_sizes = torch.tensor([[150, 90]] * 200)
    boxes, thresholds = random_boxes(image_sizes, generator), torch.full((200,), 0.7)
    for inclusive in (False, True):
        counts, offsets = ops.encode_rle(
            *(tensor.to(device) for tensor in (probs, boxes, image_sizes, thresholds)), inclusive=inclusive
        )
        expected = reference(probs, boxes, image_sizes, thresholds, "exact", inclusive)
        assert strings_of(counts, offsets) == expected


@pytest.mark.parametrize(
    ("rows", "length"),
    [
        ([1, 1, 1], 2),  # no zero, one run
        ([1, 0, 1], 2 * 701),  # what ends a column begins the next: 701 runs, as many counts of zeros
        ([0, 1, 1], 2 * 700),
        ([1, 1, 0], 2 * 700 + 1),  # no zero at the beginning, but at the end
    ],
)
def test_runs_that_touch_from_column_to_column(rows: list[int], length: int, device: torch.device) -> None:
    # 700 columns: runs touch within a block's round of columns and from one round to the next.
    probs = torch.tensor(rows).float().reshape(1, 3, 1).repeat(1, 1, 3)
    arguments = probs, torch.tensor([[-1000.0, -3, 2000, 12]]), torch.tensor([[9, 700]]), torch.tensor([0.5])
    counts, offsets = ops.encode_rle(*(tensor.to(device) for tensor in arguments))
    assert strings_of(counts, offsets) == reference(*arguments, "exact", True)
    assert (counts < 48 + 32).sum() == length  # without the bit for "more"


def test_long_strings(device: torch.device) -> None:
    # Noise: more bytes than a GPU's scratch memory holds for an instance, and more flips than a block takes at once.
    generator = torch.Generator().manual_seed(11)
    arguments = (
        torch.rand(2, 28, 28, generator=generator),
        torch.tensor([[-20.0, -20, 900, 140], [3, 5, 50, 50]]),
        torch.tensor([[120, 800], [60, 70]]),
        torch.tensor([0.5, 0.5]),
    )
    counts, offsets = ops.encode_rle(*(tensor.to(device) for tensor in arguments))
    strings = strings_of(counts, offsets)
    assert strings == reference(*arguments, "exact", True)
    assert len(strings[0]) > 8192


def test_the_widest_image(device: torch.device) -> None:
    boxes, sizes = torch.tensor([[100.5, 0, 65400, 2]]), torch.tensor([[2, 65535]])
    arguments = torch.rand(1, 5, 5, generator=torch.Generator().manual_seed(12)), boxes, sizes, torch.tensor([0.4])
    counts, offsets = ops.encode_rle(*(tensor.to(device) for tensor in arguments))
    assert strings_of(counts, offsets) == reference(*arguments, "exact", True)


def test_many_instances(device: torch.device) -> None:
    # More than the threads of one block, which sums the lengths.
    generator = torch.Generator().manual_seed(13)
    image_sizes = torch.tensor([[5, 7], [1, 1], [3, 2]]).repeat(350, 1)
    boxes, probs = random_boxes(image_sizes, generator), torch.rand(1050, 2, 2, generator=generator)
    arguments = probs, boxes, image_sizes, torch.full((1050,), 0.4)
    counts, offsets = ops.encode_rle(*(tensor.to(device) for tensor in arguments))
    assert strings_of(counts, offsets) == reference(*arguments, "exact", True)


def test_strided_views(device: torch.device) -> None:
    generator = torch.Generator().manual_seed(4)
    image_sizes = torch.tensor(IMAGE_SIZES)
    probs = torch.rand(8, 14, 14, 2, generator=generator)[..., 1].transpose(1, 2)
    boxes = random_boxes(image_sizes, generator).repeat_interleave(2, 0)[::2]
    views = probs, boxes, image_sizes.flip(1).contiguous().flip(1), torch.full((1,), 0.5).expand(8)
    counts, offsets = ops.encode_rle(*(tensor.to(device) for tensor in views))
    assert strings_of(counts, offsets) == reference(*views, "exact", True)


def test_every_cpu_level_gives_the_same_bytes() -> None:
    code = """
import sys, torch, ops
from tests.ops.mask_cases import random_boxes, random_probs
generator = torch.Generator().manual_seed(5)
image_sizes = torch.tensor([[397, 631], [31, 17]]).repeat(50, 1)
for rule in ("exact", "integer"):
    for size in (1, 14, 28):
        boxes, probs = random_boxes(image_sizes, generator), random_probs(100, size, generator)
        for tensor in ops.encode_rle(probs, boxes, image_sizes, torch.full((100,), 0.5), rule=rule):
            sys.stdout.buffer.write(tensor.numpy().tobytes())
"""
    (output,) = outputs_at_all_levels(code)
    assert len(output) > 2 * 3 * 101 * 8 + 50_000


def test_opcheck(device: torch.device) -> None:
    arguments = (
        torch.rand(3, 14, 14, device=device),
        torch.tensor([[3.0, 2, 11, 9]] * 3, device=device),
        torch.tensor([[12, 17]] * 3, device=device),
        torch.full((3,), 0.5, device=device),
    )
    torch.library.opcheck(torch.ops.maskrcnn.encode_rle.default, arguments, {"rule": "integer"})


def arguments_of(count: int, size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    image_sizes = torch.tensor([40, 60]).repeat(count, 1)
    probs, boxes = torch.rand(count, size, size, generator=generator), random_boxes(image_sizes, generator)
    return probs.to(device), boxes.to(device), image_sizes.to(device), torch.full((count,), 0.5, device=device)


def test_traced_at_one_size_runs_at_others(device: torch.device) -> None:
    def twice(probs: Tensor, boxes: Tensor, sizes: Tensor, thresholds: Tensor) -> tuple[Tensor, ...]:
        # on the same inputs in one graph
        return ops.encode_rle(probs, boxes, sizes, thresholds) + ops.encode_rle(probs, boxes, sizes, thresholds)

    traced = torch.jit.trace(twice, arguments_of(2, 14, device))
    for count, size in ((0, 14), (1, 28), (9, 5)):
        arguments = arguments_of(count, size, device)
        expected = ops.encode_rle(*arguments) * 2
        for actual, wanted in zip(traced(*arguments), expected, strict=True):
            assert torch.equal(actual, wanted)


def test_scripts(device: torch.device) -> None:
    @torch.jit.script
    def scripted(probs: Tensor, boxes: Tensor, sizes: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ops.maskrcnn.encode_rle(probs, boxes, sizes, thresholds, rule="integer", inclusive=False)

    arguments = arguments_of(9, 14, device)
    counts, offsets = ops.encode_rle(*arguments, rule="integer", inclusive=False)
    actual = scripted(*arguments)
    assert torch.equal(actual[0], counts)
    assert torch.equal(actual[1], offsets)


P, B, S, T = torch.zeros(3, 14, 14), torch.zeros(3, 4), torch.full((3, 2), 9), torch.zeros(3)
TALL, FLAT = torch.tensor([[9, 9], [65536, 9], [9, 9]]), torch.tensor([[9, 9], [9, 9], [9, 0]])
WILD = torch.tensor([[9, 9], [2**63 - 1, -(2**63)], [-1, 2**32 + 9]])
WRONG = {
    "probs rank": ((P[0], B, S, T), "probs must be (N, M, M) with M > 0, got (14, 14)"),
    "probs dtype": ((P.double(), B, S, T), "probs must be float32, got Double"),
    "boxes count": ((P, B[:2], S, T), "boxes must be (3, 4), got (2, 4)"),
    "boxes dtype": ((P, B.half(), S, T), "boxes must be float32, got Half"),
    "sizes count": ((P, B, S[:1], T), "image_sizes must be (3, 2), got (1, 2)"),
    "sizes rank": ((P, B, S[0], T), "image_sizes must be (3, 2), got (2,)"),
    "sizes dtype": ((P, B, S.int(), T), "image_sizes must be int64, got Int"),
    "too tall": ((P, B, TALL, T), "image_sizes must be from 1 to 65535, got (65536, 9) in row 1"),
    "no width": ((P, B, FLAT, T), "image_sizes must be from 1 to 65535, got (9, 0) in row 2"),
    "no sizes": ((P, B, WILD, T), f"image_sizes must be from 1 to 65535, got ({2**63 - 1}, {-(2**63)}) in row 1"),
    "thresholds count": ((P, B, S, T[:2]), "thresholds must be (3,), got (2,)"),
    "thresholds rank": ((P, B, S, T[:, None]), "thresholds must be (3,), got (3, 1)"),
    "thresholds dtype": ((P, B, S, T.double()), "thresholds must be float32, got Double"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_arguments(arguments: tuple[Tensor, ...], message: str, device: torch.device) -> None:
    with pytest.raises(RuntimeError) as error:
        ops.encode_rle(*(tensor.to(device) for tensor in arguments))
    assert str(error.value) == f"encode_rle: {message}"


def test_wrong_rule(device: torch.device) -> None:
    with pytest.raises(RuntimeError) as error:
        ops.encode_rle(*(tensor.to(device) for tensor in (P, B, S, T)), rule="nearest")
    assert str(error.value) == "encode_rle: rule must be 'exact' or 'integer', got 'nearest'"


def test_refuses_gradients(device: torch.device) -> None:
    probs = torch.zeros(3, 14, 14, device=device, requires_grad=True)
    with pytest.raises(RuntimeError, match="encode_rle: an input requires grad"):
        ops.encode_rle(probs, *(tensor.to(device) for tensor in (B, S, T)))
