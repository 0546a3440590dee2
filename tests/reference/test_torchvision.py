"""The reference of torchvision against what torchvision itself answered, and its tiny networks."""

import zlib
from ast import literal_eval
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.golden import recipe
from tests.reference.legacy_boxes import Found
from tests.reference.torchvision import (
    CONTRAST,
    RESNET50_FPN,
    RESNET50_FPN_V2,
    VARIANTS,
    MaskRCNN,
    Settings,
    made,
    pictures,
)
from tests.reference.torchvision_heads import batched_nms, cell_anchors, pool

GOLDEN = Path(__file__).parent.parent / "golden"
MEAN, STD = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def with_recipe(settings: Settings, golden: Any) -> MaskRCNN:
    """The network with the weights of the golden, which lists their names, shapes and checksums."""
    network = MaskRCNN(settings).eval()
    state = network.state_dict()
    shapes = {
        name: literal_eval(shape)
        for name, shape in zip(golden["names"].tolist(), golden["shapes"].tolist(), strict=True)
    }
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == shapes
    values = recipe.state_dict_numpy(shapes, float(golden["bg_bias"]))
    assert [zlib.crc32(values[name].tobytes()) for name in shapes] == golden["crc32"].tolist()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in values.items()})
    return network


def batch(golden: Any) -> tuple[Tensor, Tensor]:
    canvas, sizes = torch.zeros(*golden["batch_shape"].tolist()), torch.from_numpy(golden["image_sizes"])
    for index, (height, width) in enumerate(sizes.tolist()):
        image = ((torch.from_numpy(recipe.make_image(index)) - MEAN) / STD)[None]
        canvas[index, :, :height, :width] = F.interpolate(image, (height, width), mode="bilinear")[0]
    return canvas, sizes


def assert_same(found: Found, golden: Any, index: int) -> None:
    """Count and labels exactly, in the golden's order except among scores closer than 1e-3."""
    boxes, scores, labels, masks = (
        torch.from_numpy(golden[f"{part}_{index}"]) for part in ("boxes_net", "scores", "labels", "mask_probs")
    )
    assert found.labels.bincount().tolist() == labels.bincount().tolist()
    apart = (found.boxes - boxes[:, None]).abs().amax(dim=2)
    apart[labels[:, None] != found.labels] = torch.inf
    pairs = apart.argmin(dim=1)
    assert len(pairs.unique()) == len(pairs)
    for place, other in enumerate(pairs.tolist()):
        assert place == other or abs(scores[place] - scores[other]) < 1e-3
    assert apart.min(dim=1).values.max() < 0.05
    assert (found.scores[pairs] - scores).abs().max() < 2e-3
    assert (found.masks[pairs] - masks).abs().max() < 1e-2


@pytest.mark.slow
@pytest.mark.parametrize(("file", "settings"), [("v1_frozen", RESNET50_FPN), ("v2", RESNET50_FPN_V2)])
def test_resnet50_is_the_golden(file: str, settings: Settings) -> None:
    golden = np.load(GOLDEN / f"model_{file}_small.npz")
    for index, found in enumerate(with_recipe(settings, golden)(*batch(golden))):
        assert_same(found, golden, index)


def test_cell_anchors_are_torchvisions() -> None:
    golden = np.load(GOLDEN / "anchors.npz")
    for level, size in enumerate((32, 64, 128, 256, 512)):
        assert cell_anchors((size,)).tolist() == golden[f"cell_{level}"].tolist()


@pytest.mark.parametrize(
    "case", [name[:-5] for name in np.load(GOLDEN / "batched_nms.npz").files if name.endswith("_idxs")]
)
def test_batched_nms_is_torchvisions(case: str) -> None:
    golden = np.load(GOLDEN / "batched_nms.npz")
    boxes, scores, groups = (torch.from_numpy(golden[f"{case}_{part}"]) for part in ("boxes", "scores", "idxs"))
    kept, expected = (
        batched_nms(boxes, scores, groups, float(golden[f"{case}_thr"])).tolist(),
        golden[f"{case}_keep"].tolist(),
    )
    # torchvision orders equal scores of the second path as it happens
    assert sorted(kept) == sorted(expected) if case == "ties_vanilla" else kept == expected


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_finds_things_of_several_classes(name: str) -> None:
    network, settings = made(name)
    images, sizes = pictures(CONTRAST)
    for found, (height, width) in zip(network(images, sizes), sizes.tolist(), strict=True):
        assert 5 <= len(found.labels) <= 60
        assert len(found.labels.unique()) >= 3
        assert found.labels.min() >= 1
        assert found.boxes.amin() >= 0
        assert (found.boxes.amax(dim=0) <= torch.tensor([width, height] * 2)).all()
        assert found.scores.diff().max() < -1e-4  # an order that rounding cannot turn
        if settings.masks:
            assert found.masks.shape[1] == 28
            assert 0.1 < found.masks.mean() < 0.9
        else:
            assert found.masks is None


@pytest.mark.parametrize("name", VARIANTS)
def test_no_answer_hangs_on_a_rounding(name: str) -> None:
    """Noise far above rounding changes little: a comparison fails for a wrong rule only."""
    network, _ = made(name)
    images, sizes = pictures(CONTRAST)
    shaken = images + 3e-6 * CONTRAST * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    for found, other in zip(network(images, sizes), network(shaken, sizes), strict=True):
        assert found.labels.tolist() == other.labels.tolist()
        assert (found.boxes - other.boxes).abs().max() < 0.2
        assert (found.scores - other.scores).abs().max() < 1e-2


