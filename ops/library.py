"""Loads the compiled op libraries, once a process: the CPU's always, CUDA's where there is a GPU."""

import re
import struct
from pathlib import Path

import torch

LIBRARY = Path(__file__).parent / "lib" / "libmaskrcnn_ops.so"
CUDA_LIBRARY = LIBRARY.with_name("libmaskrcnn_ops_cuda.so")

OLDEST_PYTORCH = (2, 11)  # TORCH_TARGET_VERSION in build.mk
_ELF_64 = struct.Struct("<40xQ10xHH2x")  # section headers: place in the file, size of one, number; little-endian


def load_library(path: Path = LIBRARY) -> None:
    """Register the ops of namespace ``maskrcnn`` with PyTorch; a second call does nothing.

    Args:
        path: A compiled library; ``make ops`` builds it, a ``.mar`` carries it.

    Raises:
        FileNotFoundError: The library was never built or was not packed.
        OSError: The library is there and does not load; the text has the reason.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; run `make ops`, or export the .mar again")
    _check_pytorch(path)
    _check_whole(path)
    try:
        torch.ops.load_library(path)  # type: ignore[no-untyped-call]
    except OSError as error:
        said = str(error.__cause__ or error).removeprefix(f"{path}: ")  # PyTorch itself says only that it could not
        raise OSError(f"{path} does not load with PyTorch {torch.__version__}: {said}{_meaning(said)}") from error


def _check_pytorch(path: Path) -> None:
    found = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if found < OLDEST_PYTORCH:
        raise OSError(f"{path} needs PyTorch {'.'.join(map(str, OLDEST_PYTORCH))} or later, got {torch.__version__}")


def _check_whole(path: Path) -> None:
    """Refuse a file that was cut off: the loader maps it all the same, and the process dies of SIGBUS.

    Source:
        The header of ELF-64: a table of sections, of which this file has the place, size and number, ends it.
    """
    with path.open("rb") as file:
        header = file.read(_ELF_64.size)
    if len(header) < _ELF_64.size or not header.startswith(b"\x7fELF\x02"):
        return  # the loader says what it is
    sections, size, count = _ELF_64.unpack(header)
    if path.stat().st_size < sections + size * count:
        raise OSError(f"{path} is cut off: {path.stat().st_size:,} of {sections + size * count:,} bytes")


def _meaning(said: str) -> str:
    """What the loader's words mean where they do not say it themselves."""
    if "cannot open shared object file" in said:
        ours = said.startswith("cannot open")  # else the loader names the library that it looked for
        return " (it is of another processor)" if ours else " (a library that it needs is not installed here)"
    known = {
        "failed to map segment": " (is its folder mounted noexec? TEMP of TorchServe names another)",
        "wrong ELF class": " (it is of another processor)",
        "undefined symbol": " (it needs another PyTorch)",
    }
    return next((meaning for words, meaning in known.items() if words in said), "")


load_library()
if torch.cuda.is_available() and CUDA_LIBRARY.is_file():  # without it, ops on the GPU say that they have no kernel
    load_library(CUDA_LIBRARY)
