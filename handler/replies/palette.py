"""All masks of a picture as one PNG with a palette."""

import io
from base64 import b64encode
from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handler.detections import Detections
from handler.draw import COLOURS
from handler.run_lengths import runs_inside

MOST = 255  # values of a pixel besides 0, which is none
_COMPRESSION = 3  # areas of one value hardly get smaller by more effort


def palette_masks(found: Detections, class_names: Sequence[str]) -> dict[str, Any]:
    """Draw the masks over each other, the best on top.

    Args:
        found: With masks; only the ``MOST`` best ones have a value of their own.
        class_names: The model card's.

    Returns:
        ``png``: base64 of an 8-bit PNG of the picture's size whose pixels are 0 outside all masks and i + 1 in that of
        detection i; ``legend``: ``value``, ``label``, ``class`` and ``colour`` of each.
    """
    colours = list(islice(cycle(COLOURS), min(len(found), MOST)))
    labels = found.labels[:MOST].tolist()
    legend = [
        {"value": value, "label": label, "class": class_names[label], "colour": "#" + bytes(colour).hex()}
        for value, (label, colour) in enumerate(zip(labels, colours, strict=True), 1)
    ]
    png = _png(_values(found), [(0, 0, 0), *colours])
    return {"png": b64encode(png).decode(), "legend": legend}


def beyond_palette(found: Detections) -> str:
    """Why some masks are not in the PNG; empty where all are."""
    if found.masks is None or len(found) <= MOST:
        return ""
    return f"a palette has {MOST} colours: only the best {MOST} detections have masks"


def _values(found: Detections) -> NDArray[np.uint8]:
    """The value of each pixel: (H, W)."""
    plane = np.zeros(found.height * found.width, dtype=np.uint8)  # column by column, as the run lengths are
    masks = (found.masks or ())[:MOST]
    for value, counts in reversed(list(enumerate(masks, 1))):
        begins, ends = runs_inside(counts)
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            plane[begin:end] = value
    return plane.reshape(found.width, found.height).T


def _png(values: NDArray[np.uint8], colours: Sequence[tuple[int, int, int]]) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(values))
    image.putpalette(bytes(channel for colour in colours for channel in colour))
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=_COMPRESSION, bits=8)
    return stream.getvalue()
