"""Parts whose answers the frameworks gave on their own: pictures on a canvas, anchors, pooling, tiny networks."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from export.checkpoint import load_checkpoint
from export.conventions import Conventions
from export.errors import ExportError
from export.kinds import Kind
from export.model import MaskRCNN
from export.model.anchors import cell_anchors
from export.model.regions import Pooling
from export.network.weights import Imported, import_weights
from export.presets import preset
from export.verification.comparison import compare_answers
from handler.canvas import canvas_size, resized_size
from handler.model_card import Postprocessing
from tests.export import tiny
from tests.export.frameworks import Trained, trained
from tests.export.golden_comparison import largest, network_of, placed_alone, planes_of
from tests.export.golden_models import GOLDEN
from tests.export.test_frameworks import TOLERANCE, answer_of
from tests.reference.detectron2 import Detections, on_picture

FRAMEWORKS = {"mb": "maskrcnn-benchmark", "d2": "detectron2", "tv": "torchvision"}
STRIDES = (4, 8, 16, 32, 64)


def preprocessing_complaints(framework: str, rules: Conventions) -> Iterator[str]:
    """Four pictures: their sizes and every value, as the framework's own transform gives them."""
    golden = np.load(GOLDEN / "preprocess.npz")
    for case in ("c0", "c1", "c2", "c3"):
        smallest, longest = golden[f"{case}_minmax"].tolist()
        limited = replace(rules.preprocessing, min_size=smallest, max_size=longest)
        image = torch.from_numpy(golden[f"{case}_in"])
        size = resized_size(image.shape[0], image.shape[1], limited)
        canvas = placed_alone(image, size, limited)
        if framework == "tv":
            yield from _of_torchvision(golden, case, canvas, size)
            continue
        expected = golden[f"{case}_{framework}"][..., ::-1].astype(np.float32) - _BGR_MEAN[framework]
        if not largest(canvas[:, : size[0], : size[1]], torch.from_numpy(expected).permute(2, 0, 1)) <= 1e-5:
            yield f"{case} is another picture"


# Subtracted by the two frameworks, from blue, green and red.
_BGR_MEAN = {
    "mb": np.array([102.9801, 115.9465, 122.7717], np.float32),
    "d2": np.array([103.53, 116.28, 123.675], np.float32),
}


def _of_torchvision(golden: "np.lib.npyio.NpzFile", case: str, canvas: Tensor, size: tuple[int, int]) -> Iterator[str]:
    if [*size, *canvas.shape[1:]] != [*golden[f"{case}_tv_size"].tolist(), *golden[f"{case}_tv_padded"].tolist()[2:]]:
        yield f"{case} is {size} on a canvas of {tuple(canvas.shape[1:])}"
    elif not largest(canvas[:, : size[0], : size[1]], torch.from_numpy(golden[f"{case}_tv_tensor"])[0]) <= 1e-5:
        yield f"{case} is another picture"


def size_complaints(rules: Conventions) -> Iterator[str]:
    """torchvision's table of sizes, with its own limits."""
    golden = np.load(GOLDEN / "transform.npz")
    for image, expected in zip(golden["sizes_in"].tolist(), golden["sizes_out_resized_padded"].tolist(), strict=True):
        resized = resized_size(*image, rules.preprocessing)
        if [*resized, *canvas_size(*resized, rules.preprocessing)] != expected:
            yield f"{image} becomes {resized}"


def anchor_complaints(framework: str, kind: Kind, rules: Conventions) -> Iterator[str]:
    """The anchors of one cell of each level, in their order."""
    golden = np.load(GOLDEN / "detectron" / "anchors.npz")
    if kind == "c4":
        names, strides = ["tv_c4_5sizes" if framework == "tv" else f"{framework}_c4"], (16,)
    else:
        names, strides = [f"{framework}_fpn_stride{stride}" for stride in STRIDES], STRIDES
    for name, found in zip(names, cell_anchors(rules.proposals, strides), strict=True):
        if not largest(found, torch.from_numpy(golden[name])) <= 1e-4:  # float32 of up to 362
            yield f"{name} are others"


