"""resize_normalize against torch's interpolate, Pillow itself and the three frameworks' own results."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import ops
from tests.ops.cpu_levels import outputs_at_all_levels

GOLDEN = Path(__file__).parents[1] / "golden"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RAW: dict[str, Any] = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "divisor": 1.0}
FILTERS = ["bilinear", "pillow"]
# Of values up to 2.6, where float32 steps by 2.4e-7 and torch may fuse what we round twice. The place in the source of
# a pixel PyTorch 2.13 rounds once, as we do, and 2.15 twice: they differ by up to 3e-5 pixels, by up to 5 a pixel.
INTERPOLATE = 1e-6 if torch.__version__ < (2, 14) else 1e-4

CASES = {  # height, width -> height, width
    "up": (30, 41, 64, 87),
    "down": (97, 64, 40, 31),
    "down_far": (400, 300, 7, 5),
    "up_far": (3, 5, 211, 170),
    "identity": (24, 31, 24, 31),
    "one_axis_only": (24, 31, 24, 60),
    "one_pixel_in": (1, 1, 9, 12),
    "one_pixel_out": (13, 17, 1, 1),
    "one_row_in": (1, 40, 20, 30),
    "one_column_in": (40, 1, 20, 30),
    "flat_to_tall": (3, 333, 250, 2),
    "tall_to_flat": (333, 3, 2, 250),  # Pillow shortens the columns first
    "tall_shrinks": (300, 40, 100, 20),  # here too
    "twice_as_many_rows_as_columns_lost": (100, 50, 80, 40),  # and here no longer
}


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    pixels = np.random.default_rng([height, width, seed]).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return torch.from_numpy(pixels)


def table(*sizes: tuple[int, int]) -> Tensor:
    return torch.tensor(sizes, dtype=torch.int64).reshape(-1, 2)


def resize(image: Tensor, height: int, width: int, **options: Any) -> Tensor:
    """One picture on a canvas of its own size, (3, height, width) on the CPU."""
    options = {"mean": MEAN, "std": STD} | options
    return ops.resize_normalize([image], table((height, width)), height, width, **options)[0].cpu()


def interpolated(image: Tensor, height: int, width: int, mean: Sequence[float] = MEAN) -> Tensor:
    """``bilinear`` by torch, (3, height, width)."""
    planes = image.cpu().permute(2, 0, 1).float() / 255
    planes = (planes - torch.tensor(mean).reshape(3, 1, 1)) / torch.tensor(STD).reshape(3, 1, 1)
    return F.interpolate(planes[None], size=(height, width), mode="bilinear", align_corners=False)[0]


def pillow_resized(image: Tensor, height: int, width: int) -> Tensor:
    """``pillow`` by Pillow, (height, width, 3) uint8."""
    resized = Image.fromarray(image.cpu().numpy()).resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized))


def random_cases(count: int) -> list[list[int]]:
    sides = np.exp(np.random.default_rng(0).uniform(0, np.log(300), (count, 4)))
    return sides.astype(int).tolist()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_bilinear_matches_interpolate(case: tuple[int, int, int, int], device: torch.device) -> None:
    image = picture(*case[:2])
    resized = resize(image.to(device), *case[2:])
    torch.testing.assert_close(resized, interpolated(image, *case[2:]), rtol=0, atol=INTERPOLATE)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_pillow_is_bit_exact(case: tuple[int, int, int, int], device: torch.device) -> None:
    image = picture(*case[:2])
    resized = resize(image.to(device), *case[2:], filter="pillow", **RAW)
    assert torch.equal(resized.permute(1, 2, 0), pillow_resized(image, *case[2:]).float())


def test_random_sizes_match_both_references() -> None:
    for height, width, to_height, to_width in random_cases(300):
        image = picture(height, width)
        message = f"{height} x {width} -> {to_height} x {to_width}"
        bilinear, expected = resize(image, to_height, to_width), interpolated(image, to_height, to_width)
        assert (bilinear - expected).abs().max() <= INTERPOLATE, message
        exact = resize(image, to_height, to_width, filter="pillow", **RAW).permute(1, 2, 0)
        assert torch.equal(exact, pillow_resized(image, to_height, to_width).float()), message


@pytest.mark.parametrize("extreme", [0, 255])
def test_pillow_keeps_flat_pictures_flat(extreme: int) -> None:
    image = torch.full((500, 700, 3), extreme, dtype=torch.uint8)
    assert (resize(image, 33, 41, filter="pillow", **RAW) == extreme).all()


def test_pillow_normalises_the_rounded_pixels() -> None:
    image = picture(60, 80)
    pixels = pillow_resized(image, 45, 50).permute(2, 0, 1).float()
    expected = (pixels / 255 - torch.tensor(MEAN).reshape(3, 1, 1)) / torch.tensor(STD).reshape(3, 1, 1)
    assert torch.equal(resize(image, 45, 50, filter="pillow"), expected)


@pytest.mark.parametrize("index", range(4))
def test_torchvision_transform(index: int) -> None:
    golden = np.load(GOLDEN / "transform.npz")
    height, width = golden[f"single_{index}_size"].tolist()
    expected = torch.from_numpy(golden[f"single_{index}"])
    # The golden's pictures are floats in [0, 1): four base-256 digits, resized each for itself, add up to them.
    digits = (golden[f"image_{index}"].astype(np.float64) * 256**4).astype(np.uint32).view(np.uint8)
    digits = torch.from_numpy(digits.reshape(*golden[f"image_{index}"].shape, 4)).permute(3, 1, 2, 0)
    total = torch.zeros_like(expected, dtype=torch.float64)
    for place in range(4):
        mean = MEAN if place == 3 else (0.0, 0.0, 0.0)
        options: dict[str, Any] = {"mean": mean, "std": STD, "divisor": 256.0 ** (4 - place)}
        total += ops.resize_normalize([digits[place]], table((height, width)), *expected.shape[2:], **options)
    torch.testing.assert_close(total.float(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("index", range(4))
def test_preprocessing_of_the_three_frameworks(index: int) -> None:
    golden = np.load(GOLDEN / "preprocess.npz")
    image = torch.from_numpy(golden[f"c{index}_in"])
    for framework in ("mb", "d2"):
        expected = torch.from_numpy(golden[f"c{index}_{framework}"])
        resized = resize(image, *expected.shape[:2], filter="pillow", **RAW)
        assert torch.equal(resized.permute(1, 2, 0), expected.float())
    expected = torch.from_numpy(golden[f"c{index}_tv_tensor"])[0]
    torch.testing.assert_close(resize(image, *expected.shape[1:]), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("filter", FILTERS)
def test_batch_lies_on_a_padded_canvas(filter: str, device: torch.device) -> None:
    images = [picture(50, 70), picture(90, 40), picture(1, 1)]
    sizes = [(40, 56), (64, 28), (5, 3)]
    canvas = ops.resize_normalize(
        [image.to(device) for image in images], table(*sizes), 64, 96, mean=MEAN, std=STD, filter=filter
    )
    assert canvas.shape == (3, 3, 64, 96)
    assert canvas.device.type == device.type
    assert canvas.is_contiguous(memory_format=torch.channels_last)
    for plane, image, (height, width) in zip(canvas.cpu(), images, sizes, strict=True):
        assert torch.equal(plane[:, :height, :width], resize(image, height, width, filter=filter))
        assert plane[:, height:].count_nonzero() == plane[:, :, width:].count_nonzero() == 0


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_nothing(filter: str, threads: int) -> None:
    images, sizes = [picture(300, 200), picture(10, 10), picture(400, 500)], table((400, 267), (1, 1), (300, 375))
    before = torch.get_num_threads()
    expected = ops.resize_normalize(images, sizes, 400, 400, mean=MEAN, std=STD, filter=filter)
    try:
        torch.set_num_threads(threads)
        assert torch.equal(ops.resize_normalize(images, sizes, 400, 400, mean=MEAN, std=STD, filter=filter), expected)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_float32_rounded_once(filter: str, dtype: torch.dtype, device: torch.device) -> None:
    image = picture(50, 61)
    half = resize(image.to(device), 77, 93, filter=filter, dtype=dtype)
    assert half.dtype == dtype
    assert torch.equal(half, resize(image.to(device), 77, 93, filter=filter).to(dtype))


@pytest.mark.parametrize("filter", FILTERS)
def test_bgr_swaps_the_outer_channels(filter: str, device: torch.device) -> None:
    image = picture(40, 50).to(device)
    swapped = resize(image, 30, 35, filter=filter, bgr=True, mean=MEAN[::-1], std=STD[::-1])
    assert torch.equal(swapped, resize(image, 30, 35, filter=filter).flip(0))


def views() -> dict[str, Tensor]:
    base = picture(120, 130)
    return {
        "crop": base[11:90, 7:101],
        "every_other": base[::2, ::3],
        "transposed": base.transpose(0, 1),
        "planes": base.permute(2, 0, 1).contiguous().permute(1, 2, 0),
        "rgba": torch.cat([base, base[..., :1]], dim=2)[..., :3],
        "grey": base[..., :1].expand(-1, -1, 3),
        "one_row_repeated": base[:1].expand(50, -1, -1),
    }


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize("name", views().keys())
def test_any_strides(name: str, filter: str, device: torch.device) -> None:
    view = views()[name].to(device)
    assert torch.equal(resize(view, 45, 52, filter=filter), resize(view.contiguous(), 45, 52, filter=filter))


@pytest.mark.parametrize("filter", FILTERS)
def test_views_of_one_upload(filter: str, device: torch.device) -> None:
    images, sizes = [picture(20, 30), picture(17, 9), picture(1, 2)], table((30, 45), (34, 18), (4, 8))
    upload = torch.cat([image.flatten() for image in images]).to(device)
    parts = upload.split([image.numel() for image in images])
    members = [part.view(image.shape) for part, image in zip(parts, images, strict=True)]
    canvas = ops.resize_normalize(members, sizes.t().contiguous().t(), 40, 50, mean=MEAN, std=STD, filter=filter)
    expected = ops.resize_normalize(images, sizes, 40, 50, mean=MEAN, std=STD, filter=filter)
    assert torch.equal(canvas.cpu(), expected)


@pytest.mark.parametrize("filter", FILTERS)
def test_more_pictures_than_one_launch_takes(filter: str, device: torch.device) -> None:
    sizes = [(1 + 7 * i % 40, 1 + 11 * i % 40) for i in range(33)]
    images = [picture(1 + 5 * i % 30, 1 + 3 * i % 30, seed=i) for i in range(33)]
    options: dict[str, Any] = {"mean": MEAN, "std": STD, "filter": filter, "dtype": torch.bfloat16}
    canvas = ops.resize_normalize([image.to(device) for image in images], table(*sizes), 40, 40, **options).cpu()
    for plane, image, (height, width) in zip(canvas, images, sizes, strict=True):
        assert torch.equal(plane[:, :height, :width], resize(image, height, width, filter=filter, dtype=torch.bfloat16))


@pytest.fixture
def filled_memory() -> Iterator[None]:
    """Fresh tensors hold NaN, so that what an op forgets to write shows."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert torch.empty(1).isnan()
    yield
    torch.use_deterministic_algorithms(False)


