"""What only a GPU can show. Without one these tests skip; with REQUIRE_CUDA=1 (``make gpu-check``) they fail."""

import os
from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(scope="session")
def cuda() -> torch.device:
    if not torch.cuda.is_available():
        if os.environ.get("REQUIRE_CUDA") == "1":
            pytest.fail("REQUIRE_CUDA=1, but PyTorch finds no GPU")
        pytest.skip("no GPU here")
    return torch.device("cuda", torch.cuda.current_device())


@pytest.fixture(autouse=True, scope="package")
def float32_is_float32() -> Iterator[None]:
    """Without the TF32 that PyTorch lets convolutions use by default."""
    switches = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [switch.allow_tf32 for switch in switches]
    for switch in switches:
        switch.allow_tf32 = False
    yield
    for switch, value in zip(switches, before, strict=True):
        switch.allow_tf32 = value


@pytest.fixture(autouse=True)
def only_what_the_gpu_computes_in(request: pytest.FixtureRequest) -> None:
    """Skip bfloat16 where the GPU only emulates it: the handler refuses it there."""
    given = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    wanted = given.get("dtype") == "bfloat16" and torch.cuda.is_available()
    if wanted and not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("this GPU does not compute in bfloat16")
