"""Whole networks, and what their own frameworks answered to two pictures. The weights are drawn anew from a recipe."""

import zlib
from ast import literal_eval
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.conventions import Conventions
from export.network.weights import Imported, import_weights
from export.presets import preset
from export.verification.comparison import Differences
from handler.canvas import Size
from tests.golden import recipe as torchvision_recipe
from tests.golden.detectron import recipe as detectron_recipe
from tests.reference import detectron2, maskrcnn_benchmark

GOLDEN = Path(__file__).parents[1] / "golden"


@dataclass(frozen=True)
class View:
    """The detections of one picture, in its pixels or in those of a picture that shows the same in another size."""

    size: Size
    boxes: Tensor  # (N, 4) float32
    masks: NDArray[np.bool_]  # (N, height, width)


@dataclass(frozen=True)
class Found:
    """The detections of one picture, best first."""

    boxes: Tensor  # (N, 4) float32, in canvas pixels
    scores: Tensor  # (N,)
    labels: Tensor  # (N,) int64
    masks: Tensor  # (N, M, M) probabilities
    views: tuple[View, ...]


@dataclass(frozen=True)
class Sample:
    """Some values of one level of the features."""

    level: int
    steps: tuple[int, int]  # between the channels, and between the cells of either axis, that were kept
    values: Tensor


@dataclass(frozen=True)
class Recorded:
    """One run of a framework, and how much of it another implementation must meet.

    Attributes:
        network: Key of the golden.
        tag: Which pictures.
        images: (H, W, 3) uint8 each.
        resized: Whether the framework resized them; else each lies on the canvas as it is.
        canvas: Height and width.
        found: What it answered, picture by picture.
        features: What was kept of the features, if anything.
        proposals: (P, 4) of each picture, if they were kept.
        objectness: (P) their scores, if they were kept.
        tolerance: Of boxes, scores and masks, as the golden's description gives it.
    """

    network: str
    tag: str
    images: tuple[Tensor, ...]
    resized: bool
    canvas: Size
    found: tuple[Found, ...]
    tolerance: Differences
    features: tuple[Sample, ...] = ()
    proposals: tuple[Tensor, ...] = ()
    objectness: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Golden:
    """How a network was built: whose module has its names, and the preset with its conventions.

    Attributes:
        file: Below the folder of the goldens, without extension.
        preset: Used as it is, but for the limits.
        kind: Of network.
        limits: Of the resized pictures, where the run had others than the preset.
    """

    file: str
    preset: str
    kind: Any = "fpn"
    limits: dict[str, int] = field(default_factory=dict)

    def conventions(self) -> Conventions:
        """Those that the product has for it."""
        return preset(self.preset, self.kind).with_options("preprocessing", **self.limits)


_SMALL = {"min_size": 256, "max_size": 416}
GOLDENS = {
    "d2_R_50_FPN": Golden("detectron/d2_R_50_FPN", "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"),
    "mb_R_50_FPN": Golden("detectron/mb_R_50_FPN", "maskrcnn-benchmark-cpu"),
    "mb_R_50_C4": Golden("detectron/mb_R_50_C4", "maskrcnn-benchmark-cpu", kind="c4"),
    "v1_frozen": Golden("model_v1_frozen_small", "torchvision-coco-v1", limits=_SMALL),
    "v2": Golden("model_v2_small", "torchvision-coco-v2", limits=_SMALL),
}
OF_TORCHVISION = ("v1_frozen", "v2")
PICTURES = {"batch": (0, 1), "single0": (0,), "single1": (1,)}


def values_of(network: str) -> Any:
    """The arrays of a golden."""
    return np.load(GOLDEN / f"{GOLDENS[network].file}.npz")


@lru_cache(maxsize=2)  # 180 MB each
def imported(network: str) -> Imported:
    """The weights of a golden, as a checkpoint with its framework's names would give them."""
    weights = _torchvision_weights(network) if network in OF_TORCHVISION else _detectron_weights(network)
    return import_weights({name: torch.from_numpy(value) for name, value in weights.items()})


def _torchvision_weights(network: str) -> dict[str, NDArray[Any]]:
    golden = values_of(network)
    names = golden["names"].tolist()
    shapes = {name: literal_eval(shape) for name, shape in zip(names, golden["shapes"].tolist(), strict=True)}
    weights = torchvision_recipe.state_dict_numpy(shapes, float(golden["bg_bias"]))
    assert [zlib.crc32(weights[name].tobytes()) for name in names] == golden["crc32"].tolist()
    return weights


