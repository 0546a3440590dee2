"""What the product makes of a golden's pictures with some conventions, against what the framework made of them."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco
from torch import Tensor

import ops
from export.conventions import Body, Conventions
from export.errors import ExportError
from export.model import MaskRCNN
from export.model.anchors import cell_anchors
from export.verification.comparison import compare_answers
from handler.canvas import Size, boxes_on_image, canvas_size, resized_size
from handler.detections import unpack_masks
from handler.model_card import ModelCard, Postprocessing, Preprocessing
from handler.network import Network
from handler.selection import default_selection
from handler.settings import Settings
from tests.export.golden_models import GOLDENS, Found, Recorded, View, imported, recorded

FEATURES = 3e-5  # of 1: four times the rounding of 50 layers, a third of what an eps of 1e-5 in their norms changes
OBJECTNESS = 1e-4
# Proposals are far from where they were expected if a neighbour, rounding apart in score, took their place.
SWAPPED = 10
# Least intersection over union of masks in pixels. By the integer rule a coordinate that is rounding away from a whole
# number moves its mask by one pixel.
OVERLAP, MOVED = 0.98, 2


@torch.inference_mode()
def complaints(run: Recorded, rules: Conventions, card: Postprocessing | None = None, traced: Any = None) -> list[str]:
    """What differs, of the first step that differs at all: canvas, features, proposals, detections, answers in pixels.

    Args:
        run: The golden.
        rules: The conventions.
        card: How the handler takes detections to pixels, if other than the conventions say.
        traced: The trace of the network; else it is built, and its insides are looked at too.
    """
    images, sizes, canvas = placed(run, rules.preprocessing)
    if canvas != tuple(run.canvas):
        return [f"the canvas is {canvas}, not {run.canvas}"]
    model, card = traced or _model(run, rules), card or rules.postprocessing()
    if traced is None:
        insides = [*_of_features(run, model.features(images)), *_of_proposals(run, rules, model, images, sizes)]
        if insides:
            return insides
    network = network_of(model, rules.preprocessing, card)
    answers = _answers(network, images, torch.stack([sizes, _view_sizes(run, 0)]))
    return _of_answers(run, answers) or [
        complaint
        for number in range(len(run.found[0].views))
        for complaint in _of_views(run, number, network, answers, sizes, card.clip_boxes)
    ]


def placed(run: Recorded, rules: Preprocessing) -> tuple[Tensor, Tensor, Size]:
    """The canvas of a run (B, 3, H, W), the sizes of its pictures there (B, 2), and its own size."""
    shapes = [(image.shape[0], image.shape[1]) for image in run.images]
    sizes = [resized_size(*shape, rules) if run.resized else shape for shape in shapes]
    height, width = np.max(sizes, axis=0).tolist()
    table, canvas = torch.tensor(sizes), canvas_size(height, width, rules)
    return network_of(None, rules, Conventions().postprocessing()).place(run.images, table, canvas), table, canvas


def placed_alone(image: Tensor, size: Size, rules: Preprocessing) -> Tensor:
    """(H, W, 3) uint8 -> its own canvas (3, height, width), on which it has a size."""
    network = network_of(None, rules, Conventions().postprocessing())
    return network.place([image], torch.tensor([size]), canvas_size(*size, rules))[0]


class UsualNetwork(Network):
    """The handler's network with what is answered where nothing is asked."""

    def __init__(self, model: Any, card: ModelCard) -> None:
        super().__init__(model, card, Settings())
        self.usual = default_selection(card, Settings())


def network_of(model: Any, preprocessing: Preprocessing, card: Postprocessing) -> UsualNetwork:
    """A model with the rules of its card."""
    return UsualNetwork(model, ModelCard((), preprocessing, card))


def _model(run: Recorded, rules: Conventions) -> MaskRCNN:
    """The eager network; features are computed once for all conventions that leave them as they are."""
    given, tag = imported(run.network), run.tag
    model = MaskRCNN(given.weights, given.architecture, rules)
    model.features = lambda _: _features(run.network, tag, rules.preprocessing, rules.body)  # type: ignore[method-assign]
    return model


@lru_cache(maxsize=4)
def _features(network: str, tag: str, preprocessing: Preprocessing, body: Body) -> tuple[Tensor, ...]:
    given, usual = imported(network), GOLDENS[network].conventions()
    rules = Conventions(**{**vars(usual), "preprocessing": preprocessing, "body": body})
    model = MaskRCNN(given.weights, given.architecture, rules)
    return model.features(placed(recorded(network, tag), preprocessing)[0])


def _of_features(run: Recorded, levels: tuple[Tensor, ...]) -> Iterator[str]:
    for sample in run.features:
        across, step = sample.steps
        apart = largest(levels[sample.level][:, ::across, ::step, ::step], sample.values)
        if not apart <= FEATURES:
            yield f"features of level {sample.level} are {apart:.2g} apart"


