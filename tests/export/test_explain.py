"""Explanations of the traced networks: proposals, objectness and class scores against the slow references."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from export import trace
from export.checkpoint import load_checkpoint
from export.conventions import Conventions
from export.model import MaskRCNN
from export.model.box_head import Selection, of_detections
from export.network.weights import import_weights
from tests.export.frameworks import trained
from tests.export.test_frameworks import TOLERANCE
from tests.export.test_trace import CONVENTIONS, pictures, tiny_model

# Boxes, scores, labels, rows of the proposals and counts are those of ``detect``; then come these.
PROPOSALS, OBJECTNESS, CLASSES, LEVELS = 5, 6, 7, 8

# One of each kind of network: pyramid, C4, DC5, cascade, no masks, one box for all classes, other bodies.
KINDS = [
    ("torchvision", "v1"),
    ("torchvision", "v2"),
    ("torchvision", "mobilenet_v3_large"),
    ("torchvision", "faster"),
    ("maskrcnn-benchmark", "c4"),
    ("maskrcnn-benchmark", "faster_c4"),
    ("maskrcnn-benchmark", "dcn_v2"),
    ("maskrcnn-benchmark", "class_agnostic"),
    ("caffe2", "fpn"),
    ("detectron2", "fpn"),
    ("detectron2", "c4"),
    ("detectron2", "dc5"),
    ("detectron2", "gn"),
    ("detectron2", "cascade"),
    ("detectron2", "class_agnostic"),
]


def model_of(framework: str, variant: str, folder: Path) -> tuple[MaskRCNN, tuple[Tensor, Tensor]]:
    given = trained(framework, variant)
    imported = import_weights(load_checkpoint(given.save(folder)).tensors)
    return MaskRCNN(imported.weights, imported.architecture, given.conventions(imported)), (given.images, given.sizes)


def real(counts: Tensor, rows: int) -> Tensor:
    return torch.arange(rows) < counts[:, None]


@torch.inference_mode()
@pytest.mark.parametrize(("framework", "variant"), KINDS)
def test_is_detect_with_its_reasons(framework: str, variant: str, tmp_path: Path) -> None:
    model, inputs = model_of(framework, variant, tmp_path)
    trace.save(trace.trace(model), tmp_path / "model.pt")
    loaded = torch.jit.load(tmp_path / "model.pt")
    detected, explained = model.detect(*inputs), model.explain(*inputs)
    for ours, theirs in zip((*explained[:PROPOSALS], *explained[LEVELS:]), detected, strict=True):
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(loaded.explain(*inputs), explained, strict=True):
        assert torch.equal(ours, theirs)
    check_reasons(model, inputs, explained)


def check_reasons(model: MaskRCNN, inputs: tuple[Tensor, Tensor], explained: tuple[Tensor, ...]) -> None:
    _, scores, labels, rows, counts, proposals, objectness, classes = explained[:LEVELS]
    there = real(counts, scores.shape[1])
    assert there.any()
    # A detection's score is its own class's; what the op computes differs from PyTorch by rounding.
    own = classes.gather(2, labels[..., None]).squeeze(2)
    torch.testing.assert_close(own[there], scores[there], rtol=0, atol=1e-6)
    assert float(classes.min()) >= 0
    torch.testing.assert_close(classes[there].sum(1), torch.ones(int(there.sum())), rtol=0, atol=1e-5)
    regions, of_regions = model.proposals(model.features(inputs[0]), inputs[1])
    assert bool((rows < of_regions[:, None])[there].all())
    picked = torch.stack([region[row] for region, row in zip(regions, rows, strict=True)])
    assert torch.equal(proposals[there], picked[there])
    assert float(objectness.min()) >= 0
    assert float(objectness.max()) <= 1
    for part in (proposals, objectness, classes):
        assert not part[~there].any()


@torch.inference_mode()
@pytest.mark.parametrize("variant", ["fpn", "c4", "dc5", "cascade", "class_agnostic", "faster"])
def test_reasons_are_detectron2s(variant: str, tmp_path: Path) -> None:
    """It ranks raw logits, which were trained as those of a probability; a cascade's scores are averaged."""
    model, (images, sizes) = model_of("detectron2", variant, tmp_path)
    explained = model.explain(images, sizes)
    reference = trained("detectron2", variant).module
    features = reference.backbone(images)
    for index, (boxes, logits) in enumerate(reference.proposal_generator(features, sizes)):
        mine, twins = nearest(explained, index, boxes)
        assert float((mine[PROPOSALS] - boxes[twins]).abs().max()) <= TOLERANCE.boxes
        assert float((mine[OBJECTNESS] - logits[twins].sigmoid()).abs().max()) <= TOLERANCE.scores
        stages = reference.stages([level[index] for level in features], boxes, sizes[index].tolist())
        classes = torch.stack([stage.softmax(dim=1) for stage, _ in stages]).mean(0)
        assert float((mine[CLASSES] - classes[twins]).abs().max()) <= TOLERANCE.scores


