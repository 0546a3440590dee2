"""The compiled library as an artefact: what it needs, what it tells, where it builds."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ops
from ops.library import load_library

ROOT = Path(__file__).parents[2]
CROSS_COMPILER = "aarch64-linux-gnu-g++"
LIBRARIES = [
    ops.LIBRARY,
    pytest.param(ops.CUDA_LIBRARY, marks=pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc here")),
]
SOURCES = sorted((ROOT / "ops" / "csrc").glob("*.cpp")) + sorted((ROOT / "ops" / "csrc" / "cpu").glob("*.cpp"))


@pytest.mark.parametrize("library", LIBRARIES)
def test_needs_only_the_stable_abi(library: Path) -> None:
    listing = subprocess.run(["nm", "-DC", "--undefined-only", library], capture_output=True, text=True, check=True)
    symbols = [line.split("U ", 1)[1] for line in listing.stdout.splitlines() if "U " in line]
    assert any(symbol.startswith("aoti_torch_") for symbol in symbols)
    assert [symbol for symbol in symbols if re.search(r"\b(at|c10|torch)::", symbol)] == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_tells_no_path_of_the_machine_that_built_it(library: Path) -> None:
    content = library.read_bytes()
    for told in (str(ROOT), str(Path(torch.__file__).resolve().parent), "site-packages", "/usr/", "/home/", "/tmp/"):
        assert told.encode() not in content


# A CPU build of PyTorch has no libtorch_cuda.so: the linker got an empty one, the loader of a GPU machine has the real.
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc here")
def test_the_cuda_library_asks_for_pytorchs_own() -> None:
    listing = subprocess.run(["readelf", "-d", ops.CUDA_LIBRARY], capture_output=True, text=True, check=True)
    needed = re.findall(r"NEEDED.*\[(.+)\]", listing.stdout)
    assert {"libtorch_cpu.so", "libtorch_cuda.so"} < set(needed)
    assert not any("cudart" in library for library in needed)  # linked in: any CUDA build of PyTorch will do


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_the_cuda_library_is_not_loaded_without_a_gpu() -> None:
    maps = Path("/proc/self/maps").read_text()
    assert ops.LIBRARY.name in maps
    assert ops.CUDA_LIBRARY.name not in maps


def test_a_process_that_imports_only_torch_can_load_it() -> None:
    code = "import sys, torch; torch.ops.load_library(sys.argv[1]); print(torch.ops.maskrcnn.nms.default._schema)"
    run = subprocess.run([sys.executable, "-c", code, ops.LIBRARY], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("maskrcnn::nms(Tensor boxes, Tensor scores, float iou_threshold")


def test_a_missing_library_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run `make ops`"):
        load_library(tmp_path / "nothing.so")


def test_a_broken_library_says_what_the_loader_says(tmp_path: Path) -> None:
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"not a library")
    with pytest.raises(OSError, match="broken.so does not load with PyTorch .*: file too short"):
        load_library(broken)
    broken.write_bytes(ops.LIBRARY.read_bytes()[:-100])
    with pytest.raises(OSError, match=r"broken.so is cut off: [\d,]+ of [\d,]+ bytes"):
        load_library(broken)


@pytest.mark.parametrize("found", ["2.10.1", "1.13.0+cu117"])
def test_an_older_pytorch_is_refused(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", found)
    with pytest.raises(OSError, match=rf"needs PyTorch 2.11 or later, got {re.escape(found)}"):
        load_library()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(CROSS_COMPILER) is None, reason=f"no {CROSS_COMPILER} here")
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_compiles_for_64_bit_arm(source: Path, tmp_path: Path) -> None:
    target = tmp_path / source.relative_to(ROOT / "ops/csrc").with_suffix(".o")
    command = ["make", f"CXX={CROSS_COMPILER}", f"OBJECTS={tmp_path}", str(target)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
