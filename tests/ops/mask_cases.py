"""Masks and boxes of every kind that the two mask ops may meet, the hostile ones included."""

import math

import torch
from torch import Tensor

NAN, INF = math.nan, math.inf

# x1 y1 x2 y2 in an image of 40 x 60 (height, width)
BOXES: dict[str, list[list[float]]] = {
    "none": [],
    "one": [[10.3, 5.7, 41.2, 30.1]],
    "on whole pixels": [[10, 5, 40, 30], [10.5, 5.5, 40.5, 30.5]],
    "whole image": [[0, 0, 60, 40]],
    "partly outside": [[-20, 5, 12, 30], [50, 30, 90, 70], [-15, -15, 80, 60]],
    "wholly outside": [[70, 5, 90, 30], [-90, 5, -70, 30], [10, 100, 20, 120]],
    "smaller than the mask": [[10.2, 5.1, 17.9, 9.3]],
    "one pixel": [[10, 5, 11, 6], [10.2, 5.2, 10.4, 5.4]],
    "a line": [[3, 12, 57, 12.6], [20, 2, 20.5, 38]],
    "a thousand times the image": [[-30000, -20000, 30000, 20000]],
}
# Boxes to which no pixel belongs by either rule.
NOTHING: dict[str, list[float]] = {
    "inverted": [40, 30, 10, 5],
    "inverted across": [40, 5, 10, 30],
    "not a number": [NAN, 5, 40, 30],
    "all not a number": [NAN, NAN, NAN, NAN],
    "infinite": [-INF, -INF, INF, INF],
    "half infinite": [10, 5, 40, INF],
    "wider than float32": [-3e38, 5, 3e38, 30],
    "past every integer": [1e30, 1e30, 2e30, 2e30],
}


def random_probs(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Noise, saturated noise, all ones, and noise with NaN and values out of range, in turn."""
    probs = torch.rand(count, size, size, generator=generator)
    probs[1::4] = (probs[1::4] > 0.4).float()
    probs[2::4] = 1
    hostile = probs[3::4]
    odd = torch.rand(hostile.shape, generator=generator)
    for limit, value in ((0.25, 1.0), (0.2, 7.0), (0.15, -3.0), (0.1, INF), (0.07, -INF), (0.04, NAN)):
        hostile[odd < limit] = value
    return probs


def random_boxes(image_sizes: Tensor, generator: torch.Generator) -> Tensor:
    """One box an image: from a tenth of a pixel to fifty images wide, every third one on whole pixels."""
    sides = image_sizes.flip(1).float()  # width, height
    centres = (torch.rand(len(sides), 2, generator=generator) * 1.4 - 0.2) * sides
    halves = 0.05 * (500 * sides) ** torch.rand(len(sides), 2, generator=generator)
    boxes = torch.cat([centres - halves, centres + halves], 1)
    boxes[::3] = boxes[::3].round()
    rows = list(NOTHING.values())
    boxes[5::40] = torch.tensor(rows).repeat(len(boxes), 1)[: len(boxes[5::40])]
    return boxes
