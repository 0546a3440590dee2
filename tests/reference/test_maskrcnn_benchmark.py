"""The reference of maskrcnn-benchmark against what maskrcnn-benchmark itself answered, and its tiny networks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.golden.detectron import recipe
from tests.reference.legacy_boxes import Found, nms
from tests.reference.maskrcnn_benchmark import (
    CONTRAST,
    R_50_C4,
    R_50_FPN,
    VARIANTS,
    MaskRCNN,
    Settings,
    made,
    pictures,
)
from tests.reference.maskrcnn_benchmark_rpn import cell_anchors

GOLDEN = Path(__file__).parent.parent / "golden" / "detectron"
BGR_MEAN = np.array([102.9801, 115.9465, 122.7717], np.float32)


def with_recipe(settings: Settings, name: str) -> MaskRCNN:
    """The network with the weights of the golden; its NMS ran by the rule of the CPU."""
    network = MaskRCNN(settings).eval()
    for key, tensor in network.state_dict().items():
        if "cell_anchors" not in key:
            tensor.copy_(torch.from_numpy(recipe.value(key, tuple(tensor.shape), recipe.PARAMS[name])))
    return network


def padded(images: list[np.ndarray], multiple: int) -> tuple[Tensor, Tensor]:
    sizes = np.array([image.shape[:2] for image in images])
    canvas = np.zeros((len(images), *(-(-sizes.max(axis=0) // multiple) * multiple), 3), np.float32)
    for place, image in zip(canvas, images, strict=True):
        place[: image.shape[0], : image.shape[1]] = image[..., ::-1] - BGR_MEAN
    return torch.from_numpy(canvas).permute(0, 3, 1, 2), torch.from_numpy(sizes)


def assert_same(found: Found, golden: Any, prefix: str) -> None:
    """Each golden detection pairs with its own of ours: same class, nearest box (tolerances of the goldens)."""
    expected = {part: torch.from_numpy(golden[f"{prefix}_{part}"]) for part in ("boxes", "scores", "labels", "masks")}
    assert found.labels.bincount().tolist() == expected["labels"].long().bincount().tolist()
    apart = (found.boxes - expected["boxes"][:, None]).abs().amax(dim=2)  # (golden, ours)
    apart[expected["labels"][:, None] != found.labels] = torch.inf
    nearest = apart.argmin(dim=1)
    assert len(nearest.unique()) == len(nearest)
    assert apart.min(dim=1).values.max() < 2e-2
    assert (found.scores[nearest] - expected["scores"]).abs().max() < 5e-4
    assert (found.masks[nearest] - expected["masks"]).abs().max() < 2e-3


@pytest.fixture(scope="module")
def fpn() -> MaskRCNN:
    return with_recipe(Settings(**{**vars(R_50_FPN), "cuda_nms": False}), "mb_R_50_FPN")


@pytest.mark.slow
@pytest.mark.parametrize("tag", ["batch", "single0", "single1"])
def test_r_50_fpn_is_the_golden(fpn: MaskRCNN, tag: str) -> None:
    golden = np.load(GOLDEN / "mb_R_50_FPN.npz")
    chosen = {"batch": [0, 1], "single0": [0], "single1": [1]}[tag]
    images, sizes = padded([golden[f"input_im{index}"] for index in chosen], multiple=32)
    for index, found in enumerate(fpn(images, sizes)):
        assert_same(found, golden, f"{tag}_im{index}")


@pytest.mark.slow
def test_r_50_c4_is_the_golden() -> None:
    golden = np.load(GOLDEN / "mb_R_50_C4.npz")
    network = with_recipe(Settings(**{**vars(R_50_C4), "cuda_nms": False}), "mb_R_50_C4")
    images, sizes = padded([golden["input_im0"], golden["input_im1"]], multiple=1)
    for index, found in enumerate(network(images, sizes)):
        assert_same(found, golden, f"batch_im{index}")


def test_cell_anchors_are_those_of_the_published_code() -> None:
    """The nine of Faster R-CNN's documentation, and the three of an FPN's first level."""
    nine = cell_anchors(16, (128, 256, 512)).tolist()
    assert nine[0] == [-84, -40, 99, 55]
    assert nine[4] == [-120, -120, 135, 135]
    assert nine[8] == [-168, -344, 183, 359]
    assert cell_anchors(4, (32,)).tolist() == [[-22, -10, 25, 13], [-14, -14, 17, 17], [-10, -22, 13, 25]]


def test_only_the_cpu_rule_suppresses_at_the_threshold_itself() -> None:
    boxes = torch.tensor([[0.0, 0, 23, 11], [8, 0, 31, 11], [9, 0, 32, 11]])  # 16 of 32 pixels shared with the first
    scores = torch.tensor([0.9, 0.8, 0.7])
    assert nms(boxes, scores, 0.5, extra=1, inclusive=True).tolist() == [0, 2]
    assert nms(boxes, scores, 0.5, extra=1, inclusive=False).tolist() == [0, 1]


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_finds_things_of_several_classes(name: str) -> None:
    network, settings = made(name)
    images, sizes = pictures(CONTRAST)
    for found, (height, width) in zip(network(images, sizes), sizes.tolist(), strict=True):
        assert 5 <= len(found.labels) <= 60
        assert len(found.labels.unique()) >= 3
        assert found.labels.min() >= 1
        assert found.boxes.amin() >= 0
        assert (found.boxes.amax(dim=0) <= torch.tensor([width - 1, height - 1] * 2)).all()
        assert found.scores.sort().values.diff().min() > 1e-4  # an order that rounding cannot turn
        if settings.masks:
            assert found.masks.shape[1] == (28 if settings.kind == "fpn" else 14)
            assert 0.1 < found.masks.mean() < 0.9
        else:
            assert found.masks is None


@pytest.mark.parametrize("name", VARIANTS)
def test_no_answer_hangs_on_a_rounding(name: str) -> None:
    """Noise far above rounding changes little: a comparison fails for a wrong rule only."""
    network, _ = made(name)
    images, sizes = pictures(CONTRAST)
    shaken = images + 1e-5 * CONTRAST * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    for found, other in zip(network(images, sizes), network(shaken, sizes), strict=True):
        assert found.labels.tolist() == other.labels.tolist()
        assert (found.boxes - other.boxes).abs().max() < 0.2
        assert (found.scores - other.scores).abs().max() < 1e-2


def test_the_two_nms_rules_answer_differently() -> None:
    """Boxes that nothing moves are anchors: some overlap by exactly a half."""
    by_rule = [made(name)[0](*pictures(CONTRAST)) for name in ("cuda_nms", "cpu_nms")]
    assert [len(found.labels) for found in by_rule[0]] != [len(found.labels) for found in by_rule[1]]


NAMES = {  # maskrcnn-benchmark's name: shape in R-50-FPN with 81 classes
    "backbone.body.stem.conv1.weight": (64, 3, 7, 7),
    "backbone.body.stem.bn1.running_var": (64,),
    "backbone.body.layer1.0.downsample.0.weight": (256, 64, 1, 1),
    "backbone.body.layer1.0.downsample.1.running_mean": (256,),
    "backbone.body.layer3.5.conv2.weight": (256, 256, 3, 3),
    "backbone.body.layer4.2.bn3.bias": (2048,),
    "backbone.fpn.fpn_inner1.weight": (256, 256, 1, 1),
    "backbone.fpn.fpn_inner4.bias": (256,),
    "backbone.fpn.fpn_layer4.weight": (256, 256, 3, 3),
    "rpn.anchor_generator.cell_anchors.4": (3, 4),
    "rpn.head.conv.weight": (256, 256, 3, 3),
    "rpn.head.cls_logits.weight": (3, 256, 1, 1),
    "rpn.head.bbox_pred.bias": (12,),
    "roi_heads.box.feature_extractor.fc6.weight": (1024, 12544),
    "roi_heads.box.feature_extractor.fc7.bias": (1024,),
    "roi_heads.box.predictor.cls_score.weight": (81, 1024),
    "roi_heads.box.predictor.bbox_pred.weight": (324, 1024),
    "roi_heads.mask.feature_extractor.mask_fcn4.weight": (256, 256, 3, 3),
    "roi_heads.mask.predictor.conv5_mask.weight": (256, 256, 2, 2),
    "roi_heads.mask.predictor.mask_fcn_logits.bias": (81,),
}


def test_names_and_shapes_of_r_50_fpn() -> None:
    with torch.device("meta"):
        state = {name: tuple(tensor.shape) for name, tensor in MaskRCNN(R_50_FPN).state_dict().items()}
    assert NAMES.items() <= state.items()
    body = 5 * 53  # convolutions, each with four numbers of its norm
    heads = 2 * (8 + 3 + 4 + 4 + 2)  # FPN, RPN, boxes, mask convolutions, mask predictor
    assert len(state) == body + heads + 5


def test_c4_names_its_shared_head_twice() -> None:
    with torch.device("meta"):
        state = MaskRCNN(R_50_C4).state_dict()
    box, mask = (
        {name.removeprefix(start): tuple(tensor.shape) for name, tensor in state.items() if name.startswith(start)}
        for start in ("roi_heads.box.feature_extractor.head.layer4.", "roi_heads.mask.feature_extractor.head.layer4.")
    )
    assert box == mask
    assert box["0.downsample.0.weight"] == (2048, 1024, 1, 1)
    assert tuple(state["roi_heads.box.predictor.bbox_pred.weight"].shape) == (324, 2048)
    assert tuple(state["roi_heads.mask.predictor.conv5_mask.weight"].shape) == (2048, 256, 2, 2)
    assert tuple(state["rpn.head.conv.weight"].shape) == (1024, 1024, 3, 3)
    assert tuple(state["rpn.head.bbox_pred.weight"].shape) == (60, 1024, 1, 1)


@pytest.mark.parametrize(
    ("variant", "present", "absent"),
    [
        ("gn", "backbone.body.layer1.0.bn1.weight", "backbone.body.layer1.0.bn1.running_var"),
        ("gn", "backbone.fpn.fpn_inner1.1.bias", "backbone.fpn.fpn_inner1.0.bias"),
        ("gn", "roi_heads.box.feature_extractor.fc7.1.weight", "roi_heads.box.feature_extractor.fc7.0.bias"),
        (
            "gn",
            "roi_heads.mask.feature_extractor.mask_fcn1.1.weight",
            "roi_heads.mask.feature_extractor.mask_fcn1.weight",
        ),
        (
            "gn_4conv1fc",
            "roi_heads.box.feature_extractor.xconvs.10.weight",
            "roi_heads.box.feature_extractor.fc7.weight",
        ),
        (
            "gn_4conv1fc",
            "roi_heads.box.feature_extractor.xconvs.9.weight",
            "roi_heads.box.feature_extractor.xconvs.9.bias",
        ),
        ("gn_4conv1fc", "roi_heads.box.feature_extractor.fc6.bias", "roi_heads.box.feature_extractor.fc6.0.weight"),
        ("dcn_v1", "backbone.body.layer2.0.conv2.offset.bias", "backbone.body.layer1.0.conv2.offset.bias"),
        ("dcn_v2", "backbone.body.layer4.0.conv2.conv.weight", "backbone.body.layer4.0.conv2.conv.bias"),
        ("faster", "rpn.anchor_generator.cell_anchors.0", "roi_heads.mask.predictor.conv5_mask.weight"),
        ("c4", "rpn.anchor_generator.cell_anchors.0", "rpn.anchor_generator.cell_anchors.1"),
    ],
)
def test_names_of_the_variants(variant: str, present: str, absent: str) -> None:
    state = made(variant)[0].state_dict()
    assert present in state
    assert absent not in state


@pytest.mark.parametrize(("variant", "channels"), [("dcn_v1", 18), ("dcn_v2", 27)])
def test_offset_channels_tell_the_version(variant: str, channels: int) -> None:
    assert len(made(variant)[0].state_dict()["backbone.body.layer3.0.conv2.offset.weight"]) == channels


def test_class_agnostic_boxes_have_eight_outputs() -> None:
    assert len(made("class_agnostic")[0].state_dict()["roi_heads.box.predictor.bbox_pred.bias"]) == 8
