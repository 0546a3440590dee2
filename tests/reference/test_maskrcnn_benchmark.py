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
