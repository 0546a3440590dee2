"""Kernels run on the current stream and on the device of their tensors, whichever device is the current one."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from tests.cuda import op_calls as calls

CALLS: dict[str, Callable[[], calls.Call]] = {
    "propose": partial(calls.propose, 2),
    "pyramid_roi_align": partial(calls.pyramid, 7, 300, channels=32),
    "roi_align": partial(calls.roi_align),
    "deform_conv2d": partial(calls.deform),
    "select_detections": partial(calls.select, 2),
    "nms": partial(calls.nms, 1000),
    "encode_rle": partial(calls.encode, 50, "integer", False),
    "paste_masks": partial(calls.paste, "exact"),
    "resize_normalize": partial(calls.resize, "bilinear"),
}
CYCLES = 50_000_000  # some 30 ms: longer than any of these calls


def tensors_of(call: calls.Call) -> list[Tensor]:
    """Its inputs on the GPU, out of lists too."""
    flat = [each for value in call.tensors for each in (value if isinstance(value, list) else [value])]
    return [each for each in flat if isinstance(each, Tensor) and each.is_cuda]


@pytest.mark.parametrize("make", CALLS.values(), ids=CALLS.keys())
@torch.inference_mode()
def test_runs_after_what_is_on_its_stream(make: Callable[[], calls.Call], cuda: torch.device) -> None:
    """The inputs are zero until a long kernel of the same stream is done: on another stream they would be read so."""
    call = make()
    expected = [result.cpu() for result in call.to(cuda)()]
    filled, late = call.to(cuda), call.to(cuda)
    for value in tensors_of(late):
        value.zero_()
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(CYCLES)
        for target, source in zip(tensors_of(late), tensors_of(filled), strict=True):
            target.copy_(source, non_blocking=True)
        found = late()
    torch.cuda.synchronize()
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours.cpu(), theirs)


@pytest.mark.parametrize("make", CALLS.values(), ids=CALLS.keys())
@torch.inference_mode()
def test_runs_on_the_device_of_its_tensors(make: Callable[[], calls.Call], cuda: torch.device) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU here")
    call, second = make(), torch.device("cuda", 1)
    with torch.cuda.device(0):
        found = call.to(second)()
        assert torch.cuda.current_device() == 0
    assert {result.device for result in found} <= {second, torch.device("cpu")}
    for ours, theirs in zip(found, call.to(cuda)(), strict=True):
        assert torch.equal(ours.cpu(), theirs.cpu())
