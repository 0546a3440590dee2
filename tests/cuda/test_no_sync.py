"""The first half of the network never waits for the host, and a CUDA graph of it gives what the calls give.

PyTorch's debug mode sees the waits that PyTorch makes; the capture fails at those that a kernel's own code makes.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.variants import Graphed
from handler.device import use_device
from handler.gpu.settings import DTYPES, Dtype
from handler.loading import load_trace
from handler.settings import Settings
from tests.cuda import op_calls as calls
from tests.demo_model import export_demo_model

CALLS: dict[str, Callable[[], calls.Call]] = {
    "propose": partial(calls.propose, 2),
    "pyramid_roi_align": partial(calls.pyramid, 7, 1000),
    "deform_conv2d": partial(calls.deform),
    "deform_conv2d, 32 groups": partial(calls.deform, torch.float16, 32, False),
    "select_detections": partial(calls.select, 2),
    "resize_normalize": partial(calls.resize, "bilinear"),
    "resize_normalize, Pillow": partial(calls.resize, "pillow"),
}


@pytest.fixture
def no_sync(cuda: torch.device) -> Iterator[Callable[[], None]]:
    """Call it once everything is warm: from then on a wait is an error."""
    yield lambda: torch.cuda.set_sync_debug_mode("error")
    torch.cuda.set_sync_debug_mode("default")


def same(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("make", CALLS.values(), ids=CALLS.keys())
def test_an_op_does_not_wait(make: Callable[[], calls.Call], cuda: torch.device, no_sync: Callable[[], None]) -> None:
    ready = make().to(cuda)
    with torch.inference_mode():
        expected = ready()
        torch.cuda.synchronize()
        no_sync()
        found = ready()
        torch.cuda.set_sync_debug_mode("default")
        same(found, expected)


@pytest.mark.parametrize("make", CALLS.values(), ids=CALLS.keys())
def test_an_op_can_be_captured(make: Callable[[], calls.Call], cuda: torch.device) -> None:
    ready = make().to(cuda)
    with torch.inference_mode():
        expected = ready()
        graphed = Graphed(ready, ())
        for result in graphed.replay():
            result.fill_(1)  # what the graph does not write stays wrong
        same(graphed.replay(), expected)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_demo_model(tmp_path_factory.mktemp("demo"))


def load(folder: Path, dtype: Dtype, device: torch.device) -> Any:
    """The traced demo model as a worker loads it, executor included."""
    settings = Settings(dtype=dtype)
    use_device(device, settings)
    return load_trace(folder / "model.pt", settings, device)


def pictures(device: torch.device, batch: int, height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    images = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))
    sizes = torch.tensor([[height - 3 * index, width - 5 * index] for index in range(batch)])
    return images.to(device), sizes.to(device)


@pytest.mark.parametrize("dtype", DTYPES)
@torch.inference_mode()
def test_the_first_half_does_not_wait(
    dtype: Dtype, folder: Path, cuda: torch.device, no_sync: Callable[[], None]
) -> None:
    model, given = load(folder, dtype, cuda), pictures(cuda, 2, 256, 320)
    for _ in range(3):  # what is set up at a first call may wait
        model.detect(*given)
    torch.cuda.synchronize()
    no_sync()
    model.detect(*given)


@pytest.mark.parametrize("dtype", DTYPES)
@torch.inference_mode()
def test_a_graph_of_the_first_half_finds_the_same_in_other_pictures(
    dtype: Dtype, folder: Path, cuda: torch.device
) -> None:
    model = load(folder, dtype, cuda)
    graphed = Graphed(model.detect, pictures(cuda, 2, 256, 320))
    for seed in (1, 2):
        given = pictures(cuda, 2, 256, 320, seed)
        same(graphed(*given), model.detect(*given))
