"""A compiled model (``model.pt2``): whether it fits this worker, and its two programs under the methods of a trace.

It is loaded without ``torch._inductor``, which would ask for a C++ compiler to find out what the processor can do.
"""

import logging
import os
import platform
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

import ops  # noqa: F401 - first: the programs call them
from handler.device import DeviceError
from handler.gpu.settings import Graphs
from handler.model_card import Compiled
from handler.processor import CPUINFO, instruction_sets
from handler.setting_checks import check
from handler.settings import Settings

logger = logging.getLogger(__name__)

PACKAGE_FILE = "model.pt2"
EXPLAIN, SEGMENT = "explain", "segment"  # names of the programs in the file

_REASONS = 3  # of ``explain``, between the five tensors of ``detect`` and the levels
_AGAIN = f"export it again for this one, or without --runtime aoti ({PACKAGE_FILE} cannot be moved as a trace can)"


class CompiledModel:
    """The methods of a trace, from two programs; see ``export.model.detector`` for what they take and give."""

    def __init__(self, path: Path, device: torch.device, masks: bool) -> None:
        """Load a package that fits (``check_fits``).

        Args:
            path: Of the package.
            device: Where it computes.
            masks: Whether it has the program that finds them.
        """
        names = (EXPLAIN, SEGMENT) if masks else (EXPLAIN,)
        index = -1 if device.type == "cpu" else device.index
        with _unpacked_beside(path):
            self._programs = {
                name: torch._C._aoti.AOTIModelPackageLoader(str(path), name, False, 1, index) for name in names
            }

    def detect(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        """Find objects."""
        answer = self.explain(images, sizes)
        return (*answer[:5], *answer[5 + _REASONS :])

    def explain(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        """Find objects, and say what each was found by."""
        return self._run(EXPLAIN, [_channels_last(images), sizes.contiguous()])

    def segment(self, boxes: Tensor, labels: Tensor, counts: Tensor, *levels: Tensor) -> Tensor:
        """Find the masks of some detections."""
        rows = [part.contiguous() for part in (boxes, labels, counts)]
        return self._run(SEGMENT, [*rows, *map(_channels_last, levels)])[0]

    def _run(self, name: str, inputs: list[Tensor]) -> tuple[Tensor, ...]:
        return tuple(self._programs[name].boxed_run(inputs))


def _channels_last(maps: Tensor) -> Tensor:
    """The memory layout that was compiled in: any other would be read as if it were this one."""
    return maps.contiguous(memory_format=torch.channels_last)


@contextmanager
def _unpacked_beside(path: Path) -> Iterator[None]:
    """Let PyTorch unpack a package in its own folder, and clean up once it is loaded.

    PyTorch unpacks it where TMPDIR says and cleans up at an orderly end only: a killed worker would leave all weights
    there. From its own folder libraries may be loaded, for those of the ops are.
    """
    before = os.environ.get("TMPDIR")
    with TemporaryDirectory(prefix="unpacked-", dir=path.parent if os.access(path.parent, os.W_OK) else None) as folder:
        os.environ["TMPDIR"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before


def settings_for(compiled: Compiled, settings: Settings | None) -> Settings:
    """The settings of a compiled model: without any its own dtype; and no CUDA graphs, which were never tried with it.

    Raises:
        ValueError: They name another dtype.
    """
    settings = settings or Settings(dtype=compiled.dtype)
    said = f"{compiled.dtype}, in which {PACKAGE_FILE} was compiled (--dtype of its export)"
    check(settings.dtype == compiled.dtype, "dtype", said, settings.dtype)
    if settings.fusion is not None:
        logger.warning(
            "fusion: %s is for traces; the layers of %s were joined at export", settings.fusion, PACKAGE_FILE
        )
    return replace(settings, graphs=Graphs(most=0))


def check_fits(compiled: Compiled, device: torch.device, cpuinfo: Path = CPUINFO) -> None:
    """Refuse a package that was compiled for something else, before any of its code runs.

    Args:
        compiled: What it is tied to.
        device: Where it is to compute.
        cpuinfo: See ``handler.processor``.

    Raises:
        DeviceError: It does not fit; the text says what to do.
    """
    _check_pytorch(compiled.torch)
    _check_device(compiled, device)
    lacking = _lacking(compiled, cpuinfo)
    if lacking:
        raise DeviceError(f"{PACKAGE_FILE} is compiled for another processor: {lacking}: {_AGAIN}")


def _check_pytorch(compiled_with: str) -> None:
    wanted, found = (re.findall(r"\d+", version)[:2] for version in (compiled_with, torch.__version__))
    if wanted != found:
        raise DeviceError(
            f"{PACKAGE_FILE} needs PyTorch {'.'.join(wanted)}, with which it was compiled, got {torch.__version__}: "
            f"install that one, or {_AGAIN}"
        )


def _check_device(compiled: Compiled, device: torch.device) -> None:
    if compiled.device != device.type:
        chosen = "cpu" if compiled.device == "cpu" else "gpu"
        raise DeviceError(
            f"{PACKAGE_FILE} is compiled for {compiled.device}, and this worker computes on {device.type}: set "
            f"deviceType: {chosen} in model-config.yaml, or export it again on a machine of this kind, or without "
            "--runtime aoti"
        )
    if device.type == "cuda":
        found = ".".join(map(str, torch.cuda.get_device_capability(device)))
        if found != compiled.gpu:
            raise DeviceError(
                f"{PACKAGE_FILE} is compiled for GPUs of compute capability {compiled.gpu}, this one has {found}: "
                f"{_AGAIN}"
            )


def _lacking(compiled: Compiled, cpuinfo: Path) -> str:
    """What this processor lacks, in words; nothing if it fits, or if nobody knows what it has."""
    if platform.machine() != compiled.machine:
        return f"one of {compiled.machine}, and this is one of {platform.machine()}"
    found = instruction_sets(cpuinfo)
    missing: Sequence[str] = [name for name in compiled.instructions if name not in found] if found else []
    return f"this one lacks {', '.join(missing)}" if missing else ""
