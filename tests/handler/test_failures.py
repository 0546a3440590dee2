"""What an exception means, and batches that memory is too small for."""

import weakref
from collections import Counter
from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

import ops
from handler.canvas import Size
from handler.detections import Detections
from handler.detector import Detector
from handler.errors import RequestError
from handler.failures import breaks_the_device, is_out_of_memory
from handler.images import Picture
from handler.metrics import METRICS, Observe
from handler.selection import Selection, default_selection
from handler.settings import Settings
from handler.splitting import detect_or_split
from tests.handler.cards import CARD
from tests.handler.found import made_up

OUT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of"),
    # Out of our ops, with the headers of PyTorch 2.13 and of older ones.
    RuntimeError('torch_call_dispatcher( "aten::new_zeros", "", stack.data(), 0) API call failed at ops.h, line 976'),
    RuntimeError("aoti_torch_aten_new_empty( self.get(), size.data(), &out) API call failed at ops.h, line 143"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
]
BROKEN = [
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("paste_masks: CUDA error: unspecified launch failure"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"),
    RuntimeError('captures_underway.empty() INTERNAL ASSERT FAILED at "/pytorch/c10/cuda/CUDACachingAllocator.cpp":39'),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError(
        "The following operation failed in the TorchScript interpreter.\nRuntimeError: could not create a primitive"
    ),
]
NEITHER = [
    RuntimeError("propose: image_sizes must be (2, 2) int64"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED"),
    ValueError("CUDA error: not PyTorch's"),
    KeyError("out of memory"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY + BROKEN + NEITHER, ids=str)
def test_exceptions_are_told_apart(error: Exception) -> None:
    assert is_out_of_memory(error) is (error in OUT_OF_MEMORY)
    assert breaks_the_device(error) is (error in BROKEN)


def test_an_op_that_is_out_of_memory_is_told_apart() -> None:
    with pytest.raises(RuntimeError) as caught:
        ops.paste_masks(torch.ones(1, 2, 2).expand(10**6, 2, 2), torch.zeros(10**6, 4), 60_000, 60_000)
    assert is_out_of_memory(caught.value)
    with pytest.raises(RuntimeError) as caught:
        ops.paste_masks(torch.ones(1, 2, 2), torch.zeros(2, 4), 10, 10)
    assert not is_out_of_memory(caught.value)


class SmallMemory:
    """A detector for which more pixels than a limit are too many at a time."""

    def __init__(self, limit: int, error: Exception) -> None:
        self.limit, self.error, self.freed = limit, error, 0
        self.calls: list[int] = []

    def detect(
        self, images: Sequence[Tensor], observe: Observe, image_sizes: Sequence[Size], selections: Sequence[Selection]
    ) -> list[Detections]:
        self.calls.append(len(images))
        if sum(image.numel() // 3 for image in images) > self.limit:
            raise self.error
        return [
            made_up(height, width, int(image[0, 0, 0]))
            for image, (height, width) in zip(images, image_sizes, strict=True)
        ]

    def free_memory(self) -> None:
        self.freed += 1


def pictures(*widths: int) -> list[Picture]:
    return [
        Picture(np.full((10, width, 3), number, np.uint8), 10, width) for number, width in enumerate(widths, start=1)
    ]


def detect(memory: SmallMemory, asked: Sequence[Picture]) -> tuple[list[Detections | RequestError], Counter[str]]:
    seen: Counter[str] = Counter()
    wanted = [default_selection(CARD, Settings())] * len(asked)
    observe: Observe = lambda name, value: seen.update({name: int(value)})  # noqa: E731
    found = detect_or_split(cast(Detector, memory), asked, wanted, observe)
    assert set(seen) <= set(METRICS)
    return found, seen


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=str)
def test_a_batch_that_is_too_large_is_answered_one_by_one(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    memory = SmallMemory(400, error)
    found, seen = detect(memory, pictures(20, 10, 30))
    assert [len(each) for each in found if isinstance(each, Detections)] == [1, 2, 3]
    assert memory.calls == [3, 1, 1, 1]
    assert memory.freed == 3
    assert seen["maskrcnn_splits_total"] == 1
    assert len(caplog.messages) == 1


def test_a_picture_that_is_too_large_alone_is_refused_alone() -> None:
    memory = SmallMemory(250, RuntimeError("CUDA out of memory. Tried"))
    (small, large, other), _ = detect(memory, pictures(20, 30, 25))
    assert isinstance(small, Detections)
    assert isinstance(other, Detections)
    assert isinstance(large, RequestError)
    assert (large.code, large.status) == ("out_of_memory", 503)
    assert "30 x 10 pixels" in large.message
    assert large.hint


def test_what_fits_is_not_split() -> None:
    memory = SmallMemory(1000, MemoryError())
    found, seen = detect(memory, pictures(20, 10))
    assert memory.calls == [2]
    assert (len(found), memory.freed, seen["maskrcnn_splits_total"]) == (2, 0, 0)
    assert detect(memory, [])[0] == []


@pytest.mark.parametrize("error", BROKEN + NEITHER, ids=str)
def test_other_failures_are_not_retried(error: Exception) -> None:
    memory = SmallMemory(0, error)
    with pytest.raises(type(error)):
        detect(memory, pictures(20, 10))
    assert memory.calls == [2]


def test_the_failed_batch_is_let_go_before_the_next_try() -> None:
    """An exception's traceback holds the tensors of every frame that it passed."""
    tracked: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    class Holding(SmallMemory):
        def detect(
            self,
            images: Sequence[Tensor],
            observe: Observe,
            image_sizes: Sequence[Size],
            selections: Sequence[Selection],
        ) -> list[Detections]:
            self.error = MemoryError()  # the one before would keep its own traceback
            held = torch.zeros(100)
            alive.append(sum(each() is not None for each in tracked))
            tracked.append(weakref.ref(held))
            return super().detect(images, observe, image_sizes, selections)

    detect(Holding(300, MemoryError()), pictures(20, 20))
    assert alive == [0, 0, 0]
