"""What each detection of one picture came from."""

from dataclasses import dataclass

from torch import Tensor

from handler.detections import Detections


@dataclass(frozen=True)
class Explanations:
    """Detections of one picture with what the network saw on the way to each.

    Attributes:
        detections: N of them, without run lengths.
        proposals: (N, 4) float32 on the CPU, the region that each came from, x1 y1 x2 y2 in pixels of the picture.
        objectness: (N,) float32 on the CPU, what the region proposal network gave it, from 0 to 1.
        class_scores: (N, C) float32 on the CPU, a label's at its number; a column more is the background's.
        mask_probabilities: (N, M, M) float32 on the CPU, over the box of each, before any threshold. None where boxes
            only are wanted, or found.
    """

    detections: Detections
    proposals: Tensor
    objectness: Tensor
    class_scores: Tensor
    mask_probabilities: Tensor | None
