"""The reference against Detectron2's own answers: names, proposals, detections, masks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.golden.detectron import recipe
from tests.reference.detectron2 import VARIANTS, Detections, Detectron2, Settings, canvas, made, on_picture, pictures
from tests.reference.detectron2_boxes import areas

GOLDEN = Path(__file__).parents[1] / "golden" / "detectron"
CASES = {"batch": [0, 1], "single0": [0], "single1": [1]}
# Rounding of 50 layers, by its stability under noise 25 times as strong as what is seen (2e-4 px, 4e-6, 2e-5).
PIXELS, SCORE, PROBABILITY = 5e-3, 1e-4, 4e-4


def norm(prefix: str) -> set[str]:
    return {f"{prefix}.norm.{name}" for name in ("weight", "bias", "running_mean", "running_var")}


def with_bias(*prefixes: str) -> set[str]:
    return {f"{prefix}.{name}" for prefix in prefixes for name in ("weight", "bias")}


def names_of_r50_fpn() -> set[str]:
    """As ``state_dict()`` of mask_rcnn_R_50_FPN_3x lists them."""
    body = "backbone.bottom_up"
    convs = [f"{body}.stem.conv1", *(f"{body}.res{stage}.0.shortcut" for stage in range(2, 6))]
    for stage, blocks in zip(range(2, 6), (3, 4, 6, 3), strict=True):
        convs += [f"{body}.res{stage}.{block}.conv{conv}" for block in range(blocks) for conv in (1, 2, 3)]
    names = {name for conv in convs for name in {f"{conv}.weight", *norm(conv)}}
    names |= with_bias(*(f"backbone.fpn_{role}{level}" for role in ("lateral", "output") for level in range(2, 6)))
    names |= with_bias(
        *(f"proposal_generator.rpn_head.{name}" for name in ("conv", "objectness_logits", "anchor_deltas"))
    )
    heads = ("box_head.fc1", "box_head.fc2", "box_predictor.cls_score", "box_predictor.bbox_pred")
    heads += (*(f"mask_head.mask_fcn{number}" for number in range(1, 5)), "mask_head.deconv", "mask_head.predictor")
    return names | with_bias(*(f"roi_heads.{head}" for head in heads))


def test_r50_fpn_has_detectron2s_names_and_shapes() -> None:
    state = Detectron2(Settings()).state_dict()
    assert set(state) == names_of_r50_fpn()
    assert state["roi_heads.box_predictor.cls_score.weight"].shape == (81, 1024)
    assert state["roi_heads.box_predictor.bbox_pred.weight"].shape == (320, 1024)
    assert state["roi_heads.mask_head.predictor.weight"].shape == (80, 256, 1, 1)


@pytest.fixture(scope="module")
def golden() -> Any:
    return np.load(GOLDEN / "d2_R_50_FPN.npz")


@pytest.fixture(scope="module")
def r50_fpn() -> Detectron2:
    """The weights of the recorded run: drawn by name, so a wrong name draws wrong weights."""
    module, numbers = Detectron2(Settings()), recipe.PARAMS["d2_R_50_FPN"]
    values = {name: recipe.value(name, value.shape, numbers) for name, value in module.state_dict().items()}
    module.load_state_dict({name: torch.from_numpy(value) for name, value in values.items()})
    return module


def inputs(golden: Any, indices: list[int]) -> tuple[Tensor, Tensor]:
    return canvas([torch.from_numpy(golden[f"input_im{index}"]) for index in indices], Settings())


@pytest.mark.slow  # a few seconds each: ResNet-50 on one core
@pytest.mark.parametrize("case", CASES)
def test_detections_are_detectron2s(golden: Any, r50_fpn: Detectron2, case: str) -> None:
    for index, found in enumerate(r50_fpn(*inputs(golden, CASES[case]))):
        expect_recorded(golden, f"{case}_im{index}", found)


def expect_recorded(golden: Any, key: str, found: Detections) -> None:
    """The same detections in the same order, and the same masks pasted on the picture and on a larger one."""
    assert found.labels.tolist() == golden[f"{key}_labels"].tolist()
    np.testing.assert_allclose(found.boxes, golden[f"{key}_boxes"], atol=PIXELS, rtol=0)
    np.testing.assert_allclose(found.scores, golden[f"{key}_scores"], atol=SCORE, rtol=0)
    np.testing.assert_allclose(found.masks, golden[f"{key}_masks"], atol=PROBABILITY, rtol=0)
    size = golden[f"{key}_size_hw"].tolist()
    expect_pasted(golden, key, on_picture(found, size, *size)[1])
    if f"{key}_resized_hw" in golden:
        boxes, masks = on_picture(found, size, *golden[f"{key}_resized_hw"].tolist())
        np.testing.assert_allclose(boxes, golden[f"{key}_resized_boxes"], atol=2 * PIXELS, rtol=0)
        expect_pasted(golden, f"{key}_resized", masks)


def expect_pasted(golden: Any, key: str, masks: Tensor) -> None:
    bits = np.unpackbits(golden[f"{key}_pasted_bits"], axis=1)[:, : masks[0].numel()].reshape(masks.shape)
    wrong = (masks.numpy() != bits.astype(bool)).sum(axis=(1, 2))
    assert wrong.max() <= 2, wrong  # a pixel of a mask's border may fall on 0.5


@pytest.mark.slow  # a few seconds: ResNet-50 on one core
@torch.no_grad()
def test_features_and_proposals_are_detectron2s(golden: Any, r50_fpn: Detectron2) -> None:
    images, sizes = inputs(golden, [0, 1])
    assert list(images.shape) == golden["padded_shape"].tolist()
    features = r50_fpn.backbone(images)
    for name, level in zip(("p2", "p3", "p4", "p5", "p6"), features, strict=True):
        assert list(level.shape) == golden[f"feat_{name}_shape"].tolist()
        np.testing.assert_allclose(level[:, ::16, ::3, ::3], golden[f"feat_{name}_sample"], atol=1e-4, rtol=0)
    for index, (boxes, logits) in enumerate(r50_fpn.proposal_generator(features, sizes)):
        np.testing.assert_allclose(boxes, golden[f"batch_im{index}_proposals"], atol=PIXELS, rtol=0)
        np.testing.assert_allclose(logits, golden[f"batch_im{index}_objectness_logits"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_tiny_network_finds_something(name: str) -> None:
    module, settings = made(name)
    images, sizes = canvas(pictures(), settings)
    assert images.isfinite().all()
    for found, (height, width) in zip(module(images, sizes), sizes.tolist(), strict=True):
        assert 5 <= len(found.boxes) < settings.detections
        assert len(found.labels.unique()) >= 3
        assert (found.scores > settings.score_threshold).all()
        assert (found.scores.diff() <= 0).all()
        assert (areas(found.boxes) > 0).all()
        assert (found.boxes >= 0).all()
        assert (found.boxes <= torch.tensor([width, height, width, height])).all()
        expect_masks(found, settings)


@pytest.mark.slow  # as long as all of the above again
@pytest.mark.parametrize("name", VARIANTS)
def test_rounding_decides_on_no_detection(name: str) -> None:
    """So that whoever computes the same in another order finds the same."""
    module, settings = made(name)
    images, sizes = canvas(pictures(), settings)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)) / settings.pixel_std[0]
    for found, again in zip(module(images, sizes), module(images + 2.5e-4 * noise, sizes), strict=True):
        assert found.labels.bincount().tolist() == again.labels.bincount().tolist()
        nearest = (found.boxes[:, None] - again.boxes).abs().amax(dim=2).amin(dim=1)
        assert (nearest < 0.1).all()


def expect_masks(found: Detections, settings: Settings) -> None:
    if not settings.masks:
        assert found.masks is None
        return
    side = settings.box_pool if settings.kind == "c4" else 2 * settings.mask_pool  # C4: res5 halves, deconv doubles
    assert found.masks.shape == (len(found.boxes), side, side)
    assert found.masks.std() > 0.05  # neither empty nor full


# What each variant adds to, or changes in, the names: as the facts about Detectron2's checkpoints have them.
SHAPES = {
    "c4": {
        "backbone.stem.conv1.weight": (16, 3, 7, 7),
        "backbone.res4.0.conv3.weight": (64, 16, 1, 1),
        "roi_heads.res5.2.conv3.weight": (128, 32, 1, 1),
        "proposal_generator.rpn_head.anchor_deltas.weight": (60, 64, 1, 1),
        "roi_heads.box_predictor.cls_score.weight": (6, 128),
        "roi_heads.mask_head.deconv.weight": (128, 16, 2, 2),
    },
    "dc5": {
        "backbone.res5.1.conv2.weight": (32, 32, 3, 3),
        "proposal_generator.rpn_head.conv.weight": (128, 128, 3, 3),
        "roi_heads.box_head.fc1.weight": (32, 128 * 49),
        "roi_heads.mask_head.mask_fcn4.weight": (16, 16, 3, 3),
    },
    "gn": {
        "backbone.bottom_up.res2.0.conv1.norm.weight": (32,),
        "backbone.fpn_lateral2.norm.bias": (64,),
        "roi_heads.box_head.conv4.norm.weight": (32,),
        "roi_heads.mask_head.mask_fcn8.norm.weight": (64,),
    },
    "syncbn": {
        "backbone.bottom_up.res3.0.conv1.norm.num_batches_tracked": (),
        "backbone.fpn_output5.norm.num_batches_tracked": (),
        "roi_heads.mask_head.mask_fcn1.norm.running_var": (16,),
    },
    "resnext": {"backbone.bottom_up.res3.0.conv2.weight": (32, 8, 3, 3)},
    "deform_v1": {
        "backbone.bottom_up.res3.0.conv2_offset.bias": (18,),
        "backbone.bottom_up.res5.0.conv2.norm.running_mean": (64,),
    },
    "deform_v2": {"backbone.bottom_up.res3.0.conv2_offset.weight": (27, 16, 3, 3)},
    "cascade": {
        "roi_heads.box_head.2.fc2.bias": (32,),
        "roi_heads.box_predictor.1.bbox_pred.weight": (4, 32),
    },
    "class_agnostic": {
        "roi_heads.box_predictor.bbox_pred.weight": (4, 32),
        "roi_heads.mask_head.predictor.weight": (1, 16, 1, 1),
    },
    "lsj": {
        "backbone.bottom_up.stem.conv1.norm.num_batches_tracked": (),
        "proposal_generator.rpn_head.conv.conv1.bias": (16,),
        "roi_heads.box_head.conv4.weight": (16, 16, 3, 3),
        "roi_heads.box_head.fc1.weight": (32, 16 * 49),
    },
    "basic_blocks": {"backbone.bottom_up.res3.0.shortcut.weight": (32, 16, 1, 1)},
    "x152": {
        "backbone.bottom_up.res5.0.conv2.weight": (128, 32, 3, 3),
        "roi_heads.box_head.1.conv1.norm.weight": (32,),
    },
}
ABSENT = {
    "c4": ("backbone.res5", "roi_heads.box_head", "roi_heads.mask_head.mask_fcn1"),
    "dc5": ("roi_heads.res5", "backbone.fpn"),
    "gn": ("backbone.fpn_lateral2.bias", "roi_heads.box_head.fc2", "roi_heads.mask_head.mask_fcn1.bias"),
    "syncbn": ("backbone.bottom_up.res2.0.conv1.norm.num_batches_tracked",),
    "deform_v1": ("backbone.bottom_up.res2.0.conv2_offset", "backbone.bottom_up.res3.0.conv2.bias"),
    "lsj": ("proposal_generator.rpn_head.conv.weight", "roi_heads.box_head.fc2"),
    "basic_blocks": ("backbone.bottom_up.res2.0.shortcut", "backbone.bottom_up.res2.0.conv3"),
    "faster": ("roi_heads.mask_head",),
}


@pytest.mark.parametrize("name", SHAPES)
def test_names_and_shapes_of_the_variants(name: str) -> None:
    state = Detectron2(VARIANTS[name]).state_dict()
    assert {key: tuple(state[key].shape) for key in SHAPES[name]} == SHAPES[name]


@pytest.mark.parametrize("name", ABSENT)
def test_what_the_variants_lack(name: str) -> None:
    assert [key for key in Detectron2(VARIANTS[name]).state_dict() if key.startswith(ABSENT[name])] == []
