"""The CUDA library as an artefact: what can be said of it where no GPU is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ops.library import CUDA_LIBRARY, LIBRARY
from tests.test_layout import OPS

pytestmark = pytest.mark.skipif(not CUDA_LIBRARY.is_file(), reason="the CUDA kernels are not built: no nvcc here")

SHOW = """
import sys, torch
for library in sys.argv[1:3]:
    torch.ops.load_library(library)
for op in sys.argv[3:]:
    print(op, torch._C._dispatch_has_kernel_for_dispatch_key(f"maskrcnn::{op}", "CUDA"))
"""


def undefined_symbols() -> list[str]:
    listing = subprocess.run(["nm", "-D", "--undefined-only", CUDA_LIBRARY], capture_output=True, text=True, check=True)
    return [line.split()[-1].split("@")[0] for line in listing.stdout.splitlines()]


def test_needs_only_the_stable_abi() -> None:
    symbols = undefined_symbols()
    assert any(symbol.startswith("aoti_torch_") for symbol in symbols)
    mangled = r"_ZNK?(2at|3c10|5torch)"  # a C++ function of PyTorch
    assert [symbol for symbol in symbols if re.match(mangled, symbol)] == []


def stand_in(folder: Path) -> Path:
    """A libtorch_cuda.so with what ours wants of one; nothing in it is ever called."""
    wanted = [symbol for symbol in undefined_symbols() if "cuda" in symbol]
    source = folder / "stand_in.c"
    source.write_text("".join(f"void {symbol}(void) {{ __builtin_trap(); }}\n" for symbol in wanted))
    library = folder / "libtorch_cuda.so"
    command = ["gcc", "-shared", "-fPIC", "-w", "-Wl,-soname,libtorch_cuda.so", source, "-o", library]
    subprocess.run(command, check=True)
    return folder


def test_registers_every_op(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SHOW, LIBRARY, CUDA_LIBRARY, *OPS]
    # Beside a CPU build of PyTorch the loader finds no libtorch_cuda.so.
    environment = {} if torch.version.cuda else {"LD_LIBRARY_PATH": str(stand_in(tmp_path))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [word for op in OPS for word in (op, "True")]
