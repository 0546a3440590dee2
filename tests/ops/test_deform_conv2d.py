"""ops.deform_conv2d against its definition, against an ordinary convolution, and the ways a model may call it."""

import math
import subprocess
import sys
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, grid_sample

import ops
from tests.ops.cpu_levels import outputs_at_all_levels

NAN, INF = math.nan, math.inf
HALVES = (torch.float16, torch.bfloat16)
FAR = 1e6  # in cells: outside any map here


@dataclass(frozen=True)
class Case:
    """Shapes of a call, and how far its offsets reach, in cells."""

    images: int = 2
    channels: int = 6
    outputs: int = 4
    size: tuple[int, int] = (7, 9)
    kernel: tuple[int, int] = (3, 3)
    groups: int = 1
    offset_groups: int = 1
    stride: int = 1
    padding: int = 1
    dilation: int = 1
    masked: bool = False
    biased: bool = False
    reach: float = 2.0

    @property
    def steps(self) -> dict[str, int]:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}

    @property
    def out_size(self) -> tuple[int, int]:
        sides = zip(self.size, self.kernel, strict=True)
        height, width = (
            (side + 2 * self.padding - self.dilation * (taps - 1) - 1) // self.stride + 1 for side, taps in sides
        )
        return height, width

    def make(self, dtype: torch.dtype = torch.float32, seed: int = 3) -> dict[str, Tensor]:
        """The tensors of the call by name; sums come out near 1."""
        generator = torch.Generator().manual_seed(seed)
        taps, inputs = math.prod(self.kernel), self.channels // self.groups
        fields, out = self.offset_groups * taps, self.out_size
        made = {
            "features": torch.randn(self.images, self.channels, *self.size, generator=generator),
            "weight": torch.randn(self.outputs, inputs, *self.kernel, generator=generator) / math.sqrt(inputs * taps),
            "offset": torch.randn(self.images, 2 * fields, *out, generator=generator) * self.reach,
        }
        if self.masked:
            made["mask"] = torch.rand(self.images, fields, *out, generator=generator)
        if self.biased:
            made["bias"] = torch.randn(self.outputs, generator=generator)
        return {name: value.to(dtype) for name, value in made.items()}


def on(device: torch.device, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.to(device) for name, value in tensors.items()}


def run(tensors: dict[str, Tensor], case: Case) -> Tensor:
    return ops.deform_conv2d(**tensors, **case.steps)  # type: ignore[arg-type]


def positions(count: int, tap: int, case: Case) -> Tensor:
    return (torch.arange(count) * case.stride - case.padding + tap * case.dilation).double()