def _of_proposals(run: Recorded, rules: Conventions, model: MaskRCNN, images: Tensor, sizes: Tensor) -> Iterator[str]:
    levels = model.features(images)
    boxes, counts = model.proposals(levels, sizes)
    anchors = cell_anchors(rules.proposals, model.proposals.options["strides"])
    # Of the scores nobody behind the proposals hears, so the network gives none.
    _, scores, _ = ops.propose(sizes, anchors, *model.proposals.maps(levels), **model.proposals.options)
    for index, expected in enumerate(run.proposals):
        count = int(counts[index])
        if count != len(expected):
            yield f"picture {index} has {count} proposals, not {len(expected)}"
            continue
        if (moved := _moved(boxes[index, :count], expected, run.tolerance.boxes)) > SWAPPED:
            yield f"picture {index} has {moved} other proposals"
        if run.objectness and not (apart := largest(scores[index, :count], run.objectness[index])) <= OBJECTNESS:
            yield f"objectness of picture {index} is {apart:.2g} apart"


def _moved(boxes: Tensor, expected: Tensor, pixels: float) -> int:
    """Expected proposals that are not there, or not near their place."""
    apart, places = (boxes - expected[:, None]).abs().amax(2).min(1)
    return int(((apart > pixels) | ((places - torch.arange(len(expected))).abs() > SWAPPED)).sum())


def _view_sizes(run: Recorded, number: int) -> Tensor:
    return torch.tensor([found.views[number].size for found in run.found])


def _answers(network: UsualNetwork, images: Tensor, tables: Tensor) -> tuple[Tensor, ...]:
    """Boxes on the canvas (K, 4), scores, labels, masks, and counts (B): those that the handler would answer."""
    found = network.find(images, tables)
    rows, counts = found.valid.flatten().nonzero().flatten(), found.valid.sum(1)
    boxes, scores, labels = (
        each.flatten(0, 1).index_select(0, rows) for each in (found.boxes_on_canvas, found.scores, found.labels)
    )
    masks = network.segment(found, rows, counts) if network.usual.masks else torch.zeros(len(rows), 0, 0)
    return boxes, scores, labels, masks, counts


def _of_answers(run: Recorded, answers: tuple[Tensor, ...]) -> list[str]:
    parts = (
        torch.cat([getattr(found, part) for found in run.found]) for part in ("boxes", "scores", "labels", "masks")
    )
    try:
        found = compare_answers(answers, [*parts, torch.tensor([len(found.boxes) for found in run.found])])
    except ExportError as error:
        return [str(error)]
    return found.beyond(run.tolerance)


def _of_views(
    run: Recorded, number: int, network: UsualNetwork, answers: tuple[Tensor, ...], sizes: Tensor, clip: bool
) -> Iterator[str]:
    pictures = zip(*(part.split(answers[4].tolist()) for part in answers[:4]), sizes, run.found, strict=True)
    for boxes, _, labels, masks, size, expected in pictures:
        view, twins = expected.views[number], nearest(boxes, labels, expected)
        there = boxes_on_image(boxes[twins][None], size[None], torch.tensor([view.size]), clip)[0]
        yield from compare_view(network, masks[twins], there, view, run.tolerance.boxes * max(view.size) / max(size))


def nearest(boxes: Tensor, labels: Tensor, expected: Found) -> Tensor:
    """Number of the nearest box of its class for each expected detection."""
    apart = (boxes - expected.boxes[:, None]).abs().amax(2)  # (expected, found)
    return apart.masked_fill(expected.labels[:, None] != labels, torch.inf).argmin(1)


def compare_view(network: UsualNetwork, masks: Tensor, boxes: Tensor, view: View, pixels: float) -> Iterator[str]:
    """Boxes by their corners, masks by the pixels that are of one of the two only."""
    if not largest(boxes, view.boxes) <= pixels:
        yield f"boxes in pixels are {largest(boxes, view.boxes):.2g} apart"
    planes = planes_of(network, masks, boxes, view.size)
    wrong, common = (planes != view.masks).sum((1, 2)), (planes & view.masks).sum((1, 2))
    others = (wrong > 2) & (common < OVERLAP * (common + wrong))
    if others.sum() > MOVED:
        yield f"{others.sum()} masks of {len(others)} are others in pixels of {view.size}"


def planes_of(network: UsualNetwork, masks: Tensor, boxes: Tensor, size: Size) -> NDArray[np.bool_]:
    """Masks (N, M, M) over their boxes -> (N, height, width), as a client decodes the handler's answer."""
    thresholds = torch.full((len(boxes),), network.usual.mask_threshold)
    strings = unpack_masks(*network.encode(masks, boxes, torch.tensor([size]).expand(len(boxes), 2), thresholds))
    planes = [coco.decode({"size": list(size), "counts": string}) for string in strings]
    return np.stack(planes).astype(bool) if planes else np.zeros((0, *size), bool)


def largest(found: Tensor, expected: Tensor) -> float:
    """Largest difference; infinite where the shapes differ."""
    if found.shape != expected.shape:
        return torch.inf
    return float((found - expected).abs().max()) if found.numel() else 0.0
