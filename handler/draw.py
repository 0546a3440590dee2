"""Detections drawn over their picture, for people. NumPy and Pillow only, so a client needs no PyTorch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from handler.run_lengths import run_lengths, runs_inside

COLOURS = ((230, 25, 75), (60, 180, 75), (0, 130, 200), (245, 130, 48), (145, 30, 180), (70, 240, 240), (240, 50, 230))
_OPACITY = 115  # of 255

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
    if lengths.sum() != height * width or (lengths < 0).any():
        raise ValueError(f"mask: run lengths must add up to {height} * {width}, got {lengths.sum()}")
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, lengths).reshape(width, height).T


def draw_detections(image: Image.Image, detections: Sequence[Mapping[str, Any]], scale: int = 1) -> Image.Image:
    """Draw masks, outlines, boxes and names over a picture.

    A name is left out where it is larger than the whole picture.

    Args:
        image: The picture, upright.
        detections: The ``detections`` of a reply, best first, with run lengths as masks or without masks.
        scale: Enlarge the picture so many times first: names on a small one would hide it.

    Returns:
        A new RGB picture, ``scale`` times as high and wide.
    """
    drawn = image.convert("RGB").resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    coloured = list(zip(detections, cycle(COLOURS), strict=False))
    for detection, colour in reversed(coloured):  # the best lies on top
        if "mask" in detection:  # a Faster R-CNN's have none
            _tint(drawn, detection["mask"], colour, scale)
    pencil = ImageDraw.Draw(drawn)
    names = [_Name.of(pencil, detection, scale) for detection in detections]
    _spread(names, drawn.height)
    for (detection, colour), name in reversed(list(zip(coloured, names, strict=True))):
        left, top, right, bottom = (corner * scale for corner in detection["box"])
        pencil.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour)
        if name.fits(drawn):
            pencil.rectangle(name.area, fill=colour)
            pencil.text((name.x, name.y), name.text, fill="white", font=_font())
    return drawn


def _tint(drawn: Image.Image, mask: Mapping[str, Any], colour: tuple[int, int, int], scale: int) -> None:
    """Colour a mask and its outline; only the part of the picture that it lies in is touched."""
    plane, left, top = _cropped(mask)
    if plane.size:
        plane = plane.repeat(scale, axis=0).repeat(scale, axis=1)
        opacity = np.where(_outline(plane), 255, plane * _OPACITY).astype(np.uint8)
        drawn.paste(colour, (left * scale, top * scale), Image.fromarray(opacity))


def _cropped(mask: Mapping[str, Any]) -> tuple[NDArray[np.uint8], int, int]:
    """The pixels of a mask from its first to its last column and row, and where these are: left, top."""
    height = mask["size"][0]
    begins, ends = runs_inside(mask["counts"])
    if not len(begins):
        return np.empty((0, 0), dtype=np.uint8), 0, 0
    left, right = int(begins[0]) // height, (int(ends[-1]) - 1) // height + 1
    steps = np.zeros((right - left) * height + 1, dtype=np.int8)
    steps[begins - left * height], steps[ends - left * height] = 1, -1
    plane = steps[:-1].cumsum(dtype=np.int8).view(np.uint8).reshape(right - left, height).T
    rows = np.flatnonzero(plane.any(axis=1))
    return np.ascontiguousarray(plane[rows[0] : rows[-1] + 1]), left, int(rows[0])


def _outline(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels of the mask that have a neighbour outside it."""
    padded = np.pad(plane, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return plane & ~core


@dataclass
class _Name:
    """A class and score, and where they are written.

    Attributes:
        text: What is written.
        x: Left, in pixels.
        y: Top.
        extent: What the text covers if it is written at 0, 0.
    """

    text: str
    x: float
    y: float
    extent: Area

    @classmethod
    def of(cls, pencil: ImageDraw.ImageDraw, detection: Mapping[str, Any], scale: int) -> "_Name":
        """Above the left corner of its box, as far as the picture reaches."""
        text = f"{detection['class']} {detection['score']:.2f}"
        extent = pencil.textbbox((0, 0), text, font=_font())
        x = min(detection["box"][0] * scale + 2, pencil.im.size[0] - 1 - extent[2])
        return cls(text, max(x, 0), max(detection["box"][1] * scale - 14, 0), extent)

    @property
    def area(self) -> Area:
        left, top, right, bottom = self.extent
        return self.x + left, self.y + top, self.x + right, self.y + bottom

    def fits(self, drawn: Image.Image) -> bool:
        """Whether the picture is at least as large as the name."""
        return self.extent[2] <= drawn.width and self.extent[3] <= drawn.height


def _spread(names: Sequence[_Name], height: int) -> None:
    """Move each name below the better ones' that it would cover, if there is room."""
    taken: list[Area] = []
    for name in names:
        wanted = name.y
        while covered := [other[3] for other in taken if _overlap(name.area, other)]:
            name.y = max(covered) + 1
        if name.area[3] >= height:
            name.y = wanted
        taken.append(name.area)


def _overlap(a: Area, b: Area) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


@cache
def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=12)