# On either side of what a GPU writes at once: 4 or 8 pixels, a tile of 32 columns and 8 rows.
@pytest.mark.usefixtures("filled_memory")
@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 1), (7, 31), (8, 32), (9, 33), (17, 36), (16, 72), (24, 101)], ids=str)
def test_every_pixel_of_a_canvas_is_written(
    shape: tuple[int, int], dtype: torch.dtype, filter: str, device: torch.device
) -> None:
    image, (height, width) = picture(19, 23), ((shape[0] + 1) // 2, shape[1] - shape[1] // 3)
    sizes, options = table((height, width), shape), {"mean": MEAN, "std": STD, "filter": filter, "dtype": dtype}
    canvas = ops.resize_normalize([image.to(device)] * 2, sizes, *shape, **options).cpu().float()
    expected = torch.zeros(2, 3, *shape)
    expected[0, :, :height, :width] = resize(image, height, width, filter=filter).to(dtype)
    expected[1] = resize(image, *shape, filter=filter).to(dtype)
    assert torch.equal(canvas, expected)


def test_no_picture_gives_an_empty_canvas() -> None:
    canvas = ops.resize_normalize([], table(), 32, 64, mean=MEAN, std=STD)
    assert canvas.shape == (0, 3, 32, 64)


IMAGE = picture(8, 9)
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "float": ({"images": [IMAGE.float()]}, r"images\[0\] must be \(H, W, 3\) uint8, got \(8, 9, 3\) Float"),
    "planes_first": (
        {"images": [IMAGE, IMAGE.permute(2, 0, 1)], "sizes": table((8, 9), (8, 9))},
        r"images\[1\] must be \(H, W, 3\) uint8, got \(3, 8, 9\) Byte",
    ),
    "grey": ({"images": [IMAGE[..., 0]]}, r"images\[0\] must be \(H, W, 3\) uint8, got \(8, 9\) Byte"),
    "empty_picture": ({"images": [IMAGE[:0]]}, r"images\[0\] must have sides in \[1, 16777216\], got \(0, 9, 3\)"),
    "one_size_short": ({"images": [IMAGE, IMAGE]}, r"sizes must be \(2, 2\) int64 on the CPU, got \(1, 2\) Long"),
    "float_sizes": ({"sizes": table((8, 9)).float()}, r"sizes must be \(1, 2\) int64 on the CPU, got \(1, 2\) Float"),
    "zero_size": ({"sizes": table((0, 9))}, r"sizes\[0\] must be within \(1, 1\) and \(16, 16\), got \(0, 9\)"),
    "too_wide": ({"sizes": table((8, 17))}, r"sizes\[0\] must be within \(1, 1\) and \(16, 16\), got \(8, 17\)"),
    "no_canvas": ({"width": 0}, r"height and width must be in \[1, 16777216\], got 16 and 0"),
    "huge_canvas": ({"height": 2**40}, r"height and width must be in \[1, 16777216\], got 1099511627776 and 16"),
    "two_means": ({"mean": (0.5, 0.5)}, "mean must be 3 finite numbers, got 0.5 0.5"),
    "nan_mean": ({"mean": (0.5, float("nan"), 0.5)}, "mean must be 3 finite numbers, got 0.5 nan 0.5"),
    "zero_std": ({"std": (1.0, 0.0, 1.0)}, "std must be 3 finite numbers other than 0, got 1 0 1"),
    "zero_divisor": ({"divisor": 0.0}, "divisor must be finite and not 0, got 0"),
    "filter": ({"filter": "bicubic"}, "filter must be 'bilinear' or 'pillow', got 'bicubic'"),
    "dtype": ({"dtype": torch.float64}, "dtype must be float32, float16 or bfloat16, got Double"),
}