def sample(features: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """(N, C, H, W) at (N, H', W') places in cells; grid_sample counts from -1 to 1 between the outer edges."""
    height, width = features.shape[2:]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    return grid_sample(features, grid, align_corners=False)


def reference(tensors: dict[str, Tensor], case: Case) -> Tensor:
    """Tap by tap: the map sampled for each offset group, times the mask, through a 1x1 convolution; in float64."""
    given = {name: value.double() for name, value in tensors.items()}
    (height, width), parts = case.out_size, (case.images, case.offset_groups)
    shifts = given["offset"].nan_to_num(FAR, FAR, -FAR).view(*parts, math.prod(case.kernel), 2, height, width)
    masks = given["mask"].view(*parts, -1, height, width) if case.masked else torch.ones_like(shifts[:, :, :, 0])
    split = given["features"].view(math.prod(parts), -1, *case.size)
    total = torch.zeros(case.images, case.outputs, height, width).double()
    for tap in range(math.prod(case.kernel)):
        row, column = divmod(tap, case.kernel[1])
        y = positions(height, row, case)[:, None] + shifts[:, :, tap, 0]
        x = positions(width, column, case) + shifts[:, :, tap, 1]
        sampled = sample(split, y.flatten(0, 1), x.flatten(0, 1)).view(*parts, -1, height, width)
        sampled = (sampled * masks[:, :, tap, None]).view(case.images, -1, height, width)
        weight = given["weight"][:, :, row : row + 1, column : column + 1]
        total += conv2d(sampled, weight, groups=case.groups)
    return total + given["bias"].view(-1, 1, 1) if case.biased else total


CASES = {
    "version 1": Case(),
    "version 2": Case(masked=True),
    "bias": Case(masked=True, biased=True),
    "32 groups": Case(channels=64, outputs=32, groups=32, biased=True),
    "groups of vectors": Case(channels=32, outputs=6, groups=2, offset_groups=4, masked=True),
    "two offset groups": Case(offset_groups=2, masked=True),
    "offset groups across groups": Case(channels=12, groups=2, offset_groups=3, masked=True),
    "an offset group for each channel": Case(offset_groups=6),
    "stride 2": Case(stride=2, masked=True),
    "dilation 2": Case(dilation=2, padding=2),
    "an uneven kernel": Case(kernel=(2, 5), padding=2, stride=3),
    "kernel 1x1": Case(kernel=(1, 1), padding=0),
    "no padding": Case(padding=0),
    "wide padding": Case(padding=4),
    "map 1x1": Case(size=(1, 1), reach=0.5),
    "map 1xW": Case(size=(1, 9)),
    "far offsets": Case(reach=1e4, biased=True),
    "one channel, one output": Case(channels=1, outputs=1),
    "more vectors than a warp has lanes": Case(images=1, channels=136, size=(3, 4)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_named_cases(case: Case, device: torch.device) -> None:
    tensors = case.make()
    found = run(on(device, tensors), case)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.cpu(), reference(tensors, case).float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ["version 1", "bias", "groups of vectors", "32 groups", "stride 2"])
def test_halves(name: str, dtype: torch.dtype, device: torch.device) -> None:
    tensors = CASES[name].make(dtype)
    found = run(on(device, tensors), CASES[name])
    assert found.dtype == dtype
    last_bit = torch.finfo(dtype).eps  # of sums near 1; a GPU rounds samples and the sum before the bias too
    torch.testing.assert_close(
        found.cpu().double(), reference(tensors, CASES[name]), rtol=2 * last_bit, atol=3 * last_bit
    )


@pytest.mark.parametrize("dtype", HALVES)
def test_the_cpu_rounds_halves_once(dtype: torch.dtype) -> None:
    case = CASES["bias"]
    tensors = case.make(dtype)
    exact = run({name: value.float() for name, value in tensors.items()}, case)
    assert torch.equal(run(tensors, case), exact.to(dtype))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_without_offsets_it_is_a_convolution(stride: int, groups: int, device: torch.device) -> None:
    case = Case(channels=16, outputs=10, groups=groups, stride=stride, biased=True, reach=0.0)
    tensors = case.make()
    expected = conv2d(tensors["features"], tensors["weight"], tensors["bias"], stride, 1, groups=groups)
    torch.testing.assert_close(run(on(device, tensors), case).cpu(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("y", "x", "expected"),
    [
        (0, 0, 1),  # rows 1 2 and 4 8
        (0, 0.5, 1.5),
        (0.25, 0, 0.75 * 1 + 0.25 * 4),
        (1, 1, 8),
        (-0.5, 0, 0.5),  # half of it outside
        (1.5, 1.5, 8 / 4),
        (-1, 0, 0),
        (0, -1, 0),
        (2, 0, 0),
        (0, 2, 0),
        (INF, 0, 0),
        (0, -INF, 0),
        (NAN, 0, 0),
        (0, NAN, 0),
        (1e30, 1e30, 0),
    ],
)
def test_one_sample(y: float, x: float, expected: float, device: torch.device) -> None:
    """Offsets of the cell in the top left corner, y first."""
    cells = torch.tensor([[1.0, 2], [4, 8]], device=device).view(1, 1, 2, 2)
    offset = torch.zeros(1, 2, 2, 2, device=device)
    offset[0, :, 0, 0] = torch.tensor([y, x])
    found = ops.deform_conv2d(cells, torch.ones(1, 1, 1, 1, device=device), offset)
    assert found.flatten().tolist() == [expected, 2, 4, 8]


def test_a_cell_beside_the_samples_is_not_read(device: torch.device) -> None:
    """Infinity times a share of 0 would be NaN: cells outside have no share, whatever lies there in memory."""
    wide = torch.full((1, 1, 3, 3), INF, device=device)
    wide[..., 1, 1] = 3.0
    offset = torch.tensor([-0.5, 0.5], device=device).view(1, 2, 1, 1)
    weight = torch.ones(1, 1, 1, 1, device=device)
    found = ops.deform_conv2d(wide[..., 1:2, 1:2], weight, offset, torch.full((1, 1, 1, 1), 2.0, device=device))
    assert found.item() == 3 * 0.25 * 2


def test_a_nan_in_an_offset_or_a_mask_stays_where_it_is(device: torch.device) -> None:
    case = Case(masked=True, biased=True)
    tensors = case.make()
    offset, mask = tensors["offset"], tensors["mask"]
    offset[0, 3, 2, 4], offset[1, 8, 1, 1] = NAN, INF
    expected = reference(tensors, case).float()
    mask[1, :, 6, 8] = NAN
    offset[1, :, 6, 8] = 0
    expected[1, :, 6, 8] = NAN
    torch.testing.assert_close(run(on(device, tensors), case).cpu(), expected, rtol=1e-5, atol=1e-5, equal_nan=True)


LAYOUTS = {
    "contiguous": lambda tensor: tensor,
    "channels last": lambda tensor: tensor.contiguous(memory_format=torch.channels_last),
    "transposed": lambda tensor: tensor.transpose(2, 3).contiguous().transpose(2, 3),
    "every other cell": lambda tensor: tensor.repeat_interleave(2, 3)[..., ::2],
    "a slice of channels": lambda tensor: torch.cat([-tensor, tensor, -tensor], 1)
    .contiguous(memory_format=torch.channels_last)[:, tensor.size(1) : 2 * tensor.size(1)],
    "batch last": lambda tensor: tensor.movedim(0, 3).contiguous().movedim(3, 0),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_any_layout(layout, dtype: torch.dtype, device: torch.device) -> None:  # type: ignore[no-untyped-def]
    case = Case(channels=16, masked=True, biased=True)
    tensors = on(device, case.make(dtype))
    expected = run(tensors, case)
    bias = tensors.pop("bias").repeat_interleave(2)[::2]
    found = run({"bias": bias, **{name: layout(value) for name, value in tensors.items()}}, case)
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shift", [1, 8])  # cells whose channels are not aligned for vectors, and cells that are
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
def test_reads_vectors_and_single_values_alike(
    dtype: torch.dtype, groups: int, shift: int, device: torch.device
) -> None:
    case = Case(channels=32, outputs=8, groups=groups, offset_groups=2, masked=True)
    tensors = on(device, case.make(dtype))
    features = tensors["features"]
    wide = torch.cat([features[:, :shift], features, features[:, : shift - 1]], 1)
    inside = wide.contiguous(memory_format=torch.channels_last)[:, shift : shift + 32]
    assert torch.equal(run(tensors | {"features": inside}, case), run(tensors, case))


def test_more_cells_than_are_sampled_at_once(device: torch.device) -> None:
    """18,432 columns a cell: 64 cells a step on the CPU, 1,024 on a GPU."""
    case = Case(images=1, channels=2048, outputs=2, size=(33, 33), reach=0.7)
    tensors = case.make()
    found = run(on(device, tensors), case)
    torch.testing.assert_close(found.cpu(), reference(tensors, case).float(), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_a_map_without_cells_is_all_padding(size: tuple[int, int], device: torch.device) -> None:
    case = Case(size=size, padding=2, masked=True, biased=True)
    tensors = on(device, case.make())
    bias = tensors["bias"]
    assert torch.equal(run(tensors, case), bias.view(1, -1, 1, 1).expand(2, -1, *case.out_size))


@pytest.mark.parametrize("case", [Case(images=0, masked=True, biased=True), Case(outputs=0, biased=True)])
def test_nothing_to_compute(case: Case, device: torch.device) -> None:
    assert run(on(device, case.make()), case).shape == (case.images, case.outputs, 7, 9)


def test_a_picture_does_not_depend_on_the_others() -> None:
    case = Case(images=3, channels=64, outputs=16, size=(20, 23), masked=True)
    tensors = case.make()
    alone = tensors | {name: tensors[name][1:2] for name in ("features", "offset", "mask")}
    assert torch.equal(run(alone, replace(case, images=1)), run(tensors, case)[1:2])


def test_every_cpu_level_samples_the_same_bytes() -> None:
    code = """
import sys, torch, ops
generator = torch.Generator().manual_seed(5)
offset = torch.randn(1, 18, 15, 16, generator=generator) * 3
for dtype in (torch.float32, torch.float16, torch.bfloat16):
    maps = torch.randn(1, 101, 15, 16, generator=generator).to(dtype)
    weight = torch.randn(7, 101, 3, 3, generator=generator).to(dtype)
    found = ops.deform_conv2d(maps, weight, offset.to(dtype), padding=1)
    sys.stdout.buffer.write(found.contiguous().view(torch.uint8).numpy().tobytes())
"""
    (output,) = outputs_at_all_levels(code)
    assert len(output) == 7 * 15 * 16 * (4 + 2 + 2)


def test_autocast_leaves_it_alone() -> None:
    case = Case(masked=True, biased=True)
    tensors = case.make()
    with torch.autocast("cpu", torch.bfloat16):
        inside = run(tensors, case)
    assert torch.equal(inside, run(tensors, case))


PLAIN = Case(channels=6, outputs=4, groups=2, offset_groups=2, masked=True, biased=True)
ERRORS = {
    r"features must be \(B, C, H, W\), got \(6, 7, 9\)": {"features": torch.zeros(6, 7, 9)},
    "features must be float32, float16 or bfloat16, got Double": {"features": torch.zeros(2, 6, 7, 9).double()},
    r"weight must be \(O, C / groups, kh, kw\) for 6 channels, got \(4, 4, 3, 3\)": {"weight": torch.zeros(4, 4, 3, 3)},
    r"weight must be \(O, C / groups, kh, kw\) for 6 channels, got \(4, 0, 3, 3\)": {"weight": torch.zeros(4, 0, 3, 3)},
    r"weight must be \(O, C / groups, kh, kw\) for 6 channels, got \(4, 54\)": {"weight": torch.zeros(4, 54)},
    r"weight must be \(O, C / groups, kh, kw\) for 0 channels, got .*": {"features": torch.zeros(2, 0, 7, 9)},
    "weight must have a multiple of 2 outputs, as many as its groups, got 5": {"weight": torch.zeros(5, 3, 3, 3)},
    "weight must be Float as the features are, got Half": {"weight": torch.zeros(4, 3, 3, 3).half()},
    "the weight's height must be from 1 to 32767, got 0": {"weight": torch.zeros(4, 3, 0, 3)},
    "the weight's width must be from 1 to 32767, got 0": {"weight": torch.zeros(4, 3, 3, 0)},
    "stride must be from 1 to 32767, got 0": {"stride": 0},
    "padding must be from 0 to 32767, got -1": {"padding": -1},
    "dilation must be from 1 to 32767, got 9223372036854775807": {"dilation": 2**63 - 1},
    "features must be at least as high as the kernel, 9 cells with its dilation, got 7 with the padding": {
        "padding": 0, "dilation": 4},
    "features must be at least as wide as the kernel, 3 cells with its dilation, got 2 with the padding": {
        "features": torch.zeros(2, 6, 7, 2), "padding": 0},
    r"offset must be \(2, 18 \* offset_groups, 7, 9\), got \(2, 36, 7, 8\)": {"offset": torch.zeros(2, 36, 7, 8)},
    r"offset must be \(2, 18 \* offset_groups, 7, 9\), got \(2, 27, 7, 9\)": {"offset": torch.zeros(2, 27, 7, 9)},
    r"offset must be \(2, 18 \* offset_groups, 7, 9\), got \(2, 0, 7, 9\)": {"offset": torch.zeros(2, 0, 7, 9)},
    r"offset must be \(2, 18 \* offset_groups, 7, 9\), got \(36, 7, 9\)": {"offset": torch.zeros(36, 7, 9)},
    "offset must have groups that share 6 channels evenly, got 4 groups": {"offset": torch.zeros(2, 72, 7, 9)},
    "offset must be Float as the features are, got BFloat16": {"offset": torch.zeros(2, 36, 7, 9).bfloat16()},
    r"mask must be \(2, 18, 7, 9\), got \(2, 9, 7, 9\)": {"mask": torch.zeros(2, 9, 7, 9)},
    r"mask must be \(2, 18, 7, 9\), got \(1, 18, 7, 9\)": {"mask": torch.zeros(1, 18, 7, 9)},
    "mask must be Float as the features are, got Double": {"mask": torch.zeros(2, 18, 7, 9).double()},
    r"bias must be \(4,\), got \(5,\)": {"bias": torch.zeros(5)},
    r"bias must be \(4,\), got \(4, 1\)": {"bias": torch.zeros(4, 1)},
    "bias must be Float as the features are, got Half": {"bias": torch.zeros(4).half()},
}  # fmt: skip


@pytest.mark.parametrize(("message", "wrong"), ERRORS.items(), ids=ERRORS.keys())
def test_says_what_is_wrong(message: str, wrong: dict[str, object], device: torch.device) -> None:
    given = {**PLAIN.make(), **PLAIN.steps, **wrong}
    moved = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in given.items()}
    with pytest.raises(RuntimeError, match=f"^deform_conv2d: {message}$"):
        ops.deform_conv2d(**moved)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["features", "weight", "offset", "mask", "bias"])
def test_refuses_gradients(name: str) -> None:
    tensors = PLAIN.make()
    tensors[name].requires_grad_()
    with pytest.raises(RuntimeError, match="deform_conv2d: an input requires grad"):
        run(tensors, PLAIN)
    with torch.no_grad():
        assert not run(tensors, PLAIN).requires_grad


def test_refuses_gradients_without_python() -> None:
    """A process that only loads the library has the op, but not what refuses gradients for all ops."""
    code = """
import sys, torch
torch.ops.load_library(sys.argv[1])
weight = torch.ones(1, 1, 1, 1, requires_grad=True)
torch.ops.maskrcnn.deform_conv2d(torch.ones(1, 1, 2, 2), weight, torch.zeros(1, 2, 2, 2))
"""
    done = subprocess.run([sys.executable, "-c", code, ops.LIBRARY], capture_output=True, text=True, check=False)
    assert "deform_conv2d: aten::mm failed: out of memory most likely, or an input requires grad" in done.stderr


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("case", [Case(), PLAIN, Case(images=0)], ids=["version 1", "version 2", "no picture"])
def test_opcheck(case: Case, memory_format: torch.memory_format, device: torch.device) -> None:
    tensors = on(device, case.make())
    features, *others = tensors.values()
    given = (features.contiguous(memory_format=memory_format), *others)
    torch.library.opcheck(torch.ops.maskrcnn.deform_conv2d.default, given, case.steps)


def test_a_trace_holds_at_another_size_and_in_two_calls(device: torch.device) -> None:
    def twice(features: Tensor, weight: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        once = ops.deform_conv2d(features, weight, offset, mask, padding=1)
        return once + ops.deform_conv2d(features, weight, offset, stride=1, padding=2, dilation=2)

    def given(case: Case) -> list[Tensor]:
        return list(on(device, case.make()).values())

    traced = torch.jit.trace(twice, given(Case(masked=True)))
    assert {node.kind() for node in traced.graph.nodes()} == {
        "prim::Constant", "maskrcnn::deform_conv2d", "aten::add"}  # fmt: skip
    for case in (Case(images=3, size=(12, 5), masked=True), Case(images=0, masked=True)):
        assert torch.equal(traced(*given(case)), twice(*given(case)))


def test_script(device: torch.device) -> None:
    def convolve(features: Tensor, weight: Tensor, offset: Tensor) -> Tensor:
        return torch.ops.maskrcnn.deform_conv2d(features, weight, offset, padding=1)

    tensors = on(device, Case().make())
    given = (tensors["features"], tensors["weight"], tensors["offset"])
    assert torch.equal(torch.jit.script(convolve)(*given), run(tensors, Case()))
