import re
from ast import literal_eval
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from export.errors import ExportError
from export.names.torchvision import TABLE
from export.network.architecture import Architecture
from export.network.expected_shapes import expected_shapes
from export.network.weights import import_weights
from tests.export import tiny
from tests.reference import maskrcnn_benchmark

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.parametrize("architecture", tiny.ALL.values(), ids=tiny.ALL.keys())
def test_reads_the_architecture_back(architecture: Architecture) -> None:
    imported = import_weights(tiny.state_dict(architecture))
    assert imported.format == "torchvision"
    assert imported.architecture == architecture
    shapes = {name: tuple(tensor.shape) for name, tensor in imported.weights.items()}
    assert shapes == dict(expected_shapes(architecture))


def test_reads_torchvisions_own_names_and_shapes() -> None:
    golden = np.load(GOLDEN / "model_v1_frozen_small.npz")
    shapes = zip(golden["names"].tolist(), golden["shapes"].tolist(), strict=True)
    found = import_weights({name: torch.ones(literal_eval(shape)) for name, shape in shapes}).architecture
    assert found.body.depths == (3, 4, 6, 3)
    assert found.body_channels == (256, 512, 1024, 2048)
    assert (found.map_channels, found.box.linears, found.classes) == (256, (1024, 1024), 91)
    assert found.strides() == (4, 8, 16, 32, 64)


OLD_SPELLINGS = {
    r"backbone\.fpn\.(inner|layer)_blocks\.(\d)\.0\.": r"backbone.fpn.\1_blocks.\2.",
    r"rpn\.head\.conv\.0\.0\.": "rpn.head.conv.",
    r"roi_heads\.mask_head\.0\.0\.": "roi_heads.mask_head.mask_fcn1.",
    r"roi_heads\.mask_head\.1\.0\.": "roi_heads.mask_head.mask_fcn2.",
}


def old_spelling(name: str) -> str:
    for new, old in OLD_SPELLINGS.items():
        name = re.sub(new, old, name)
    return name


def test_reads_old_spellings_alike() -> None:
    new = tiny.state_dict()
    old = {old_spelling(name): tensor for name, tensor in new.items()}
    assert len(old.keys() - new.keys()) == 2 * (4 + 4 + 1 + 2)
    expected, found = import_weights(new).weights, import_weights(old).weights
    assert expected.keys() == found.keys()
    assert all(found[name] is tensor for name, tensor in expected.items())


def test_every_name_goes_there_and_back() -> None:
    for name, _ in expected_shapes(tiny.BOTTLENECK):
        assert TABLE.canonical(TABLE.foreign(name)) == name


def test_drops_the_counter_of_training_on_purpose() -> None:
    tensors = tiny.state_dict() | {"backbone.body.layer2.1.bn3.num_batches_tracked": torch.tensor(7)}
    assert import_weights(tensors).weights.keys() == import_weights(tiny.state_dict()).weights.keys()


def changed(changes: dict[str, Tensor | None]) -> dict[str, Tensor]:
    tensors = tiny.state_dict()
    for name, tensor in changes.items():
        tensors.pop(name, None)
        if tensor is not None:
            tensors[name] = tensor
    return tensors


