"""Detections drawn over their picture, for people. NumPy and Pillow only, so a client needs no PyTorch."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from handler.asking.table import run_lengths

COLOURS = ((230, 25, 75), (60, 180, 75), (0, 130, 200), (245, 130, 48), (145, 30, 180), (70, 240, 240), (240, 50, 230))
_OPACITY = 0.45

Place = tuple[float, float]  # x, y
Area = tuple[float, float, float, float]  # left, top, right, bottom


def decode_mask(mask: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Turn the ``mask`` of one detection into a plane.

    Args:
        mask: ``size`` [height, width] and ``counts``.

    Returns:
        (height, width), true inside the instance.

    Raises:
        ValueError: The lengths do not fill the plane.
    """
    height, width = mask["size"]
    lengths = run_lengths(mask["counts"])
    if sum(lengths) != height * width:
        raise ValueError(f"mask: run lengths must add up to {height} * {width}, got {sum(lengths)}")
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, lengths).reshape(width, height).T


def draw_detections(image: Image.Image, detections: Sequence[Mapping[str, Any]], scale: int = 1) -> Image.Image:
    """Draw masks, outlines, boxes and names over a picture.

    Args:
        image: The picture, upright.
        detections: The ``detections`` of a reply, best first.
        scale: Enlarge the picture so many times first: names on a small one would hide it.

    Returns:
        A new RGB picture, ``scale`` times as high and wide.
    """
    pixels = _enlarged(np.array(image.convert("RGB")), scale)  # (H, W, 3) uint8
    coloured = list(zip(detections, cycle(COLOURS), strict=False))
    for detection, colour in reversed(coloured):  # the best lies on top
        if "mask" in detection:  # a Faster R-CNN's have none
            _tint(pixels, _enlarged(decode_mask(detection["mask"]), scale), colour)
    drawn = Image.fromarray(pixels)
    pencil = ImageDraw.Draw(drawn)
    places = _places(pencil, detections, scale, drawn.height)
    for (detection, colour), place in reversed(list(zip(coloured, places, strict=True))):
        _label(pencil, detection, scale, place, colour)
    return drawn


def _enlarged(pixels: NDArray[Any], scale: int) -> NDArray[Any]:
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


def _tint(pixels: NDArray[np.uint8], plane: NDArray[np.bool_], colour: tuple[int, int, int]) -> None:
    tint = np.array(colour)
    pixels[plane] = (pixels[plane] * (1 - _OPACITY) + tint * _OPACITY).astype(np.uint8)
    pixels[_outline(plane)] = tint


def _outline(plane: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the mask that have a neighbour outside it."""
    padded = np.pad(plane, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return plane & ~core


def _label(
    pencil: ImageDraw.ImageDraw, detection: Mapping[str, Any], scale: int, place: Place, colour: tuple[int, int, int]
) -> None:
    left, top, right, bottom = (corner * scale for corner in detection["box"])
    pencil.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour)
    pencil.rectangle(_area(pencil, place, detection), fill=colour)
    pencil.text(place, _text(detection), fill="white", font=_font())


def _places(
    pencil: ImageDraw.ImageDraw, detections: Sequence[Mapping[str, Any]], scale: int, height: int
) -> list[Place]:
    """Where each name starts: above its box, or below the better ones' names that it would cover, if there is room."""
    places: list[Place] = []
    taken: list[Area] = []
    for detection in detections:
        x, wanted = detection["box"][0] * scale + 2, max(detection["box"][1] * scale - 14, 0)
        y, area = wanted, _area(pencil, (x, wanted), detection)
        while covered := [other[3] for other in taken if _overlap(area, other)]:
            y = max(covered) + 1
            area = _area(pencil, (x, y), detection)
        places.append((x, y if area[3] < height else wanted))
        taken.append(_area(pencil, places[-1], detection))
    return places


def _overlap(a: Area, b: Area) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def _area(pencil: ImageDraw.ImageDraw, place: Place, detection: Mapping[str, Any]) -> Area:
    return pencil.textbbox(place, _text(detection), font=_font())


def _text(detection: Mapping[str, Any]) -> str:
    return f"{detection['class']} {detection['score']:.2f}"


@cache
def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=12)
