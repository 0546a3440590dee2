"""Fixtures that every part shares."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

import ops  # noqa: F401 - before the emulated kernels, which replace what it registers
from tests.served import MODEL, ROOT, export_demo

if TYPE_CHECKING:
    from server.torchserve import TorchServe

# The CUDA kernels, built to run on a CPU (`make test-emulated`): they take the place of the CPU's own.
if emulated := os.environ.get("EMULATED_CUDA"):
    torch.ops.load_library(emulated)

# Whoever starts the tests in the background may have Ctrl-C ignored, which the programs under test would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Of the C++ program, as pkg-config calls them.
CPP_LIBRARIES = ("libjpeg", "libpng", "libexif", "libzip", "nlohmann_json")

# A GPU machine (see benchmarks/gpu_check.py) may have PyTorch, but not all of requirements*.txt.
OFTEN_MISSING_BESIDE_A_GPU = ("model_archiver", "pycocotools", "ts", "yaml")


class SkipsWhatIsMissing(MetaPathFinder):
    """Asked last, for what no other finder has: skips the importing test with the reason instead of failing it."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname in OFTEN_MISSING_BESIDE_A_GPU:
            pytest.skip(f"{fullname} is not installed here", allow_module_level=True)
        return None


if os.environ.get("REQUIRE_CUDA") == "1":
    sys.meta_path.append(SkipsWhatIsMissing())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that takes ``device`` once a device."""
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", ["emulated"] if emulated else ["cpu", "cuda"], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Emulated, leave out what runs no kernel: it passes or fails as it does without."""
    if emulated:
        items[:] = [item for item in items if "device" in getattr(item, "fixturenames", ())]


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    # A GPU machine sets REQUIRE_CUDA=1, so that a missing driver fails there instead of skipping.
    if request.param == "cuda" and not torch.cuda.is_available() and os.environ.get("REQUIRE_CUDA") != "1":
        pytest.skip("no GPU here")
    return torch.device("cpu" if request.param == "emulated" else request.param)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model as a ``.mar``."""
    return export_demo(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def compiled_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model compiled by AOTInductor, as a ``.mar``: a minute, so only slow tests take it."""
    return export_demo(tmp_path_factory.mktemp("compiled"), "--runtime", "aoti")


@pytest.fixture(scope="session")
def server(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator["TorchServe"]:
    """A TorchServe of its own, ready, with the demo model."""
    from server.addresses import Addresses
    from server.torchserve import start  # here: a machine that serves nothing may lack what they need

    home = tmp_path_factory.mktemp("server")
    running = start(home, {MODEL: archive}, ROOT / "config.properties", Addresses.free())
    try:
        running.wait_until_ready(MODEL)
        yield running
    finally:
        running.stop()


@pytest.fixture
def compiled_model(compiled_archive: Path, archive: Path, server: "TorchServe") -> Iterator[str]:
    """The name under which that TorchServe has the compiled demo model, too."""
    name, target = "compiled", archive.with_name("compiled.mar")
    shutil.copyfile(compiled_archive, target)
    query = f"url={target.name}&model_name={name}&initial_workers=1&synchronous=true"
    status, body = server.request("management", f"/models?{query}", b"", timeout=180)
    try:
        assert status == 200, body
        server.wait_until_ready(name)
        yield name
    finally:
        server.request("management", f"/models/{name}", method="DELETE")
        target.unlink()


@pytest.fixture(scope="session")
def tracked() -> list[str]:
    """The files that git has, those that wait to be added among them."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git here, or no checkout of it")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    return subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.rstrip("\0").split("\0")


@pytest.fixture(scope="session")
def cpp_program() -> Path:
    """The C++ program of examples/cpp."""
    tools = shutil.which("cmake") and shutil.which("pkg-config")
    there = tools and subprocess.run(["pkg-config", "--exists", *CPP_LIBRARIES], check=False).returncode == 0
    if os.environ.get("REQUIRE_CPP") != "1" and not there:
        pytest.skip(f"no cmake or no pkg-config here, or not all of {', '.join(CPP_LIBRARIES)}")
    subprocess.run(["make", "cpp"], cwd=ROOT, check=True)
    return ROOT / "build" / "cpp" / "detect"