RUINED = {
    "missing": (
        {"backbone.body.layer2.1.bn3.bias": None},
        "missing key backbone.body.layer2.1.bn3.bias: expected (32,)",
    ),
    "missing head": ({"rpn.head.cls_logits.weight": None}, "missing key rpn.head.cls_logits.weight"),
    "misshapen": (
        {"roi_heads.box_predictor.bbox_pred.weight": torch.ones(8, 20)},
        "misshapen key roi_heads.box_predictor.bbox_pred.weight: expected 16 outputs for 4 classes",
    ),
    "not square": (
        {"roi_heads.box_head.fc6.weight": torch.ones(24, 16 * 48)},
        "inputs for each cell of a square grid, found 768",
    ),
    "no rank": ({"roi_heads.box_head.fc6.weight": torch.tensor(1.0)}, "expected more than 0 dimensions, found ()"),
    "no channels": (
        {"backbone.fpn.inner_blocks.0.0.weight": torch.ones(0, 16, 1, 1)},
        "expected no empty tensor, found (0, 16",
    ),
    "huge number": (
        {"backbone.body.layer1.999999999.conv1.weight": torch.ones(1)},
        "key backbone.body.layer1.999999999.conv1.weight: its number is larger than the",
    ),
    "unexpected": ({"rpn.head.extra.weight": torch.ones(1)}, "unexpected key rpn.head.extra.weight: it is not part"),
    "superfluous shortcut": (
        {"backbone.body.layer2.1.downsample.0.weight": torch.ones(32, 32, 1, 1)},
        "unexpected key backbone.body.layer2.1.downsample.0.weight: found (32, 32, 1, 1)",
    ),
    "two spellings": (
        {"rpn.head.conv.weight": torch.ones(16, 16, 3, 3)},
        "keys rpn.head.conv.0.0.weight and rpn.head.conv.weight are two spellings",
    ),
    "half a second convolution": (
        {"rpn.head.conv.1.0.weight": torch.ones(16, 16, 3, 3)},
        "missing key rpn.head.conv.1.0.bias",
    ),
    "two frameworks": (
        {"backbone.bottom_up.stem.conv1.weight": torch.ones(1)},
        "a Mask R-CNN or Faster R-CNN of detectron2",
    ),
    "keypoints": ({"roi_heads.keypoint_head.0.weight": torch.ones(1)}, "a keypoint model"),
    "extra levels": ({"backbone.fpn.extra_blocks.p6.weight": torch.ones(1)}, "extra levels"),
    "integers": ({"rpn.head.conv.0.0.bias": torch.ones(16, dtype=torch.int8)}, "must hold floats, found torch.int8"),
    "variance": ({"backbone.body.bn1.running_var": -torch.ones(8)}, "body.bn1.running_var holds a negative variance"),
    "NaN": ({"rpn.head.conv.0.0.bias": torch.full((16,), torch.nan)}, "rpn.head.conv.0.0.bias holds NaN"),
}


@pytest.mark.parametrize(("changes", "message"), RUINED.values(), ids=RUINED.keys())
def test_names_what_does_not_fit(changes: dict[str, Tensor | None], message: str) -> None:
    with pytest.raises(ExportError, match=re.escape(message)):
        import_weights(changed(changes))


def test_reads_8_bit_floats() -> None:
    name = "rpn.head.conv.0.0.bias"
    assert import_weights(tiny.state_dict() | {name: torch.ones(16).to(torch.float8_e4m3fn)}).weights


def test_refuses_a_classifier() -> None:
    with pytest.raises(
        ExportError, match="unexpected key conv1.weight: this is a classifier's body without a detector"
    ):
        import_weights({"conv1.weight": torch.ones(64, 3, 7, 7)})


def test_box_convolutions_with_and_without_norms_do_not_mix() -> None:
    """Without norms the third entry is a convolution; with them the fourth is: of both, neither may be lost."""
    weights = dict(maskrcnn_benchmark.made("4conv1fc")[0].state_dict())
    convs = "roi_heads.box.feature_extractor.xconvs"
    assert import_weights(weights).architecture.box.convs == (16,) * 4
    with pytest.raises(ExportError, match=r"keys .*xconvs.* are two spellings of one weight"):
        import_weights(weights | {f"{convs}.3.weight": weights[f"{convs}.2.weight"]})


@pytest.mark.parametrize("wrapper", ["model.", "module.model.", "net."])
def test_reads_what_a_training_module_wraps(wrapper: str) -> None:
    bare = tiny.state_dict()
    wrapped = import_weights({wrapper + name: tensor for name, tensor in bare.items()})
    assert wrapped.weights.keys() == import_weights(bare).weights.keys()


def test_a_wrapper_of_something_else_stays() -> None:
    with pytest.raises(ExportError, match=r"\(model.a, model.b, ...\) are of no Mask R-CNN"):
        import_weights({"model.a": torch.ones(1), "model.b": torch.ones(1)})
