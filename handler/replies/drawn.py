"""Detections as a picture for people."""

import io

from PIL import Image

from handler.detections import Detections
from handler.draw import draw_detections
from handler.errors import BadOptionError
from handler.images import Picture
from handler.replies.detections_json import instances
from handler.replies.limits import within
from handler.requests.options import PictureType

JPEG_QUALITY = 90
PNG_EFFORT = 1  # higher ones take two to four times as long for a tenth of the bytes
LONGEST_JPEG_SIDE = 65_500  # pixels, of libjpeg


def drawn_picture(
    picture: Picture, found: Detections, class_names: tuple[str, ...], picture_type: PictureType, max_bytes: int
) -> bytes:
    """Draw masks, boxes and names over the picture, at its own size.

    Args:
        picture: May have been shrunk as it was decoded; is enlarged again.
        found: What was found in it.
        class_names: The model card's.
        picture_type: What the drawn picture is encoded as.
        max_bytes: Longest reply.

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
    body = _encoded(draw_detections(image, instances(found, class_names, "rle")), picture_type)
    smaller = "image/jpeg, " if picture_type == "image/png" else ""
    hint = f"ask for {smaller}JSON or a smaller picture, or raise max_reply_bytes in model-config.yaml"
    return within(body, max_bytes, f"the drawn picture ({picture_type})", hint)


def _encoded(image: Image.Image, picture_type: PictureType) -> bytes:
    stream = io.BytesIO()
    if picture_type == "image/jpeg":
        image.save(stream, "JPEG", quality=JPEG_QUALITY)
    else:
        image.save(stream, "PNG", compress_level=PNG_EFFORT)
    return stream.getvalue()
