"""The scenes that the demo model was trained on: shapes over a busy background, with what is visible of each.

Needs NumPy and Pillow only. The same seed gives the same scene.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

CLASSES = ("background", "circle", "square", "triangle", "star")
SIZES = ((240, 320), (320, 240), (240, 300), (240, 240))  # (height, width), those of demo/pictures
MOST_SHAPES = 7
RADII = (14.0, 72.0)  # pixels
LEAST_VISIBLE = 60  # pixels; what shows less is no instance
INNER_RADIUS = 0.45  # of a star
_CORNERS = {"circle": 90, "square": 4, "triangle": 3, "star": 10}
_SCALE = 2  # drawn larger, then reduced: soft edges

Picture = NDArray[np.float32]
Random = np.random.Generator


@dataclass(frozen=True)
class Scene:
    """A picture and its instances.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        labels: (N,) int64, positions in ``CLASSES``.
        masks: (N, H, W) bool, the visible part of each; they do not overlap.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.int64]
    masks: NDArray[np.bool_]

    def boxes(self) -> NDArray[np.float32]:
        """(N, 4) float32, x1 y1 x2 y2 around the visible parts: a box ends where its last pixel ends."""
        rows, columns = self.masks.any(2), self.masks.any(1)
        starts = columns.argmax(1), rows.argmax(1)
        ends = columns.shape[1] - columns[:, ::-1].argmax(1), rows.shape[1] - rows[:, ::-1].argmax(1)
        return np.stack([*starts, *ends], 1).astype(np.float32).reshape(-1, 4)


def draw(seed: int, size: tuple[int, int] | None = None) -> Scene:
    """Draw one scene.

    Args:
        seed: Decides everything.
        size: (height, width); None: one of ``SIZES``.
    """
    random = np.random.default_rng(seed)
    height, width = size or SIZES[random.integers(len(SIZES))]
    picture = _background(random, height * _SCALE, width * _SCALE)
    labels, masks = list[int](), np.zeros((0, height, width), dtype=bool)
    for _ in range(random.integers(1, MOST_SHAPES + 1)):
        label = int(random.integers(1, len(CLASSES)))
        drawn = _shape(random, CLASSES[label], height, width)
        inside = np.asarray(drawn, dtype=bool)
        picture[inside] = _fill(random, *inside.shape)[inside]
        covered = np.asarray(drawn.resize((width, height), Image.Resampling.BOX)) >= 128
        labels, masks = [*labels, label], np.concatenate([masks & ~covered, covered[None]])
    seen = masks.sum((1, 2)) >= LEAST_VISIBLE
    return Scene(_finished(random, picture, height, width), np.array(labels, dtype=np.int64)[seen], masks[seen])


def _shape(random: Random, name: str, height: int, width: int) -> Image.Image:
    """A shape of any size, rotation and place, white on black, larger by ``_SCALE``."""
    low, high = np.log(RADII)
    radius = np.exp(random.uniform(low, high))
    angles = random.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(_CORNERS[name]) / _CORNERS[name]
    reach = np.where(np.arange(len(angles)) % 2, INNER_RADIUS if name == "star" else 1.0, 1.0) * radius
    centre = random.uniform(0.05, 0.95, 2) * (width, height)
    corners = (centre + np.stack([np.cos(angles), np.sin(angles)], 1) * reach[:, None]) * _SCALE
    plane = Image.new("L", (width * _SCALE, height * _SCALE))
    ImageDraw.Draw(plane).polygon([(float(x), float(y)) for x, y in corners], fill=255)
    return plane


def _fill(random: Random, height: int, width: int) -> Picture:
    """One colour above, another below, with light noise."""
    first, second = random.uniform(0, 255, (2, 3))
    share = np.linspace(0, 1, height)[:, None, None]
    noise = random.normal(0, random.uniform(0, 6), (height, width, 1))
    return ((1 - share) * first + share * second + noise).astype(np.float32)


def _background(random: Random, height: int, width: int) -> Picture:
    """A gradient, clouds or blocks, of any contrast, with noise of up to 14 levels."""
    kind = random.choice(["gradient", "clouds", "blocks"])
    if kind == "gradient":
        plane = _gradient(random, height, width)
    else:
        plane = _cells(
            random, height, width, Image.Resampling.BICUBIC if kind == "clouds" else Image.Resampling.NEAREST
        )
    noise = random.normal(0, random.uniform(0, 14), plane.shape)
    return ((plane - 127.5) * random.uniform(0.2, 0.9) + 127.5 + noise).astype(np.float32)


def _gradient(random: Random, height: int, width: int) -> Picture:
    """From one colour to another, in any direction."""
    angle = random.uniform(0, 2 * np.pi)
    across = np.cos(angle) * np.linspace(-1, 1, width) + np.sin(angle) * np.linspace(-1, 1, height)[:, None]
    share = (across - across.min()) / (across.max() - across.min())
    first, second = random.uniform(0, 255, (2, 3))
    return (first + share[..., None] * (second - first)).astype(np.float32)


def _cells(random: Random, height: int, width: int, filter_: Image.Resampling) -> Picture:
    """Random colours, 3 to 24 a side, stretched."""
    count = random.integers(3, 25)
    coarse = random.integers(0, 256, (count, count, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), filter_), dtype=np.float32)


def _finished(random: Random, picture: Picture, height: int, width: int) -> NDArray[np.uint8]:
    """Reduced, and blurred slightly one time in five."""
    whole = Image.fromarray(picture.clip(0, 255).round().astype(np.uint8))
    reduced = whole.resize((width, height), Image.Resampling.BOX)
    if random.random() < 0.2:
        reduced = reduced.filter(ImageFilter.GaussianBlur(random.uniform(0.4, 1.0)))
    return np.array(reduced)  # a copy: Pillow's own memory is not to be written