@torch.inference_mode()
@pytest.mark.parametrize("variant", ["fpn", "c4"])
def test_objectness_is_maskrcnn_benchmarks(variant: str, tmp_path: Path) -> None:
    model, (images, sizes) = model_of("maskrcnn-benchmark", variant, tmp_path)
    explained = model.explain(images, sizes)
    reference = trained("maskrcnn-benchmark", variant).module
    for index, (boxes, scores) in enumerate(reference.rpn(reference.backbone(images), sizes)):
        mine, twins = nearest(explained, index, boxes)
        assert float((mine[PROPOSALS] - boxes[twins]).abs().max()) <= TOLERANCE.boxes
        assert float((mine[OBJECTNESS] - scores[twins]).abs().max()) <= TOLERANCE.scores


def nearest(explained: tuple[Tensor, ...], index: int, boxes: Tensor) -> tuple[list[Tensor], Tensor]:
    """The rows of one picture, and for each the reference's proposal that is nearest to its own."""
    count = int(explained[4][index])
    assert count > 0
    mine = [part if part.dim() == 1 else part[index, :count] for part in explained[:LEVELS]]
    return mine, (boxes - mine[PROPOSALS][:, None]).abs().amax(2).argmin(1)


@torch.inference_mode()
@pytest.mark.parametrize("shape", [(1, 64, 96), (3, 128, 128), (6, 75, 91), (0, 64, 64)], ids=str)
def test_holds_for_other_shapes(shape: tuple[int, int, int], tmp_path: Path) -> None:
    model = tiny_model()
    trace.save(trace.trace(model), tmp_path / "model.pt")
    inputs = pictures(*shape) if shape[0] else (torch.zeros(0, 3, 64, 64), torch.zeros(0, 2, dtype=torch.int64))
    for ours, theirs in zip(
        torch.jit.load(tmp_path / "model.pt").explain(*inputs), model.explain(*inputs), strict=True
    ):
        assert torch.equal(ours, theirs)


@torch.inference_mode()
def test_where_nothing_is_found(tmp_path: Path) -> None:
    never = trace.trace(tiny_model(conventions=CONVENTIONS.with_options("detections", score_threshold=0.9999)))
    explained = never.explain(torch.zeros(2, 3, 32, 32), torch.ones(2, 2, dtype=torch.int64))
    assert explained[4].tolist() == [0, 0]
    assert not any(part.any() for part in explained[:LEVELS])


@torch.inference_mode()
def test_detects_with_the_operators_of_before(tmp_path: Path) -> None:
    """Explanations cost a prediction nothing: what ``detect`` computes ends in the op that selects."""
    traced = trace.trace(tiny_model())
    kinds = [node.kind() for node in traced.detect.inlined_graph.nodes()]
    assert kinds.count("maskrcnn::propose") == kinds.count("maskrcnn::select_detections") == 1
    assert not {"aten::take_along_dim", "aten::gather", "aten::softmax"} & set(kinds)
    more = [node.kind() for node in traced.explain.inlined_graph.nodes()]
    assert more.count("maskrcnn::select_detections") == 1
    assert "aten::softmax" in more


@pytest.mark.parametrize("background_first", [True, False])
def test_a_background_that_does_not_compete_is_left_out(background_first: bool) -> None:
    """With a sigmoid for each class nobody trained the column of the background."""
    rules = Conventions().with_options("detections", activation="sigmoid", background_first=background_first)
    logits = torch.tensor([[3.0, 0.0, -2.0, 5.0]])
    scores = Selection(rules).class_scores(logits, activated=False)
    given = logits.sigmoid()
    expected = torch.cat([torch.zeros(1, 1), given[:, 1:]], dim=1) if background_first else given[:, :3]
    assert torch.equal(scores, expected)


def test_rows_past_the_counts_are_zero() -> None:
    values = torch.arange(12.0).reshape(1, 4, 3) + 1
    chosen = of_detections(values, torch.tensor([[3, 1, 0, 0, 0]]), torch.tensor([2]))  # more rows than proposals
    assert chosen.tolist() == [[[10, 11, 12], [4, 5, 6], [0, 0, 0], [0, 0, 0], [0, 0, 0]]]