def test_the_epsilon_counts() -> None:
    """The same numbers under the other epsilon answer something else."""
    network, _ = made("v1")
    other = MaskRCNN(VARIANTS["v1_eps_0"]).eval()
    other.load_state_dict(network.state_dict())
    images, sizes = pictures(CONTRAST)
    for found, expected in zip(other(images, sizes), network(images, sizes), strict=True):
        assert len(found.scores) != len(expected.scores) or (found.scores - expected.scores).abs().max() > 0.01


def test_the_least_objectness_counts() -> None:
    """More proposals than those above the least one would fit."""
    network, settings = made("mobilenet_v3_large")
    images, sizes = pictures(CONTRAST)
    with torch.no_grad():
        levels = network.backbone(images)
        assert all(len(boxes) < settings.proposals for boxes in network.rpn(levels, sizes, tuple(images.shape[2:])))


def test_a_box_of_112_pixels_pools_from_the_second_level() -> None:
    levels = [torch.full((1, 2**size, 2**size), float(size)) for size in (6, 5, 4, 3, 2)]
    boxes = torch.tensor([[0.0, 0, 111.9, 111.9], [0, 0, 112, 112], [0, 0, 224, 224], [0, 0, 9, 9]])
    assert pool(levels, boxes, 1, longest=256).flatten().tolist() == [6, 5, 4, 6]


def test_mobilenets_second_map_pools_nothing() -> None:
    """Both have stride 32, so torchvision's levels go from 5 to 5."""
    levels = [torch.full((1, 4, 4), value) for value in (1.0, 2.0, 3.0)]
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 128, 128]])
    assert pool(levels, boxes, 1, longest=128).flatten().tolist() == [1, 1]


NAMES = {  # torchvision's name: shape, of maskrcnn_resnet50_fpn and of version 2
    RESNET50_FPN: {
        "backbone.body.conv1.weight": (64, 3, 7, 7),
        "backbone.body.bn1.running_var": (64,),
        "backbone.body.layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "backbone.body.layer4.2.bn3.running_mean": (2048,),
        "backbone.fpn.inner_blocks.3.0.bias": (256,),
        "backbone.fpn.layer_blocks.0.0.weight": (256, 256, 3, 3),
        "rpn.head.conv.0.0.weight": (256, 256, 3, 3),
        "rpn.head.bbox_pred.bias": (12,),
        "roi_heads.box_head.fc6.weight": (1024, 12544),
        "roi_heads.box_predictor.bbox_pred.weight": (364, 1024),
        "roi_heads.mask_head.3.0.bias": (256,),
        "roi_heads.mask_predictor.mask_fcn_logits.weight": (91, 256, 1, 1),
    },
    RESNET50_FPN_V2: {
        "backbone.body.bn1.num_batches_tracked": (),
        "backbone.fpn.inner_blocks.3.1.running_var": (256,),
        "rpn.head.conv.1.0.bias": (256,),
        "roi_heads.box_head.3.1.weight": (256,),
        "roi_heads.box_head.5.weight": (1024, 12544),
        "roi_heads.mask_head.0.1.bias": (256,),
    },
}


@pytest.mark.parametrize("settings", NAMES, ids=["v1", "v2"])
def test_names_and_shapes_of_resnet50(settings: Settings) -> None:
    with torch.device("meta"):
        state = {name: tuple(tensor.shape) for name, tensor in MaskRCNN(settings).state_dict().items()}
    assert NAMES[settings].items() <= state.items()
    # 53 convolutions and their norms' four numbers, 21 layers with a bias; version 2 as counted in torchvision
    assert len(state) == (5 * 53 + 2 * 21 if settings.version == 1 else 432)


@pytest.mark.parametrize(
    ("variant", "present", "absent"),
    [
        ("resnet18", "backbone.body.layer2.0.downsample.1.weight", "backbone.body.layer1.0.downsample.1.weight"),
        ("resnet18", "backbone.body.layer4.1.bn2.running_var", "backbone.body.layer4.1.bn3.running_var"),
        ("mobilenet_v3_large", "backbone.body.0.0.weight", "backbone.body.0.1.num_batches_tracked"),
        ("mobilenet_v3_large", "backbone.body.4.block.2.fc1.bias", "backbone.body.3.block.2.fc1.bias"),
        ("mobilenet_v3_large", "backbone.body.1.block.1.1.running_mean", "backbone.body.1.block.2.0.weight"),
        ("mobilenet_v3_large", "backbone.body.16.1.bias", "backbone.body.17.0.weight"),
        ("mobilenet_v3_large", "backbone.fpn.inner_blocks.1.0.bias", "backbone.fpn.inner_blocks.2.0.bias"),
        ("batch_norm", "backbone.body.bn1.num_batches_tracked", "backbone.fpn.inner_blocks.0.1.weight"),
        ("faster", "roi_heads.box_head.fc7.bias", "roi_heads.mask_head.0.0.weight"),
    ],
)
def test_names_of_the_variants(variant: str, present: str, absent: str) -> None:
    state = made(variant)[0].state_dict()
    assert present in state
    assert absent not in state
