"""Detections made up for the tests of what follows the detector."""

import numpy as np
import torch
from pycocotools import mask as coco

from handler.detections import Detections


def made_up(height: int, width: int, count: int = 2) -> Detections:
    """As many detections as asked; instance i covers the first i + 1 columns of the picture."""
    masks = []
    for index in range(count):
        plane = np.zeros((height, width), dtype=np.uint8, order="F")
        plane[:, : index + 1] = 1
        masks.append(coco.encode(plane)["counts"].decode())
    steps = torch.arange(count, dtype=torch.float32)
    boxes = torch.stack((steps, steps, steps + 1.23456, steps + 2), dim=1).reshape(-1, 4)
    return Detections(height, width, boxes, 0.9 - 0.1 * steps, 1 + torch.arange(count) % 2, tuple(masks))
