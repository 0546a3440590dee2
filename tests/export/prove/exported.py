"""Tiny networks as an archive would carry them, and the slow reference of Detectron2 in its place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from export import trace
from export.checkpoint import load_checkpoint
from export.choices import Choices, decide
from export.model import MaskRCNN
from export.network.weights import import_weights
from export.prove import Framework, Source
from export.prove.answers import Answer
from handler.loading import MODEL_FILE
from handler.model_card import FILE_NAME, ModelCard
from tests.export.frameworks import Trained, trained
from tests.reference import detectron2
from tests.reference.detectron2_boxes import clip
from tests.reference.detectron2_layers import paste
from tests.reference.detectron2_settings import TINY, Settings

SIZES = {"min_size": 190, "max_size": 330}


@dataclass(frozen=True)
class Exported:
    """A network that is ready to be served.

    Attributes:
        given: What it was made of.
        source: What the export knows of it.
        folder: Holds the trace and the card.
    """

    given: Trained
    source: Source
    folder: Path


def exported(framework: str, variant: str, folder: Path, **sizes: int) -> Exported:
    """Export a tiny network without its archive; ``sizes`` change the preprocessing."""
    given = trained(framework, variant)
    checkpoint = load_checkpoint(given.save(folder))
    imported = import_weights(checkpoint.tensors)
    changes: Mapping[str, Mapping[str, Any]] = {**given.changes, "preprocessing": SIZES | sizes}
    choices = Choices(preset=framework, changes=changes)
    decision = decide(choices, imported)
    rules = decision.conventions
    trace.save(trace.trace(MaskRCNN(imported.weights, imported.architecture, rules)), folder / MODEL_FILE)
    post = replace(rules.postprocessing(), masks=imported.architecture.mask is not None)
    card = ModelCard(decision.class_names, rules.preprocessing, post)
    (folder / FILE_NAME).write_text(card.to_json())
    return Exported(given, Source(checkpoint, imported, choices, decision), folder)


def loaded(settings: Settings) -> detectron2.Detectron2:
    """The weights of the tiny network under other rules."""
    module = detectron2.Detectron2(settings)
    module.load_state_dict(detectron2.made("fpn")[0].state_dict())
    return module


def resized(picture: Tensor, rounded: Callable[[float], int]) -> Tensor:
    """(H, W, 3) uint8 as Detectron2 resizes it for ``SIZES``, but for how a side is rounded."""
    height, width = picture.shape[:2]
    scale = SIZES["min_size"] / min(height, width)
    scale = min(scale, SIZES["max_size"] / max(height, width))
    size = (rounded(width * scale), rounded(height * scale))
    return torch.from_numpy(np.array(Image.fromarray(picture.numpy()).resize(size, Image.Resampling.BILINEAR)))


def reference_framework(
    settings: Settings = TINY,
    rounded: Callable[[float], int] = lambda side: int(side + 0.5),
    before: Callable[[Tensor], Tensor] = lambda picture: picture,
    after: Callable[[Answer], Answer] = lambda answer: answer,
) -> Framework:
    """Detectron2's reference in the place of Detectron2; each argument can make it wrong in one convention."""
    module = loaded(settings)

    def find(picture: Tensor) -> Answer:
        height, width = picture.shape[:2]
        images, sizes = detectron2.canvas([before(resized(picture, rounded))], settings)
        (found,) = module(images, sizes)
        ratio = torch.tensor([width / int(sizes[0, 1]), height / int(sizes[0, 0])] * 2)
        boxes = clip(found.boxes * ratio, height, width)
        masks = None if found.masks is None else paste(found.masks, boxes, height, width)
        return after(Answer(boxes, found.scores, found.labels, masks))

    return Framework("detectron2", "reference", find)


def shown() -> dict[str, Tensor]:
    """The pictures that the tiny networks were made for, one a little larger than it is served."""
    large, small = detectron2.pictures()
    return {"large": large, "small": small}
