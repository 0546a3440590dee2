"""Files that take far longer to decode than their bytes and pixels say: made to keep a worker busy, so refused.

The worker answers a batch at a time, and TorchServe ends one that takes longer than ``responseTimeout``.
"""

import io
import re

from PIL import Image, JpegImagePlugin, PpmImagePlugin, TiffImagePlugin

from handler.file_kinds import FileKind

MOST_SCANS = 100  # cameras and encoders make at most a dozen; each one walks over all pixels
MOST_COMMENTS = 1_000  # Pillow copies a megabyte for each
MOST_TILE_PIXELS = 4096 * 4096
MOST_READS = 500_000  # a PNG of 33 MB in chunks of a kilobyte is read in a quarter of them

_TILE_WIDTH, _TILE_LENGTH = 322, 323  # TIFF tags
_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)  # a zero follows where an 0xff is data
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers that no length follows
_END, _SCAN = 0xD9, 0xDA


class PartsCounted(io.BytesIO):
    """A file of many tiny parts, for each of which Pillow runs Python: millions take as long as a batch may."""

    def __init__(self, data: bytes | bytearray) -> None:
        super().__init__(data)
        self._left = None if data[:2] == b"BM" else MOST_READS  # a BMP with run lengths is read byte by byte

    def read(self, size: int | None = -1, /) -> bytes:
        """As ever.

        Raises:
            OSError: It was read too often.
        """
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise OSError("it has too many parts")
        return super().read(size)


def costly_kind(data: bytes | bytearray, image: Image.Image) -> FileKind | None:
    """The kind of costly file that a picture is.

    Args:
        data: The whole file.
        image: As Pillow has opened it.
    """
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        return _MANY_SCANS if _has_many_scans(data) else None
    if isinstance(image, PpmImagePlugin.PpmImageFile):
        return _MANY_COMMENTS if _has_many_comments(data) else None
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _HUGE_TILES if _has_huge_tiles(image) else None
    return None


def _has_many_scans(data: bytes | bytearray) -> bool:
    """Whether a progressive JPEG goes over its pixels too often; what stands behind its end does not count."""
    if data.count(bytes((0xFF, _SCAN))) <= MOST_SCANS:  # thumbnails and chance included, so nearly always enough
        return False
    scans, place = 0, 2
    while scans <= MOST_SCANS and (found := _MARKER.search(data, place)):
        marker, place = found[1][0], found.end()
        if marker == _END:
            break
        if marker not in _ALONE:
            place += int.from_bytes(data[place : place + 2], "big")
        scans += marker == _SCAN
    return scans > MOST_SCANS


def _has_many_comments(data: bytes | bytearray) -> bool:
    is_plain = bytes(data[:2]) in (b"P1", b"P2", b"P3")
    return is_plain and data.count(b"#") > MOST_COMMENTS


def _has_huge_tiles(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether a TIFF has a tile that is both large and far larger than the picture: it is decoded as a whole."""
    sides = [image.tag_v2.get(tag) for tag in (_TILE_WIDTH, _TILE_LENGTH)]
    width, length = (side if isinstance(side, int) else 0 for side in sides)
    return width * length > max(MOST_TILE_PIXELS, 2 * image.width * image.height)


def _kind(name: str) -> FileKind:
    return FileKind(name, "open it in a picture editor and save it as JPEG or PNG", lambda _: False)  # not by its begin


_MANY_SCANS = _kind(f"a JPEG of more than {MOST_SCANS} scans")
_MANY_COMMENTS = _kind(f"a plain PPM with more than {MOST_COMMENTS:,} comments")
_HUGE_TILES = _kind("a TIFF whose tiles are far larger than its picture")
