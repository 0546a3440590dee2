"""How far two answers to one picture are apart."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco


@dataclass(frozen=True)
class Differences:
    """The largest of all pairs of detections.

    Attributes:
        score: Of 1.
        box: Of one side, in pixels of the picture.
        mask: 1 - IoU.
    """

    score: float = 0.0
    box: float = 0.0
    mask: float = 0.0

    def within(self, most: "Differences") -> bool:
        """Whether none is larger than it may be."""
        return self.score <= most.score and self.box <= most.box and self.mask <= most.mask


def largest(found: list[Any], expected: list[Any]) -> Differences:
    """Of the answers to the same pictures, in the same order; infinite where other objects were found.

    Args:
        found: Parsed replies with run lengths.
        expected: Likewise, as many.
    """
    ours, theirs = ([each for reply in replies for each in reply["detections"]] for replies in (found, expected))
    if not _same_objects(found, expected):
        return Differences(*[float("inf")] * 3)
    pairs = [(one["mask"], other["mask"]) for one, other in zip(ours, theirs, strict=True)]
    overlaps = [float(coco.iou([one], [other], [0])[0, 0]) for one, other in pairs if one != other]
    return Differences(_apart(ours, theirs, "score"), _apart(ours, theirs, "box"), 1 - min(overlaps, default=1.0))


def _same_objects(found: list[Any], expected: list[Any]) -> bool:
    """Whether each picture has the same classes, best first."""
    classes = [[[each["label"] for each in reply["detections"]] for reply in replies] for replies in (found, expected)]
    return classes[0] == classes[1]


def _apart(ours: list[Any], theirs: list[Any], name: str) -> float:
    numbers = (np.array([each[name] for each in side]) for side in (ours, theirs))
    return float(np.abs(np.subtract(*numbers)).max(initial=0))
