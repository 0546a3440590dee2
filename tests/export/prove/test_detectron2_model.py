"""How Detectron2 is driven, with its slow reference behind its functions; with Detectron2 itself this has not run."""

import sys
from dataclasses import replace

import pytest
import torch

from export.errors import ExportError
from export.prove import Source, prove, source_framework
from tests.export.prove import fake_detectron2
from tests.export.prove.exported import Exported, exported, shown


@pytest.fixture(autouse=True)
def detectron2(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in fake_detectron2.modules().items():
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return exported("detectron2", "fpn", tmp_path_factory.mktemp("served"))


def with_changes(source: Source, **sections: dict[str, object]) -> Source:
    merged = {name: {**source.choices.changes.get(name, {}), **fields} for name, fields in sections.items()}
    return replace(source, choices=replace(source.choices, changes={**source.choices.changes, **merged}))


def test_runs_as_its_predictor_does(served: Exported) -> None:
    proof = prove(source_framework(served.source), served.folder, shown())
    assert (proof.framework, proof.version) == ("detectron2", "unknown")  # no package of that name is installed
    assert proof.detections >= 20
    assert proof.apart == 0


@pytest.mark.parametrize(
    "section",
    [
        {"preprocessing": {"min_size": 189}},
        {"preprocessing": {"max_size": 220}},
        {"proposals": {"anchor_sizes": ((30.0,), (60.0,), (120.0,), (240.0,), (480.0,))}},
        {"proposals": {"anchor_ratios": (0.5, 1.0, 2.5)}},
        {"proposals": {"pre_nms_top_n": 10}},
        {"proposals": {"post_nms_top_n": 10}},
        {"detections": {"score_threshold": 0.3}},
        {"detections": {"nms_threshold": 0.1}},
        {"detections": {"max_detections": 3}},
    ],
    ids=lambda section: next(iter(next(iter(section.values())))),
)
def test_each_option_reaches_its_configuration(section: dict[str, dict[str, object]], served: Exported) -> None:
    other = source_framework(with_changes(served.source, **section))
    with pytest.raises(ExportError, match="does not answer like detectron2"):
        prove(other, served.folder, shown())


def test_pixels_that_the_checkpoint_names_reach_it_too(served: Exported) -> None:
    trained = {"mean": torch.tensor([90.0, 100, 110]), "std": torch.tensor([2.0, 2, 2])}
    rules = served.source.decision.conventions.with_options("preprocessing", mean=(90.0, 100.0, 110.0), std=(2.0,) * 3)
    source = replace(
        served.source,
        imported=replace(served.source.imported, trained=trained),
        decision=replace(served.source.decision, conventions=rules),
    )
    with pytest.raises(ExportError, match="does not answer like detectron2"):
        prove(source_framework(source), served.folder, shown())


def test_an_option_without_a_key_there_is_refused(served: Exported) -> None:
    with pytest.raises(ExportError, match="Detectron2 has no setting for norm_eps"):
        source_framework(with_changes(served.source, body={"norm_eps": 1e-3}))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pixel_mean", None),
        ("proposal_generator.anchor_generator.cell_anchors.0", None),
        ("backbone.more.weight", "0 weights are missing and 1 unexpected, first backbone.more.weight"),
    ],
)
def test_only_known_buffers_may_be_left_over(name: str, message: str | None, served: Exported) -> None:
    tensors = {**served.source.checkpoint.tensors, name: torch.zeros(3)}
    source = replace(served.source, checkpoint=replace(served.source.checkpoint, tensors=tensors))
    if message is None:
        source_framework(source)
        return
    with pytest.raises(ExportError, match=message):
        source_framework(source)


def test_a_weight_that_its_network_lacks_is_refused(served: Exported) -> None:
    tensors = dict(served.source.checkpoint.tensors)
    del tensors["roi_heads.box_head.fc2.bias"]
    source = replace(served.source, checkpoint=replace(served.source.checkpoint, tensors=tensors))
    with pytest.raises(
        ExportError, match=r"1 weights are missing and 0 unexpected, first roi_heads\.box_head\.fc2\.bias"
    ):
        source_framework(source)