def anchor_rules(framework: str, kind: Kind) -> Conventions:
    """torchvision publishes no C4: a user's has the anchors of the others."""
    if framework == "tv" and kind == "c4":
        sizes = ((32.0, 64.0, 128.0, 256.0, 512.0),)
        return preset("torchvision", "fpn").with_options("proposals", anchor_sizes=sizes)
    return preset(FRAMEWORKS[framework], kind)


def level_complaints(rules: Conventions) -> Iterator[str]:
    """Boxes whose sides are rounding apart from where the level changes, pooled by torchvision."""
    golden = np.load(GOLDEN / "multiscale_roi_align.npz")
    levels = [torch.from_numpy(golden[f"feat_{level}"]) for level in range(4)]
    boxes = torch.from_numpy(np.concatenate([golden["boxes_0"], golden["boxes_1"]]))
    counts = torch.tensor([len(golden["boxes_0"]), len(golden["boxes_1"])])
    found = Pooling(tiny.BOTTLENECK, rules, side=7)(boxes, counts, tuple(levels))
    apart = (found - torch.from_numpy(golden["out_7"])).abs().flatten(1).amax(1)
    if not apart.max() <= 1e-5:
        yield f"{int((apart > 1e-5).sum())} boxes show something else"


class MadeUp:
    """A model that finds three things in a picture of 8 x 10 pixels, whatever it shows: the last is empty."""

    boxes = torch.tensor([[2.0, 1.0, 6.0, 5.0], [6.0, 4.0, 10.0, 8.0], [10.0, 3.0, 10.0, 7.0]])
    masks = torch.tensor([0.5, 0.25, 0.5, 1.0]).expand(3, 4, 4)  # as wide as the first two boxes: no pixel is rounded
    scores, labels = torch.tensor([0.9, 0.8, 0.7]), torch.arange(3)

    def detect(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        """As an exported model."""
        return self.boxes[None], self.scores[None], self.labels[None], self.labels[None], torch.tensor([3])

    def segment(self, boxes: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
        """As an exported model."""
        return self.masks[labels]


def pixel_complaints(rules: Conventions, card: Postprocessing | None = None) -> Iterator[str]:
    """What a slow reference of Detectron2 does with an empty box and with probabilities of exactly 0.5."""
    size, model = (8, 10), MadeUp()
    found = Detections(model.boxes, model.scores, model.labels, model.masks)
    boxes, planes = on_picture(found, list(size), *size)
    network = network_of(model, rules.preprocessing, card or rules.postprocessing())
    answers = network.find(torch.zeros(1, 3, *size), torch.tensor([[size], [size]]))
    if not torch.equal(answers.boxes[answers.valid], boxes):
        yield f"{answers.valid.sum()} boxes, not {len(boxes)}"
    ours = planes_of(network, model.masks[: len(boxes)], boxes, size)
    if (wrong := int((ours != planes.numpy()).sum())) > 0:
        yield f"{wrong} pixels are others"


@cache
def _tiny(framework: str, variant: str) -> tuple[Trained, Imported, tuple[Tensor, ...]]:
    given = trained(framework, variant)
    with tempfile.TemporaryDirectory() as folder:
        imported = import_weights(load_checkpoint(given.save(Path(folder))).tensors)
    return given, imported, answer_of(given)


def tiny_rules(framework: str, variant: str) -> Conventions:
    """The conventions that the product has for a tiny network."""
    given, imported, _ = _tiny(framework, variant)
    return given.conventions(imported)


@torch.inference_mode()
def tiny_complaints(framework: str, variant: str, rules: Conventions) -> list[str]:
    """What a slow reference answers, sharing no code with the product."""
    given, imported, expected = _tiny(framework, variant)
    found = MaskRCNN(imported.weights, imported.architecture, rules)(given.images, given.sizes)
    try:
        return compare_answers(found, expected).beyond(TOLERANCE)
    except ExportError as error:
        return [str(error)]
