"""The bytes of one request to the pixels of one picture."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError
from torch import Tensor

from handler.canvas import Size
from handler.colour import to_rgb
from handler.costly_files import PartsCounted, costly_kind
from handler.errors import Code, RequestError
from handler.file_kinds import CAMERA_RAW, FileKind, file_kind, picture_format

# Formats whose parsers take hostile bytes; EPS, for one, would start Ghostscript.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_HINT = f"send the bytes of one picture as they are in its file: {', '.join(FORMATS)}"

LONGEST_SIDE = 65_535  # pixels; what the run lengths of masks are made for
_MOST_METADATA = 16 << 20  # bytes, unpacked, of one text or colour profile of a PNG; Pillow's own limit is 1 MB

_ORIENTATION = 0x0112  # EXIF tag
_DNG_VERSION, _SUBFILE_TYPE, _SUB_FILES = 50706, 254, 330  # TIFF tags
_TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED = (5, 6, 7, 8)  # these exchange height and width


class BadImageError(RequestError):
    """A picture that the client must change before it can be answered."""

    def __init__(self, code: Code, message: str, hint: str = _HINT, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(code, message, hint, status)


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright.

    Attributes:
        pixels: (H, W, 3) uint8, RGB; fewer than the picture has where it was shrunk as it was decoded.
        height: Height of the picture itself, in pixels.
        width: Width of the picture itself, in pixels.
    """

    pixels: NDArray[np.uint8]
    height: int
    width: int


Wanted = Callable[[int, int], Size]
"""Height and width of a picture to the height and width that suffice."""


def decode_image(data: bytes | bytearray, max_pixels: int) -> Tensor:
    """Decode the first frame of a picture, upright.

    Args:
        data: A file in one of ``FORMATS``.
        max_pixels: Most pixels of the picture; the header is checked before anything is decoded.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        BadImageError: The bytes are no picture, a part of one, or one with too many pixels.
    """
    with pillow_guarded(max_pixels):
        return torch.from_numpy(decode_guarded(data, max_pixels).pixels)


def decode_guarded(data: bytes | bytearray, max_pixels: int, wanted: Wanted | None = None) -> Picture:
    """Decode the first frame of a picture; only within ``pillow_guarded``, from any number of threads.

    Transparent pixels are laid over white. 16-bit grey is scaled to 8 bit, ``I`` (32-bit integers) is taken as 16-bit;
    ``F`` is taken as 0 to 1 if no value is above 1, else as 0 to 255. Colour profiles are not applied, as the
    frameworks that trained the model do not apply them.

    Args:
        data: A file in one of ``FORMATS``.
        max_pixels: Most pixels of the picture; the header is checked before anything is decoded.
        wanted: Lets the JPEG decoder shrink a picture to a half, a quarter or an eighth, as long as each side keeps
            what this says.

    Raises:
        BadImageError: The bytes are no picture, a part of one, or one with too many pixels.
    """
    if not data:
        raise BadImageError("empty_body", "the request has no body")
    image = _open(data, max_pixels)
    size = None if wanted is None else _shrink_jpeg(image, wanted)
    pixels = np.array(_decode(image))
    return Picture(pixels, *(size or pixels.shape[:2]))


def count_pixels(data: bytes | bytearray, max_pixels: int) -> int:
    """Pixels that the header of a picture claims, 0 where it cannot be decoded; only within ``pillow_guarded``.

    Args:
        data: A file in one of ``FORMATS``.
        max_pixels: See ``decode_guarded``.
    """
    try:
        image = _open(data, max_pixels)
    except RequestError:
        return 0
    return image.width * image.height


