"""The product with its presets against the frameworks themselves, from pixels to masks in pixels of the picture."""

from pathlib import Path

import pytest
import torch

from export import trace
from export.model import MaskRCNN
from tests.export.golden_comparison import complaints
from tests.export.golden_models import GOLDENS, OF_TORCHVISION, PICTURES, imported, recorded


def runs_of(network: str) -> tuple[str, ...]:
    """torchvision's goldens are of both pictures at once."""
    return ("batch",) if network in OF_TORCHVISION else tuple(PICTURES)


@pytest.mark.parametrize(
    ("network", "tag"),
    [
        # A C4 runs the last stage of the body 1000 times, v2 four convolutions: 5 to 15 s a picture on one core.
        pytest.param(network, tag, marks=[pytest.mark.slow] if network in ("mb_R_50_C4", "v2") else [])
        for network in GOLDENS
        for tag in runs_of(network)
    ],
)
def test_answers_are_the_frameworks(network: str, tag: str) -> None:
    assert complaints(recorded(network, tag), GOLDENS[network].conventions()) == []


@pytest.mark.slow  # 10 s each, C4 a minute
@pytest.mark.parametrize("network", GOLDENS)
def test_a_worker_answers_as_the_framework(network: str, tmp_path: Path) -> None:
    """The trace, saved and loaded."""
    given, rules = imported(network), GOLDENS[network].conventions()
    trace.save(trace.trace(MaskRCNN(given.weights, given.architecture, rules)), tmp_path / "model.pt")
    traced = torch.jit.load(tmp_path / "model.pt")
    for tag in ("batch",) if network == "mb_R_50_C4" else runs_of(network):
        assert complaints(recorded(network, tag), rules, traced=traced) == []
