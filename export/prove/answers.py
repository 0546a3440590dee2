"""What a framework, or this project, finds in one picture, in a form in which both can be compared."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from handler.detections import Detections
from handler.draw import decode_mask


@dataclass(frozen=True)
class Answer:
    """The instances of one picture, in any order.

    Attributes:
        boxes: (N, 4) float32, x1 y1 x2 y2 in pixels of the picture.
        scores: (N,) float32.
        labels: (N,) int64, the framework's own.
        masks: (N, H, W) bool; None of a network without masks.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None


@dataclass(frozen=True)
class Framework:
    """A framework that holds the user's weights.

    Attributes:
        name: Of its package.
        version: Of its package.
        find: Takes a picture, (H, W, 3) uint8 RGB, and answers it alone, with all of its own pre- and postprocessing.
    """

    name: str
    version: str
    find: Callable[[Tensor], Answer]


def served(found: Detections) -> Answer:
    """What the served path found, its run lengths decoded."""
    masks = None if found.masks is None else torch.zeros(len(found), found.height, found.width, dtype=torch.bool)
    for plane, counts in zip(() if masks is None else masks, found.masks or (), strict=True):
        decoded = decode_mask({"size": [found.height, found.width], "counts": counts})
        plane.copy_(torch.from_numpy(np.ascontiguousarray(decoded)))
    return Answer(found.boxes, found.scores, found.labels, masks)
