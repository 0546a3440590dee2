"""Many tensors in one copy, there and back."""

import pytest
import torch
from torch import Tensor

from handler.gpu.staging import ALIGNMENT, download, upload
from tests.handler.gpu.fake_gpu import FakeEvent

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("fake_gpu")


def mixed() -> list[Tensor]:
    """Odd lengths before everything that must be aligned, no elements, and strides."""
    return [
        torch.arange(7 * 5 * 3, dtype=torch.uint8).reshape(7, 5, 3),
        torch.tensor([[2**40, -1], [3, 4]]),
        torch.zeros(0, 4),
        torch.tensor([True, False, True]),
        torch.arange(6.0).reshape(2, 3).t(),
        torch.tensor(2.5, dtype=torch.float64),
        torch.arange(60, dtype=torch.uint8).reshape(3, 4, 5)[:, ::2].permute(2, 0, 1),
    ]


def test_an_upload_keeps_values_shapes_and_types() -> None:
    there = upload(mixed(), CPU)
    for sent, tensor in zip(mixed(), there, strict=True):
        assert torch.equal(sent, tensor)
        assert tensor.is_contiguous()
        assert tensor.data_ptr() % ALIGNMENT == 0 or tensor.numel() == 0


def test_an_upload_is_one_block_of_its_own() -> None:
    tensors = mixed()
    there = upload(tensors, CPU)
    assert len({tensor.untyped_storage().data_ptr() for tensor in there}) == 1
    tensors[0].zero_()
    assert there[0].any()


def test_a_download_keeps_values_shapes_and_types() -> None:
    sent = [tensor.contiguous() for tensor in mixed()]
    wait = download(sent)
    assert (FakeEvent.recorded, FakeEvent.waited) == (1, 0)
    back = wait()
    assert (FakeEvent.recorded, FakeEvent.waited) == (1, 1)
    for tensor, received in zip(sent, back, strict=True):
        assert torch.equal(tensor, received)
        assert tensor.dtype == received.dtype


def test_what_came_back_is_not_the_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = torch.zeros(64, dtype=torch.uint8)
    monkeypatch.setattr("handler.gpu.staging.pinned_bytes", lambda count: pinned[:count])
    (first,) = download([torch.ones(4)])()
    download([torch.zeros(4)])()
    assert first.tolist() == [1, 1, 1, 1]