def _shrink_jpeg(image: Image.Image, wanted: Wanted) -> Size | None:
    """Tell the decoder what suffices; the height and width of the picture itself, or None if it is no JPEG."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None
    # Pillow's sizes are width, height, as they are stored; ours are height, width, as they are seen.
    turned = _orientation(image) in _TURNED
    height, width = image.size if turned else image.size[::-1]
    sides = wanted(height, width)
    image.draft(None, sides if turned else sides[::-1])
    return height, width


@contextmanager
def pillow_guarded(max_pixels: int) -> Iterator[None]:
    """Make Pillow keep our limits where it checks them before allocating, and keep its warnings out of the log.

    They are the whole process's: one thread does this, once around the work of all.
    """
    before = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
    Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = max_pixels, _MOST_METADATA
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = before


def _open(data: bytes | bytearray, max_pixels: int) -> Image.Image:
    try:
        image = Image.open(PartsCounted(data), formats=FORMATS)
    except Image.DecompressionBombError as error:  # raised above twice the limit
        raise _too_many_pixels(f"more than {2 * max_pixels:,}", max_pixels) from error
    except MemoryError:
        raise
    except Exception as error:  # hostile bytes make the parsers raise anything, struct.error to KeyError
        raise _unreadable(data, error) from error
    check_size(image.height, image.width, max_pixels)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and _is_camera_raw(data, image):
        raise _another_kind(CAMERA_RAW)
    if kind := costly_kind(data, image):
        raise _another_kind(kind)
    return image


def check_size(height: int, width: int, max_pixels: int) -> None:
    """Refuse a picture by its size alone.

    Raises:
        BadImageError: It has no pixels, or too many.
    """
    if height < 1 or width < 1:
        raise BadImageError("empty_picture", f"the picture has no pixels: {width} x {height}")
    if height * width > max_pixels:
        raise _too_many_pixels(f"{width} x {height} = {height * width:,}", max_pixels)
    if max(height, width) > LONGEST_SIDE:
        raise BadImageError(
            "too_many_pixels",
            f"the picture has {width} x {height} pixels, the limit is {LONGEST_SIDE:,} a side",
            "send a part of it, or a smaller picture",
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        )


def _unreadable(data: bytes | bytearray, error: Exception) -> BadImageError:
    """A damaged picture, another kind of file by its name, or nothing that is known."""
    if found := picture_format(data):
        said = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"  # it only names our own stream
        return _damaged(f"the body begins like a {found} picture, but cannot be read: it is damaged, or cut off{said}")
    if kind := file_kind(data):
        return _another_kind(kind)
    begin = bytes(data[:8]).hex(" ")
    return BadImageError(
        "not_an_image",
        f"the body's {len(data):,} bytes ({begin}...) do not begin like a picture",
        status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    )


def _another_kind(kind: FileKind) -> BadImageError:
    message, status = f"the body is {kind.name}, which is not read", HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    return BadImageError("unsupported_media_type", message, f"{kind.hint}; read are {', '.join(FORMATS)}", status)


def _damaged(message: str) -> BadImageError:
    return BadImageError("truncated_image", message, "send the whole file; check that it opens in a picture viewer")


def _is_camera_raw(data: bytes | bytearray, image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether a TIFF is a camera's, whose first picture is a thumbnail: its negative lies in a part of it."""
    tags = image.tag_v2
    is_reduced = tags.get(_SUBFILE_TYPE) == 1 and _SUB_FILES in tags
    return is_reduced or _DNG_VERSION in tags or bool(CAMERA_RAW.is_one(bytes(data[:16])))


def _too_many_pixels(count: str, max_pixels: int) -> BadImageError:
    return BadImageError(
        "too_many_pixels",
        f"the picture has {count} pixels, the limit is {max_pixels:,}",
        "send a smaller picture, or raise max_pixels in model-config.yaml",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )


def too_many_pixels_together(max_pixels: int) -> BadImageError:
    """The error of those pictures of a request that come after too many pixels."""
    return BadImageError(
        "too_many_pixels",
        f"the pictures of this request, up to this one, have together more than {max_pixels:,} pixels",
        "send fewer pictures a request, or smaller ones, or raise max_pixels in model-config.yaml",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )


def _decode(image: Image.Image) -> Image.Image:
    try:
        image.load()
        return _upright(to_rgb(image), _orientation(image))  # in this order: loading a TIFF turns it
    except MemoryError:
        raise
    except Exception as error:  # as above: a decoder may raise anything
        raise _damaged(f"the {image.format} picture ends early or is damaged: {error}") from error


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged metadata does not spoil the pixels; its parser may raise anything
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    transpose = _TRANSPOSED.get(orientation)
    return image if transpose is None else image.transpose(transpose)