def _detectron_weights(network: str) -> dict[str, NDArray[Any]]:
    with torch.device("meta"):  # for the names and the shapes
        module: torch.nn.Module = {
            "d2_R_50_FPN": lambda: detectron2.Detectron2(detectron2.Settings()),
            "mb_R_50_FPN": lambda: maskrcnn_benchmark.MaskRCNN(maskrcnn_benchmark.R_50_FPN),
            "mb_R_50_C4": lambda: maskrcnn_benchmark.MaskRCNN(maskrcnn_benchmark.R_50_C4),
        }[network]()
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items() if "cell_anchors" not in name}
    parameters = detectron_recipe.PARAMS[network]
    return {name: detectron_recipe.value(name, shape, parameters) for name, shape in shapes.items()}


@lru_cache(maxsize=4)
def recorded(network: str, tag: str = "batch") -> Recorded:
    """A run of a golden: both pictures, or one of them alone."""
    if network in OF_TORCHVISION:
        return _torchvision_run(network)
    golden = values_of(network)
    images = tuple(torch.from_numpy(golden[f"input_im{index}"]) for index in PICTURES[tag])
    canvas = np.max([image.shape[:2] for image in images], axis=0).tolist()  # whole 32 pixels, all of them
    found = tuple(_detectron_picture(golden, f"{tag}_im{index}") for index in range(len(images)))
    kept: dict[str, Any] = _detectron_insides(golden) if tag == "batch" else {}
    tolerance = Differences(boxes=2e-2, scores=5e-4, masks=2e-3)
    return Recorded(network, tag, images, resized=False, canvas=canvas, found=found, tolerance=tolerance, **kept)


def _detectron_picture(golden: Any, key: str) -> Found:
    """maskrcnn-benchmark answers class by class; every answer here is by score."""
    scores = torch.from_numpy(golden[f"{key}_scores"])
    order = scores.argsort(descending=True, stable=True)
    boxes, labels, masks = (torch.from_numpy(golden[f"{key}_{part}"])[order] for part in ("boxes", "labels", "masks"))
    views = [_view(golden, key, "size_hw", order)]
    if f"{key}_resized_hw" in golden:
        views.append(_view(golden, f"{key}_resized", "hw", order))
    return Found(boxes, scores[order], labels.long(), masks, tuple(views))


def _view(golden: Any, key: str, size_name: str, order: Tensor) -> View:
    height, width = golden[f"{key}_{size_name}"].tolist()
    bits = np.unpackbits(golden[f"{key}_pasted_bits"][order.numpy()], axis=1)[:, : height * width].astype(bool)
    return View((height, width), torch.from_numpy(golden[f"{key}_boxes"])[order], bits.reshape(-1, height, width))


def _detectron_insides(golden: Any) -> dict[str, Any]:
    names = [name.removesuffix("_sample") for name in golden if name.endswith("_sample")]
    samples = (torch.from_numpy(golden[f"{name}_sample"]) for name in names)
    steps = [(int(golden[f"{name}_shape"][1]) // 16, 3) for name in names]
    score = "objectness" if "batch_im0_objectness" in golden else "objectness_logits"
    pictures = [[torch.from_numpy(golden[f"batch_im{i}_{part}"]) for i in (0, 1)] for part in ("proposals", score)]
    features = [Sample(*each) for each in zip(range(len(names)), steps, samples, strict=True)]
    return {"features": tuple(features), "proposals": tuple(pictures[0]), "objectness": tuple(pictures[1])}


def _torchvision_run(network: str) -> Recorded:
    golden, inputs = values_of(network), np.load(GOLDEN / "inputs.npz")
    images = tuple(torch.from_numpy(inputs[f"image{index}"]).permute(1, 2, 0) for index in (0, 1))
    levels = enumerate(("0", "1", "2", "3", "pool"))
    return Recorded(
        network,
        "batch",
        images,
        resized=True,
        canvas=tuple(golden["batch_shape"].tolist()[2:]),
        found=tuple(_torchvision_picture(golden, index) for index in (0, 1)),
        tolerance=Differences(boxes=0.05, scores=2e-3, masks=1e-2),
        features=tuple(
            Sample(level, (32, int(golden[f"feat_{name}_step"])), torch.from_numpy(golden[f"feat_{name}_sub"]))
            for level, name in levels
        ),
        proposals=tuple(torch.from_numpy(golden[f"proposals_{index}"]) for index in (0, 1)),
    )


def _torchvision_picture(golden: Any, index: int) -> Found:
    boxes, scores, labels, masks, on_image = (
        torch.from_numpy(golden[f"{part}_{index}"]) for part in ("boxes_net", "scores", "labels", "mask_probs", "boxes")
    )
    size: Sequence[int] = golden[f"masks_shape_{index}"].tolist()[1:]
    planes = np.unpackbits(golden[f"masks_gt05_packed_{index}"], axis=2)[..., : size[1]].astype(bool)
    return Found(boxes, scores, labels, masks, (View((size[0], size[1]), on_image, planes),))
