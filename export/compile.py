"""The one place that calls ``torch.export`` and AOTInductor: from a model to one ``model.pt2``.

Two programs of the very modules that are traced: ``explain``, whose answer holds that of ``detect``, so that no weight
is stored twice, and ``segment``. Batch, height, width and the number of detections stay open.
"""

import os
import platform
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

import ops
from export.errors import ExportError
from export.model import MaskRCNN
from export.trace import EXAMPLE_BOXES, EXAMPLE_CANVAS, EXAMPLE_SIZES, plain_arithmetic
from handler.compiled import EXPLAIN, SEGMENT
from handler.gpu.settings import DTYPES, Dtype
from handler.model_card import Compiled
from handler.processor import CPUINFO, instruction_sets

Runtime = Literal["trace", "aoti"]
CompiledDevice = Literal["cpu", "cuda"]

_OLDEST_PYTORCH = (2, 13)
_X86 = "x86_64"
# What the code may take for granted on x86: the psABI's level 3, every server since 2015 (AMD: 2017). AVX-512 gains
# nothing, for the convolutions are oneDNN's, which asks the processor when it runs.
_LEVEL = "x86-64-v3"
_LEVEL_3 = ("abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe")
# oneDNN refuses layers in bfloat16 without these, and where they are the compiler calls it.
_FOR_BFLOAT16 = ("avx512bw", "avx512dq", "avx512vl")
_OPTIONS: dict[str, Any] = {
    "aot_inductor.package": True,
    "aot_inductor.precompile_headers": False,  # they take longer than they save for two programs
    "aot_inductor.enable_line_tables": False,  # they would name paths of this machine
    "compile_threads": 1,
    "cpp.dynamic_threads": True,  # else that of this machine is part of the code
    "freezing": True,  # joins layers with what follows them: 0.8 times the time
}


@dataclass(frozen=True)
class Target:
    """What to compile for.

    Attributes:
        dtype: What it computes in.
        device: Where.
        side_divisor: Sides of a canvas are multiples of it (``size_divisor`` of the model card).
    """

    dtype: Dtype
    device: CompiledDevice
    side_divisor: int


def check_target(device: CompiledDevice, cpuinfo: Path = CPUINFO) -> None:
    """Refuse what this machine cannot compile, before the minutes of an export.

    Args:
        device: Of the target.
        cpuinfo: See ``handler.processor``.

    Raises:
        ExportError: See above; the text says what to do.
    """
    if tuple(map(int, torch.__version__.split(".")[:2])) < _OLDEST_PYTORCH:
        raise ExportError(
            f"--runtime aoti needs PyTorch {'.'.join(map(str, _OLDEST_PYTORCH))} or later, got {torch.__version__}: "
            "torch.export of older ones fixes sizes; export without --runtime aoti"
        )
    if device == "cuda" and not (torch.cuda.is_available() and ops.CUDA_LIBRARY.is_file()):
        raise ExportError(
            "--runtime aoti --device gpu: a package for GPUs is compiled on a machine with one, where `make ops` found "
            "nvcc; export there, or without --runtime aoti: a trace runs on either"
        )
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise ExportError(
            f"--runtime aoti needs a C++ compiler, and there is no {compiler}: install it (Debian: g++), name another "
            "one with CXX, or export without --runtime aoti; to serve, none is needed"
        )
    missing = set(_LEVEL_3) - instruction_sets(cpuinfo) if platform.machine() == _X86 else set()
    if missing:
        raise ExportError(
            f"--runtime aoti: this processor lacks {', '.join(sorted(missing))}; export on one of level {_LEVEL}, or "
            "without --runtime aoti"
        )


