"""Detections as a picture for people."""

import io
from http import HTTPStatus
from typing import Any

from PIL import Image

from handler.detections import Detections
from handler.draw import draw_detections
from handler.errors import BadOptionError, RequestError
from handler.images import Picture
from handler.replies.detections_json import instances
from handler.replies.limits import TOO_LONG
from handler.requests.options import PictureType

JPEG_QUALITY = 90
PNG_EFFORT = 1  # higher ones take two to four times as long for a tenth of the bytes
SMALLEST_SIDE = 64  # pixels; a picture that must be smaller to fit is not worth showing
LONGEST_JPEG_SIDE = 65_500  # pixels, of libjpeg


def drawn_picture(
    picture: Picture,
    found: Detections,
    class_names: tuple[str, ...],
    picture_type: PictureType,
    max_bytes: int,
    may_shrink: bool = False,
) -> tuple[bytes, bool]:
    """Draw masks, boxes and names over the picture, at its own size if that fits.

    Args:
        picture: May have been shrunk as it was decoded; is enlarged again.
        found: What was found in it.
        class_names: The model card's.
        picture_type: What the drawn picture is encoded as.
        max_bytes: Longest reply; a PNG of 12 megapixels has 12 MB and more.
        may_shrink: A picture that would be longer is halved until it is not.

    Returns:
        The file, and whether it was made smaller.

    Raises:
        BadOptionError: A side is too long for a JPEG.
        RequestError: The reply would be longer than ``max_bytes``.
    """
    if picture_type == "image/jpeg" and max(picture.height, picture.width) > LONGEST_JPEG_SIDE:
        raise BadOptionError(
            f"header Accept: a JPEG has at most {LONGEST_JPEG_SIDE:,} pixels a side, the picture has "
            f"{picture.width} x {picture.height}",
            "ask for image/png",
        )
    image = Image.fromarray(picture.pixels)
    if image.size != (picture.width, picture.height):
        image = image.resize((picture.width, picture.height), Image.Resampling.BILINEAR)
    drawn = draw_detections(image, instances(found, class_names, "rle"))
    shrunk = False
    while (body := _encoded(drawn, picture_type, max_bytes)) is None:
        if not may_shrink or max(drawn.size) < SMALLEST_SIDE:
            raise _too_long(picture_type, max_bytes)
        drawn, shrunk = drawn.reduce(2), True
    return body, shrunk


def _too_long(picture_type: PictureType, max_bytes: int) -> RequestError:
    smaller = "image/jpeg, " if picture_type == "image/png" else ""
    return RequestError(
        TOO_LONG,
        f"the drawn picture ({picture_type}) has more than the limit of {max_bytes:,} bytes",
        f"ask for {smaller}JSON or a smaller picture, or raise max_reply_bytes in model-config.yaml",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )


class _FullError(Exception):
    """There is no room for what is written."""


class _Limited(io.BytesIO):
    """Ends an encoder as soon as its file is too long: a PNG of 50 megapixels takes many seconds."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def write(self, data: Any) -> int:
        """Take some more bytes."""
        if self.tell() + len(data) > self._most:
            raise _FullError
        return super().write(data)


def _encoded(image: Image.Image, picture_type: PictureType, max_bytes: int) -> bytes | None:
    """The file; None where it would be longer than ``max_bytes``."""
    stream = _Limited(max_bytes)
    try:
        if picture_type == "image/jpeg":
            image.save(stream, "JPEG", quality=JPEG_QUALITY)
        else:
            image.save(stream, "PNG", compress_level=PNG_EFFORT)
    except _FullError:
        return None
    return stream.getvalue()
