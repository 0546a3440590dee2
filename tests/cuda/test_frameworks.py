"""Networks of every framework and kind on the GPU, as a worker loads them: the slow references' answers."""

from pathlib import Path

import pytest
import torch

from export import trace
from export.model import MaskRCNN
from export.network.weights import import_weights
from export.verification.comparison import Differences, compare_answers
from handler.loading import load_trace
from handler.settings import Settings
from tests.export.frameworks import NETWORKS, trained
from tests.export.test_frameworks import answer_of

# What these networks make of noise ten times the rounding of a GPU; no detection appears or goes by it.
TOLERANCE = Differences(boxes=0.2, scores=1e-2, masks=5e-2)


# Caffe2's are maskrcnn-benchmark's under other names.
DISTINCT = [(framework, variant) for framework, variant in NETWORKS if framework != "caffe2"]


@torch.inference_mode()
@pytest.mark.parametrize(("framework", "variant"), DISTINCT)
def test_answers_are_the_references(framework: str, variant: str, cuda: torch.device, tmp_path: Path) -> None:
    given = trained(framework, variant)
    imported = import_weights(given.module.state_dict())
    model = MaskRCNN(imported.weights, imported.architecture, given.conventions(imported))
    trace.save(trace.trace(model), tmp_path / "model.pt")
    network = load_trace(tmp_path / "model.pt", Settings(), cuda)
    found = network(given.images.to(cuda), given.sizes.to(cuda))
    assert compare_answers([part.cpu() for part in found], answer_of(given)).beyond(TOLERANCE) == []