def compile_model(model: MaskRCNN, target: Target, path: Path) -> Compiled:
    """Compile the programs of a model into one package.

    Args:
        model: On the CPU, in float32; it is left as it is.
        target: Fits this machine (``check_target``).
        path: Where the package goes; ends in ``.pt2``. Beside it a folder is made for what the compiler writes.

    Returns:
        What the package is tied to.

    Raises:
        ExportError: PyTorch cannot export or compile the network.
    """
    dtype = DTYPES[target.dtype]
    moved = deepcopy(model).to(target.device, dtype)
    moved.region_parts = 1  # torch.export fixes the lengths of several; a C4 then takes 1 GB more for a picture
    moved.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with _refusals(), plain_arithmetic(), _cache_beside(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, about itself
        files = {name: _compiled(program) for name, program in _programs(moved, target, dtype).items()}
        from torch._inductor.package.package import package_aoti  # here: a trace does not need the seconds it takes

        package_aoti(str(path), files)
    return tied_to(target)


def tied_to(target: Target, cpuinfo: Path = CPUINFO) -> Compiled:
    """What a package of this machine is tied to.

    Args:
        target: What it was compiled for.
        cpuinfo: See ``handler.processor``.
    """
    found = instruction_sets(cpuinfo)
    if platform.machine() == _X86:
        halves = _FOR_BFLOAT16 if target.dtype == "bfloat16" and found.issuperset(_FOR_BFLOAT16) else ()
        needed = (*_LEVEL_3, *halves)
    else:
        needed = tuple(sorted(found))  # compiled with -march=native
    gpu = ".".join(map(str, torch.cuda.get_device_capability())) if target.device == "cuda" else ""
    return Compiled(str(torch.__version__), target.device, target.dtype, platform.machine(), needed, gpu)


class _Explain(nn.Module):
    """``explain`` as ``forward``: torch.export takes no other method."""

    def __init__(self, model: MaskRCNN) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        return self.model.explain(images, sizes)


class _Segment(nn.Module):
    """``segment`` as ``forward``."""

    def __init__(self, model: MaskRCNN) -> None:
        super().__init__()
        self.model = model

    def forward(self, boxes: Tensor, labels: Tensor, counts: Tensor, *levels: Tensor) -> Tensor:
        return self.model.segment(boxes, labels, counts, *levels)


def _programs(model: Any, target: Target, dtype: torch.dtype) -> dict[str, torch.export.ExportedProgram]:
    """Exported from an example whose coarsest level has two cells a side: one would be taken for a constant."""
    batch, _, *sides = EXAMPLE_CANVAS
    height, width = (-(-side // target.side_divisor) * target.side_divisor for side in sides)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 3, height, width, generator=generator).to(target.device, dtype)
    images = images.contiguous(memory_format=torch.channels_last)
    sizes = torch.tensor(EXAMPLE_SIZES, device=target.device)
    programs = {EXPLAIN: _exported(_Explain(model), (images, sizes), _dims_of_explain(target.side_divisor))}
    if model.mask_head is not None:
        levels = [level.contiguous(memory_format=torch.channels_last) for level in model.features(images)]
        rows = torch.tensor(EXAMPLE_BOXES), torch.ones(len(EXAMPLE_BOXES), dtype=torch.int64), torch.tensor([2, 1])
        inputs = (*(part.to(target.device) for part in rows), *levels[: model.levels])
        programs[SEGMENT] = _exported(_Segment(model), inputs, _dims_of_segment(model.levels))
    return programs


def _exported(module: nn.Module, inputs: tuple[Tensor, ...], dims: Any) -> torch.export.ExportedProgram:
    return torch.export.export(module.eval(), inputs, dynamic_shapes=dims, strict=False)


def _dims_of_explain(side_divisor: int) -> Any:
    batch, height, width = (torch.export.Dim(name, min=1) for name in ("batch", "height", "width"))
    if side_divisor == 1:  # PyTorch then wants more than one cell, which it need not have once it is compiled
        return {0: batch, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}, {0: batch}
    return {0: batch, 2: side_divisor * height, 3: side_divisor * width}, {0: batch}


def _dims_of_segment(levels: int) -> Any:
    """Levels of any sizes: the op that reads them asks each for its own."""
    rows, batch = torch.export.Dim("rows", min=0), torch.export.Dim("batch", min=1)
    sides = [
        (torch.export.Dim(f"height{level}", min=1), torch.export.Dim(f"width{level}", min=1)) for level in range(levels)
    ]
    return {0: rows}, {0: rows}, {0: batch}, tuple({0: batch, 2: height, 3: width} for height, width in sides)


def _compiled(program: torch.export.ExportedProgram) -> list[Any]:
    """The files of one program, without its sources, which would only name paths of this machine."""
    options = _OPTIONS | ({"cpp.march": _LEVEL, "cpp.simdlen": 256} if platform.machine() == _X86 else {})
    inputs = program.example_inputs
    if inputs is None:  # only of a program that was read from a file
        raise ExportError("the exported program has lost its example inputs; this is a bug, report it")
    files: Any = torch._inductor.aot_compile(program.module(), inputs[0], options=options)
    return [file for file in files if not str(file).endswith(".cpp")]


@contextmanager
def _cache_beside(path: Path) -> Iterator[None]:
    """Let the compiler write into a folder of its own: by default all weights would stay in the temporary one."""
    name, folder = "TORCHINDUCTOR_CACHE_DIR", path.with_suffix(".compiling")
    before = os.environ.get(name)
    os.environ[name] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _refusals() -> Iterator[None]:
    """PyTorch's compilers raise exceptions of many kinds; none of them is about the user's input."""
    try:
        yield
    except (ExportError, OSError, MemoryError):
        raise
    except Exception as error:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ExportError(
            f"PyTorch {torch.__version__} cannot compile this network: {said}; export it without --runtime aoti"
        ) from error