@pytest.mark.parametrize(("change", "text"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses_what_does_not_fit(change: dict[str, Any], text: str) -> None:
    fitting = {"images": [IMAGE], "sizes": table((8, 9)), "height": 16, "width": 16, "mean": MEAN, "std": STD}
    with pytest.raises(RuntimeError, match=f"^resize_normalize: {text}"):
        ops.resize_normalize(**fitting | change)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_opcheck(dtype: torch.dtype | None, device: torch.device) -> None:
    images = [picture(20, 30).to(device), picture(31, 22).to(device)]
    arguments = (images, table((16, 24), (32, 20)), 32, 32)
    torch.library.opcheck(
        torch.ops.maskrcnn.resize_normalize.default, arguments, {"mean": MEAN, "std": STD, "dtype": dtype}
    )


def on_canvas(image: Tensor, sizes: Tensor) -> Tensor:
    return ops.resize_normalize([image], sizes, 64, 64, mean=MEAN, std=STD)


def test_trace_holds_at_another_size(device: torch.device) -> None:
    traced = torch.jit.trace(on_canvas, (picture(20, 30).to(device), table((40, 60))))
    arguments = (picture(77, 41).to(device), table((64, 34)))
    for _ in range(3):  # the executor optimises between the calls
        assert torch.equal(traced(*arguments), on_canvas(*arguments))


def test_two_calls_in_one_trace(device: torch.device) -> None:
    def both(first: Tensor, second: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        return on_canvas(first, sizes), on_canvas(second, sizes)

    traced = torch.jit.trace(both, (picture(20, 30).to(device), picture(20, 30, 1).to(device), table((40, 60))))
    arguments = (picture(77, 41).to(device), picture(41, 77).to(device), table((64, 34)))
    for _ in range(3):
        for got, expected in zip(traced(*arguments), both(*arguments), strict=True):
            assert torch.equal(got, expected)


@pytest.fixture
def profiling_executor() -> Iterator[None]:
    """PyTorch's own choice, which merges equal lists; a worker's is the simple one (``handler/device.py``)."""
    before = torch._C._jit_set_profiling_mode(True)
    yield
    torch._C._jit_set_profiling_mode(before)


@pytest.mark.usefixtures("profiling_executor")
def test_two_calls_of_one_trace_with_the_same_pictures_raise() -> None:
    def twice(image: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        return on_canvas(image, sizes), ops.resize_normalize([image], sizes, 96, 96, mean=MEAN, std=STD)

    arguments = (picture(20, 30), table((40, 60)))
    traced = torch.jit.trace(twice, arguments, check_trace=False)
    with pytest.raises(RuntimeError, match=r"images\[0\] must be a tensor, got none: two calls of one graph"):
        traced(*arguments)


@torch.jit.script
def scripted(images: list[Tensor], sizes: Tensor) -> Tensor:
    return torch.ops.maskrcnn.resize_normalize(
        images, sizes, 64, 64, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225], filter="pillow", bgr=True
    )


def test_script(device: torch.device) -> None:
    images, sizes = [picture(20, 30).to(device), picture(50, 40).to(device)], table((40, 60), (64, 51))
    expected = ops.resize_normalize(images, sizes, 64, 64, mean=MEAN, std=STD, filter="pillow", bgr=True)
    for _ in range(3):
        assert torch.equal(scripted(images, sizes), expected)


def test_every_cpu_level_computes_the_same_bits() -> None:
    code = """
import sys, torch, ops
generator = torch.Generator().manual_seed(0)
images = [torch.randint(0, 256, (*s, 3), dtype=torch.uint8, generator=generator) for s in ((90, 70), (300, 40), (5, 9))]
sizes = torch.tensor([[77, 61], [100, 33], [100, 90]])
for filter in ("bilinear", "pillow"):
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        out = ops.resize_normalize(
            images, sizes, 101, 97, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), filter=filter, dtype=dtype
        )
        sys.stdout.buffer.write(out.contiguous().view(torch.uint8).numpy().tobytes())
"""
    outputs = outputs_at_all_levels(code)
    assert len(outputs) == 1
    assert len(outputs.pop()) == 2 * 3 * 3 * 101 * 97 * (4 + 2 + 2)
