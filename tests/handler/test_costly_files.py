"""Small files that would keep a worker busy for minutes: refused by name, and their harmless relatives are not."""

import struct
import zlib

import pytest
from PIL import Image

from handler.costly_files import MOST_COMMENTS, MOST_SCANS
from handler.images import BadImageError, decode_image
from tests.handler.pictures import encoded, noise

LIMIT = 1_000_000
PROGRESSIVE = encoded(Image.fromarray(noise()), "JPEG", progressive=True)
SCAN = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]  # a refinement, so it may be said again and again


def with_scans(count: int) -> bytes:
    return PROGRESSIVE[:-2] + SCAN * (count - PROGRESSIVE.count(b"\xff\xda")) + b"\xff\xd9"


def plain(comments: int) -> bytes:
    return b"P2 2 2 255\n" + b"#\n" * comments + b"1 2 3 4\n"


def tiled(width: int, height: int, tile: int) -> bytes:
    """A grey TIFF with one tile, of which the first rows are there."""
    data = zlib.compress(bytes(tile * tile))
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1, 322: tile, 323: tile, 324: 400, 325: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return (b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries).ljust(400, b"\0") + data


def run_lengths(width: int, height: int) -> bytes:
    """A BMP of runs of one pixel each."""
    data, begin = (b"\1\0" * width + b"\0\0") * height + b"\0\1", 54 + 1024
    header = struct.pack("<2sIHHI", b"BM", begin + len(data), 0, 0, begin)
    return (
        header + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 0, 0, 256, 0) + bytes(1024) + data
    )


COSTLY = {
    "scans": (with_scans(MOST_SCANS + 1), "scans"),
    "scans after restarts and comments": (
        with_scans(MOST_SCANS + 1).replace(SCAN * 2, SCAN + b"\xff\xd0\xff\xfe\0\4\xff\xd9" + SCAN, 1),
        "scans",
    ),
    "comments": (plain(MOST_COMMENTS + 1), "comments"),
    "tiles": (tiled(8, 8, 4112), "tiles"),
}


@pytest.mark.parametrize(("data", "named"), COSTLY.values(), ids=COSTLY.keys())
def test_files_made_to_be_slow_are_refused(data: bytes, named: str) -> None:
    with pytest.raises(BadImageError) as raised:
        decode_image(data, LIMIT)
    assert (raised.value.status, raised.value.code) == (415, "unsupported_media_type")
    assert named in raised.value.message


PNG = encoded(Image.fromarray(noise()), "PNG")
CHUNK = struct.pack(">I4sI", 0, b"abCd", zlib.crc32(b"abCd"))
JPEG = encoded(Image.fromarray(noise()), "JPEG")
MANY_PARTS = {"PNG": PNG[:33] + CHUNK * 300_000 + PNG[33:], "JPEG": JPEG[:2] + b"\xff\xfe\0\2" * 400_000 + JPEG[2:]}


@pytest.mark.parametrize("data", MANY_PARTS.values(), ids=MANY_PARTS.keys())
def test_files_of_very_many_parts_are_refused(data: bytes) -> None:
    with pytest.raises(BadImageError, match="too many parts") as raised:
        decode_image(data, LIMIT)
    assert raised.value.code == "truncated_image"


HARMLESS = {
    "as many scans as may be": with_scans(MOST_SCANS),
    "a video behind the picture": PROGRESSIVE + b"\xff\xda" * 10_000,
    "thumbnails beside it": PROGRESSIVE[:2] + b"\xff\xe2\x4e\x22" + b"\xff\xda" * 10_000 + PROGRESSIVE[2:],
    "many chunks": PNG[:33] + CHUNK * 50_000 + PNG[33:],
    "a BMP read byte by byte": run_lengths(1000, 300),
    "as many comments as may be": plain(MOST_COMMENTS),
    "# as a grey value": b"P5 50 50 255\n" + b"#" * 2500,
    "a tile larger than the picture": tiled(8, 8, 4096),
}


@pytest.mark.parametrize("data", HARMLESS.values(), ids=HARMLESS.keys())
def test_files_of_the_same_kind_are_decoded(data: bytes) -> None:
    assert decode_image(data, LIMIT).numel()
