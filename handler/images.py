"""The bytes of one request to the pixels of one picture."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms
from torch import Tensor

# Formats whose parsers take hostile bytes; EPS, for one, would start Ghostscript.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_HINT = f"send the bytes of one picture as they are in its file: {', '.join(FORMATS)}"

_ORIENTATION = 0x0112  # EXIF tag
_TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class BadImageError(Exception):
    """A picture that the client must change before it can be answered.

    Attributes:
        code: Short name that programs compare.
        message: What is wrong with this request.
        hint: What to do about it.
        status: The HTTP status of the reply.
    """

    def __init__(self, code: str, message: str, hint: str = _HINT, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.code, self.message, self.hint, self.status = code, message, hint, HTTPStatus(status)


def decode_image(data: bytes | bytearray, max_pixels: int) -> Tensor:
    """Decode the first frame of a picture, upright.

    Transparent pixels are laid over white. 16-bit grey is scaled to 8 bit, ``I`` (32-bit integers) is taken as 16-bit;
    ``F`` is taken as 0 to 1 if no value is above 1, else as 0 to 255. Colour profiles are not applied, as the
    frameworks that trained the model do not apply them.

    Args:
        data: A file in one of ``FORMATS``.
        max_pixels: Most pixels of the picture; the header is checked before anything is decoded.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        BadImageError: The bytes are no picture, a part of one, or one with too many pixels.
    """
    if not data:
        raise BadImageError("empty_body", "the request has no body")
    with _pillow_guarded(max_pixels):
        image = _open(data, max_pixels)
        return torch.from_numpy(np.array(_decode(image)))  # (H, W, 3) uint8


@contextmanager
def _pillow_guarded(max_pixels: int) -> Iterator[None]:
    """Make Pillow keep our limit where it checks one before allocating, and keep its warnings out of the log."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _open(data: bytes | bytearray, max_pixels: int) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:  # raised above twice the limit
        raise _too_many_pixels(f"more than {2 * max_pixels:,}", max_pixels) from error
    except MemoryError:
        raise
    except Exception as error:  # hostile bytes make the parsers raise anything, struct.error to KeyError
        raise BadImageError("not_an_image", f"the body's {len(data):,} bytes do not begin like a picture") from error
    pixels = image.width * image.height
    if pixels < 1:
        raise BadImageError("not_an_image", f"the picture is empty: {image.width} x {image.height} pixels")
    if pixels > max_pixels:
        raise _too_many_pixels(f"{image.width} x {image.height} = {pixels:,}", max_pixels)
    return image


def _too_many_pixels(count: str, max_pixels: int) -> BadImageError:
    return BadImageError(
        "too_many_pixels",
        f"the picture has {count} pixels, the limit is {max_pixels:,}",
        "send a smaller picture, or raise max_pixels in model-config.yaml",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )


def _decode(image: Image.Image) -> Image.Image:
    try:
        image.load()
        return _upright(_to_rgb(image), _orientation(image))  # in this order: loading a TIFF turns it
    except MemoryError:
        raise
    except Exception as error:  # as above: a decoder may raise anything
        raise BadImageError(
            "truncated_image",
            f"the {image.format} picture ends early or is damaged: {error}",
            "send the whole file; check that it opens in a picture viewer",
        ) from error


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged metadata does not spoil the pixels; its parser may raise anything
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    transpose = _TRANSPOSED.get(orientation)
    return image if transpose is None else image.transpose(transpose)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_grey_8bit(image)).convert("RGB")
    if image.mode == "LAB":  # Pillow has no plain conversion for it
        return _lab_to_rgb(image)
    if image.has_transparency_data:
        return _over_white(image.convert("RGBA"))
    return image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    if converted is None:
        raise RuntimeError("profileToProfile gave no picture")
    return converted


def _grey_8bit(image: Image.Image) -> NDArray[np.uint8]:
    """Scale 16-bit, 32-bit and floating grey values to 0-255."""
    values: NDArray[np.floating] = np.asarray(image, dtype=np.float32)  # (H, W)
    if image.mode == "F":
        values = np.nan_to_num(values, posinf=255)
        values = values * 255 if values.max() <= 1 else values
    else:
        values = values / 257  # 65535 becomes 255
    return values.clip(0, 255).round().astype(np.uint8)
