"""Fixtures that every part shares."""

import os

import pytest
import torch


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that takes ``device`` once a device."""
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", ["cpu", "cuda"], indirect=True)


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    # A GPU machine sets REQUIRE_CUDA=1, so that a missing driver fails there instead of skipping.
    if request.param == "cuda" and not torch.cuda.is_available() and os.environ.get("REQUIRE_CUDA") != "1":
        pytest.skip("no GPU here")
    return torch.device(request.param)
