"""The pictures of the proof: the user's own, or scenes of several shapes."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from export.errors import ExportError
from export.verification.proof_cases import scene
from handler.errors import RequestError
from handler.images import decode_image

# Wide, tall, so long that the longer side limits the shorter one, and small; no side is a multiple of 32.
SIZES = ((427, 640), (612, 450), (250, 901), (203, 299))


def pictures(paths: Sequence[Path], max_pixels: int) -> dict[str, Tensor]:
    """Pictures by name.

    Args:
        paths: Files as a client would send them; without any, scenes are drawn, the same ones each time.
        max_pixels: Larger pictures are refused.

    Returns:
        (H, W, 3) uint8 each, RGB. A file goes by its name, without its folder: a model card must not carry a path.

    Raises:
        ExportError: A file cannot be read as a picture.
    """
    if paths:
        names = [path.name for path in paths]
        unique = len(set(names)) == len(names)
        numbered = names if unique else [f"{number} {name}" for number, name in enumerate(names, start=1)]
        return {name: _read(path, max_pixels) for name, path in zip(numbered, paths, strict=True)}
    generator = torch.Generator().manual_seed(2017)
    drawn = {f"scene of {height}x{width}": scene(height, width, generator) for height, width in SIZES}
    return {name: (picture * 255).round().byte().permute(1, 2, 0).contiguous() for name, picture in drawn.items()}


def _read(path: Path, max_pixels: int) -> Tensor:
    try:
        return decode_image(path.read_bytes(), max_pixels)
    except (OSError, RequestError) as error:
        raise ExportError(f"picture {path} cannot be read: {error}") from error
