"""The pictures that are sent: files of the demo, or made up, the same ones every time."""

import io
import random
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

DEMO = Path(__file__).resolve().parent.parent / "demo" / "pictures"
JPEG_QUALITY = 90
KINDS = ("demo", "photos", "sizes")
SEED = 6


def sent(kind: str) -> dict[str, list[bytes]]:
    """The pictures of each row, by the name of the row.

    Args:
        kind: ``demo``, ``photos`` (JPEGs of 640 x 480) or ``sizes`` (JPEGs of 40 sizes).

    Raises:
        ValueError: There is no such kind.
    """
    if kind == "demo":
        pictures = [path.read_bytes() for path in sorted(DEMO.glob("*.jpg"))]
        return {"one picture": pictures[2:3], "24 pictures, 4 sizes": mixed(pictures)}
    if kind == "photos":
        return {"640 x 480": [jpeg(480, 640, seed) for seed in range(16)]}
    if kind != "sizes":
        raise ValueError(f"pictures must be of {', '.join(KINDS)}, got {kind!r}")
    from benchmarks.made_up import PHOTO_SIZES  # here: it loads PyTorch and the ops, which the demo does not need

    return {"40 sizes": mixed([jpeg(*size, seed) for seed, size in enumerate(PHOTO_SIZES)])}


def mixed(pictures: Sequence[bytes], seed: int = SEED) -> list[bytes]:
    """In an order without a pattern, and the same one every time: files lie sorted by what they show."""
    return random.Random(seed).sample(list(pictures), len(pictures))


def jpeg(height: int, width: int, seed: int) -> bytes:
    """A made-up photograph."""
    from benchmarks.made_up import photo  # here, for the same reason

    packed = io.BytesIO()
    Image.fromarray(photo(height, width, seed).numpy()).save(packed, "JPEG", quality=JPEG_QUALITY)
    return packed.getvalue()
