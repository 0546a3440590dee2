"""How the memory of a graph's outputs is named; the rest of the file needs a GPU (tests/cuda)."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from handler.gpu.capture import _Address


class OnTheHost:
    """The same description under the name that NumPy looks for."""

    def __init__(self, tensor: Tensor) -> None:
        self.__array_interface__: dict[str, Any] = _Address(tensor).__cuda_array_interface__


CASES = {
    "channels last": torch.randn(2, 4, 3, 5).to(memory_format=torch.channels_last),
    "half": torch.randn(3, 4).half(),
    "bfloat16": torch.randn(3, 4).bfloat16(),
    "numbers": torch.arange(6).reshape(2, 3),
    "bool": torch.tensor([[True, False], [False, False]]),
    "a part": torch.arange(20.0).reshape(4, 5)[1:3, ::2],
}


@pytest.mark.parametrize("tensor", CASES.values(), ids=CASES.keys())
def test_an_address_leads_to_the_same_memory(tensor: Tensor) -> None:
    borrowed = torch.from_numpy(np.asarray(OnTheHost(tensor))).view(tensor.dtype)
    assert torch.equal(borrowed, tensor)
    assert borrowed.stride() == tensor.stride()
    assert borrowed.data_ptr() == tensor.data_ptr()
