"""Networks of every framework and kind: the checkpoint read, the trace run, its answers those of a slow reference."""

from pathlib import Path

import pytest
import torch

from export import trace
from export.checkpoint import load_checkpoint
from export.model import MaskRCNN
from export.network.weights import import_weights
from export.verification.comparison import Differences, compare_answers
from tests.export.frameworks import NETWORKS, Trained, trained

# Ten times what these networks make of the last digit of a pixel.
TOLERANCE = Differences(boxes=2e-2, scores=1e-3, masks=1e-2)


def answer_of(given: Trained) -> tuple[torch.Tensor, ...]:
    """What the reference says, as the model would say it: best first, empty masks where there are none."""
    found = given.expected()
    parts = []
    for one in found:
        order = one.scores.argsort(descending=True, stable=True)
        masks = one.boxes.new_zeros(len(order), 0, 0) if one.masks is None else one.masks
        parts.append([each[order] for each in (one.boxes, one.scores, one.labels, masks)])
    return (*(torch.cat(part) for part in zip(*parts, strict=True)), torch.tensor([len(one.boxes) for one in found]))


@torch.inference_mode()
@pytest.mark.parametrize(("framework", "variant"), NETWORKS)
def test_answers_are_the_references(framework: str, variant: str, tmp_path: Path) -> None:
    given = trained(framework, variant)
    imported = import_weights(load_checkpoint(given.save(tmp_path)).tensors)
    assert imported.format == framework
    model = MaskRCNN(imported.weights, imported.architecture, given.conventions(imported))
    trace.save(trace.trace(model), tmp_path / "model.pt")
    expected = answer_of(given)
    assert len(expected[0]) >= 5
    assert len(expected[2].unique()) > 1
    for network in (model, torch.jit.load(tmp_path / "model.pt")):
        found = network(given.images, given.sizes)
        assert compare_answers(found, expected).beyond(TOLERANCE) == []


@torch.inference_mode()
@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize(("framework", "variant"), [("detectron2", "c4"), ("maskrcnn-benchmark", "gn")])
def test_answers_where_there_is_nothing(framework: str, variant: str, batch: int, tmp_path: Path) -> None:
    """No picture, or pictures of one pixel: the parts of a C4 and the group norms see no row."""
    given = trained(framework, variant)
    imported = import_weights(load_checkpoint(given.save(tmp_path)).tensors)
    model = MaskRCNN(imported.weights, imported.architecture, given.conventions(imported))
    inputs = torch.zeros(batch, 3, 32, 32), torch.ones(batch, 2, dtype=torch.int64)
    for network in (model, trace.trace(model)):
        boxes, _, _, masks, counts = network(*inputs)
        assert (boxes.shape, len(masks), counts.tolist()) == ((0, 4), 0, [0] * batch)


# One of each kind of module that torchvision's and maskrcnn-benchmark's ordinary networks have not.
EXPORTED = [
    ("detectron2", "c4"),
    ("detectron2", "dc5"),
    ("detectron2", "cascade"),
    ("detectron2", "gn"),
    ("detectron2", "deform_v2"),
    ("maskrcnn-benchmark", "gn_4conv1fc"),
    ("torchvision", "mobilenet_v3_large"),
]


@pytest.mark.slow
@pytest.mark.skipif(
    torch.__version__ < "2.13", reason="torch.export of PyTorch 2.11 fixes the parity of the grids' sides"
)
@pytest.mark.parametrize(("framework", "variant"), EXPORTED)
def test_stays_exportable(framework: str, variant: str, tmp_path: Path) -> None:
    given = trained(framework, variant)
    imported = import_weights(load_checkpoint(given.save(tmp_path)).tensors)
    model = MaskRCNN(imported.weights, imported.architecture, given.conventions(imported))
    batch, side = torch.export.Dim("batch", max=8), torch.export.Dim.DYNAMIC
    dynamic = ({0: batch, 2: side, 3: side}, {0: batch})
    # Another batch and canvas than the pictures'; two cells on the coarsest level, for a side of 1 counts as fixed.
    example = torch.randn(3, 3, 160, 224), torch.tensor([(160, 224)] * 3)
    exported = torch.export.export(model, example, dynamic_shapes=dynamic, strict=False)
    with torch.inference_mode():
        found, expected = exported.module()(given.images, given.sizes), model(given.images, given.sizes)
    assert expected[4].sum() >= 5
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
