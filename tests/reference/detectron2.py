"""Detectron2's Mask R-CNN, slow and plain: for tests that hold the product against it.

One object is both the checkpoint and the answer::

    module, settings = made("deform_v2")         # a name of VARIANTS: tiny, weights synthetic, some detections
    checkpoint = {"model": module.state_dict()}  # Detectron2's names and shapes
    images, sizes = canvas(pictures(), settings)  # or any pictures, RGB uint8 (H, W, 3)
    for found in module(images, sizes): ...      # Detections of each picture

``made`` keeps what it made: load other weights into a ``Detectron2(settings)`` of your own.

It follows the paper (He et al., 2017), those it builds on (FPN, Cascade R-CNN, deformable convolutions v1 and v2, group
norm) and Detectron2's conventions, and shares no line with what it tests. Its answer for the real R50-FPN is
Detectron2's own (``test_detectron2.py``). All in float32 on a CPU.
"""

import functools

from tests.reference.detectron2_model import Detections, Detectron2, canvas, on_picture
from tests.reference.detectron2_settings import VARIANTS, Settings
from tests.reference.detectron2_weights import picture, pictures, synthetic

__all__ = [
    "VARIANTS",
    "Detections",
    "Detectron2",
    "Settings",
    "canvas",
    "made",
    "on_picture",
    "picture",
    "pictures",
    "synthetic",
]


# Where the first draw leaves a box so near a threshold that rounding decides on it.
SEEDS = {"c4": 1, "gn": 2, "deform_v1": 1, "basic_blocks": 1, "x152": 3}


@functools.cache
def made(name: str) -> tuple[Detectron2, Settings]:
    """The tiny network of that name in ``VARIANTS``, with weights; the same object at every call."""
    return synthetic(VARIANTS[name], seed=SEEDS.get(name, 0)), VARIANTS[name]
