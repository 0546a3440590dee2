"""The eager model against torchvision's own numbers, from pixels to masks."""

import zlib
from ast import literal_eval
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from export import trace
from export.comparison import Differences, compare_answers
from export.model import MaskRCNN
from export.presets import preset
from export.weights import import_weights
from tests.export.test_weights import GOLDEN
from tests.golden import recipe

MEAN, STD = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
LEVELS = ("0", "1", "2", "3", "pool")


@pytest.fixture(scope="module")
def golden() -> Any:
    return np.load(GOLDEN / "model_v1_frozen_small.npz")


@pytest.fixture(scope="module")
def model(golden: Any) -> MaskRCNN:
    shapes = {
        name: literal_eval(shape)
        for name, shape in zip(golden["names"].tolist(), golden["shapes"].tolist(), strict=True)
    }
    values = recipe.state_dict_numpy(shapes, float(golden["bg_bias"]))
    assert [zlib.crc32(values[name].tobytes()) for name in shapes] == golden["crc32"].tolist()
    imported = import_weights({name: torch.from_numpy(value) for name, value in values.items()})
    return MaskRCNN(imported.weights, imported.architecture, preset("torchvision-coco-v1", "fpn"))


@pytest.fixture(scope="module")
def batch(golden: Any) -> tuple[Tensor, Tensor]:
    """Both pictures on one canvas, resized by PyTorch itself."""
    canvas, sizes = torch.zeros(*golden["batch_shape"].tolist()), torch.from_numpy(golden["image_sizes"])
    for index, (height, width) in enumerate(sizes.tolist()):
        image = ((torch.from_numpy(recipe.make_image(index)) - MEAN) / STD)[None]
        resized = F.interpolate(image, size=(height, width), mode="bilinear", align_corners=False)
        canvas[index, :, :height, :width] = resized[0]
    return canvas, sizes


@torch.inference_mode()
def test_features_and_proposals_are_torchvisions(golden: Any, model: MaskRCNN, batch: tuple[Tensor, Tensor]) -> None:
    images, sizes = batch
    levels = model.features(images)
    for name, features in zip(LEVELS, levels, strict=True):
        step = int(golden[f"feat_{name}_step"])
        # Rounding of 50 layers; the features are of the order of 1.
        np.testing.assert_allclose(features[:, ::32, ::step, ::step], golden[f"feat_{name}_sub"], atol=5e-5, rtol=0)
    proposals, counts = model.proposals(levels, sizes)
    assert counts.tolist() == [1000, 1000]
    for index in range(2):
        apart = np.abs(proposals[index].numpy() - golden[f"proposals_{index}"]).max(axis=1)
        assert (apart > 0.05).sum() <= 10  # neighbours whose scores are rounding apart may swap


@pytest.fixture(scope="module", params=["eager", "traced"])
def network(request: pytest.FixtureRequest, model: MaskRCNN, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The model as it is, and as a worker loads it."""
    if request.param == "eager":
        return model
    path = tmp_path_factory.mktemp("golden") / "model.pt"
    trace.save(trace.trace(model), path)
    return torch.jit.load(path)


@torch.inference_mode()
def test_answers_are_torchvisions(golden: Any, network: Any, batch: tuple[Tensor, Tensor]) -> None:
    """Count and labels exactly; the order too, except among scores closer than 1e-3."""
    parts = ("boxes_net", "scores", "labels", "mask_probs")
    expected = [torch.cat([torch.from_numpy(golden[f"{part}_{index}"]) for index in range(2)]) for part in parts]
    expected.append(torch.tensor([len(golden["boxes_0"]), len(golden["boxes_1"])]))
    found = network(*batch)
    assert compare_answers(found, expected).beyond(Differences(boxes=0.05, scores=2e-3, masks=1e-2)) == []
