"""The README's table of pictures: for each case of a row, the bytes that are sent and what must become of them."""

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handler.images import FORMATS
from tests.handler.pictures import encoded, png_header

Pixels = NDArray[np.uint8]

# Blocks of 16 pixels, each in a colour of its own: 48 wide, 32 high, and no two sides alike.
BLOCKS = np.array(
    [[[230, 30, 40], [30, 200, 60], [20, 60, 220]], [[240, 220, 20], [200, 40, 210], [128, 128, 128]]], dtype=np.uint8
)
SCENE: Pixels = BLOCKS.repeat(16, axis=0).repeat(16, axis=1)
IMAGE = Image.fromarray(SCENE)
BACKWARDS = Image.fromarray(SCENE[::-1].copy())
GREY: Pixels = np.array(IMAGE.convert("L"))
# How a viewer turns what is stored, by the definition of the EXIF tag.
UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: stored[::-1].transpose(1, 0, 2),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: stored[:, ::-1].transpose(1, 0, 2),
}


@dataclass(frozen=True)
class Case:
    """One request.

    Attributes:
        body: What is sent.
        pixels: (H, W, 3) uint8, what is looked at; None: it is refused.
        tolerance: Largest difference of a channel at the centres of the blocks; 0: every pixel is equal.
        refusal: Status, code and a part of the message.
        headers: Sent with it.
    """

    body: Callable[[], bytes]
    pixels: Pixels | None = None
    tolerance: int = 0
    refusal: tuple[int, str, str] = (0, "", "")
    headers: Mapping[str, str] = field(default_factory=dict)


def saved(image: Image.Image, file_format: str, **options: object) -> Callable[[], bytes]:
    return lambda: encoded(image.copy(), file_format, **options)  # saving leaves settings on a picture


def several(file_format: str, **options: object) -> Callable[[], bytes]:
    return lambda: encoded(IMAGE.copy(), file_format, save_all=True, append_images=[BACKWARDS.copy()], **options)


def refused(body: bytes, status: int, code: str, text: str) -> Case:
    return Case(lambda: body, refusal=(status, code, text))


def cut(file_format: str) -> Case:
    """Six tenths of a picture."""

    def body() -> bytes:
        data = encoded(IMAGE.resize((480, 320), Image.Resampling.BICUBIC), file_format)
        return data[: len(data) * 6 // 10]

    return Case(body, refusal=(400, "truncated_image", ""))


def turned(orientation: int, file_format: str, tolerance: int) -> Case:
    def body() -> bytes:
        exif = Image.Exif()  # a new one each time: saving an AVIF takes the tag out of it
        exif[0x0112] = orientation
        return encoded(IMAGE.copy(), file_format, exif=exif)

    return Case(body, UPRIGHT[orientation](SCENE), tolerance)


def grey(values: NDArray[np.integer]) -> Pixels:
    return values.astype(np.uint8)[..., None].repeat(3, axis=2)


def over_white(colours: Pixels, alpha: NDArray[np.integer]) -> Pixels:
    opaque = alpha[..., None] / 255
    blended: Pixels = np.round(colours * opaque + 255 * (1 - opaque)).astype(np.uint8)
    return blended


def adobe_jpeg(ink: tuple[int, int, int, int], transform: int | None) -> bytes:
    """A JPEG of four channels in one colour; ``transform`` 2 says that the first three are YCbCr, None nothing."""
    data = bytearray(encoded(Image.new("CMYK", (32, 32), ink), "JPEG", quality=95))
    marker = data.index(b"Adobe")
    if transform is None:
        del data[marker - 4 : marker + 12]
    else:
        data[marker + 11] = transform
    return bytes(data)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(pixels: NDArray[np.integer], colour_type: int, interlaced: bool = False, extra: bytes = b"") -> bytes:
    """A PNG of 8 or 16 bits a channel, written by hand: Pillow writes neither 16-bit colour nor interlaced ones."""
    height, width = pixels.shape[:2]
    depth = pixels.dtype.itemsize * 8
    adam7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    passes = adam7 if interlaced else [(0, 0, 1, 1)]
    parts = [pixels[top::down, left::right] for left, top, right, down in passes]
    big = [part.astype(f">u{depth // 8}") for part in parts if part.size]
    rows = b"".join(b"\0" + row.tobytes() for part in big for row in part)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, int(interlaced))
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff_16_bit_rgb(pixels: NDArray[np.uint16]) -> bytes:
    height, width = pixels.shape[:2]
    entries = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2)]
    entries += [(273, 4, 1, 14 + 2 + 12 * 9 + 4), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, pixels.nbytes)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *each) for each in entries)
    return b"II*\0" + struct.pack("<I", 14) + struct.pack("<HHH", 16, 16, 16) + directory + bytes(4) + pixels.tobytes()


def bomb(kind: bytes) -> bytes:
    """A PNG of a few pixels with 200 MB of text or profile in 200 kB."""
    return png(SCENE, 2, extra=chunk(kind, b"x\0\0" + zlib.compress(bytes(200_000_000), 9)))


def gif_with_a_huge_frame() -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
    return screen + b"," + struct.pack("<HHHHB", 0, 0, 60_000, 60_000, 0) + b"\x02\x02\x44\x01\0;"


BITS = GREY > 127
WIDE = np.arange(32 * 48, dtype=np.uint16).reshape(32, 48) * 42
WIDE_COLOUR = SCENE.astype(np.uint16) * 257
ALPHA = np.repeat(np.array([[0, 51, 255]], dtype=np.uint8).repeat(16, axis=1), 32, axis=0)
SEE_THROUGH = Image.fromarray(np.dstack((SCENE, ALPHA)))
PALETTE = IMAGE.quantize(8)
RED = np.full((32, 32, 3), [255, 0, 0], dtype=np.uint8)
PROFILE = b"\0\0\2\x0cjunk" * 100
NARROW, TALL = np.full((1, 65_500, 3), 90, np.uint8), np.full((65_500, 1, 3), 90, np.uint8)
WHITE_FIRST = over_white(SCENE, np.where((BLOCKS[0, 0] == SCENE).all(axis=2), 0, 255))


def see_through_palette() -> bytes:
    """The palette's entry of the first block is transparent."""
    return encoded(PALETTE, "PNG", transparency=int(np.array(PALETTE)[0, 0]))


CASES: dict[str, Case] = {
    "jpeg": Case(saved(IMAGE, "JPEG", quality=95), SCENE, 6),
    "jpeg_grey": Case(saved(Image.fromarray(GREY), "JPEG", quality=95), grey(GREY), 3),
    "jpeg_progressive": Case(saved(IMAGE, "JPEG", progressive=True, quality=95), SCENE, 6),
    # Ink is taken as 255 minus what is stored, as Adobe writes it, whether or not its marker says so.
    "jpeg_cmyk": Case(lambda: adobe_jpeg((0, 255, 255, 0), 0), RED, 4),
    "jpeg_cmyk_unmarked": Case(lambda: adobe_jpeg((0, 255, 255, 0), None), RED, 4),
    # Y 179, Cb 171, Cr 1 is cyan, the ink of which nothing is left for red.
    "jpeg_ycck": Case(lambda: adobe_jpeg((76, 84, 254, 0), 2), RED, 6),
    **{f"exif_{each}": turned(each, "JPEG", 12) for each in UPRIGHT},
    "exif_png": turned(6, "PNG", 0),
    "exif_webp": turned(6, "WEBP", 12),
    "exif_tiff": turned(6, "TIFF", 0),
    "exif_avif": turned(6, "AVIF", 24),
    "png": Case(saved(IMAGE, "PNG"), SCENE),
    "png_1_bit": Case(saved(Image.fromarray(BITS), "PNG"), grey(BITS * 255)),
    "png_grey": Case(saved(Image.fromarray(GREY), "PNG"), grey(GREY)),
    "png_16_bit_grey": Case(saved(Image.fromarray(WIDE), "PNG"), grey(np.round(WIDE / 257))),
    "png_16_bit": Case(lambda: png(WIDE_COLOUR, 2), SCENE),
    "png_palette": Case(saved(PALETTE, "PNG"), SCENE),
    "png_palette_transparent": Case(see_through_palette, WHITE_FIRST),
    "png_alpha": Case(saved(SEE_THROUGH, "PNG"), over_white(SCENE, ALPHA), 1),
    "png_grey_alpha": Case(saved(SEE_THROUGH.convert("LA"), "PNG"), over_white(grey(GREY), ALPHA), 1),
    "png_interlaced": Case(lambda: png(SCENE, 2, interlaced=True), SCENE),
    "apng": Case(several("PNG"), SCENE),
    "webp": Case(saved(IMAGE, "WEBP", quality=95), SCENE, 12),
    "webp_lossless": Case(saved(IMAGE, "WEBP", lossless=True), SCENE),
    "webp_alpha": Case(saved(SEE_THROUGH, "WEBP", lossless=True, exact=True), over_white(SCENE, ALPHA), 1),
    "webp_animated": Case(several("WEBP", lossless=True), SCENE),
    "bmp": Case(saved(IMAGE, "BMP"), SCENE),
    "tiff": Case(saved(IMAGE, "TIFF"), SCENE),
    **{
        f"tiff_{each}": Case(saved(IMAGE, "TIFF", compression=each if each == "packbits" else f"tiff_{each}"), SCENE)
        for each in ("lzw", "deflate", "packbits")
    },
    "tiff_jpeg": Case(saved(IMAGE, "TIFF", compression="jpeg", quality=95), SCENE, 12),
    "tiff_group4": Case(saved(Image.fromarray(BITS), "TIFF", compression="group4"), grey(BITS * 255)),
    "tiff_16_bit": Case(lambda: tiff_16_bit_rgb(WIDE_COLOUR), SCENE),
    "tiff_16_bit_grey": Case(saved(Image.fromarray(WIDE), "TIFF"), grey(np.round(WIDE / 257))),
    "tiff_cmyk": Case(saved(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "TIFF"), RED),
    "tiff_pages": Case(several("TIFF"), SCENE),
    "gif": Case(saved(PALETTE, "GIF"), SCENE),
    "gif_animated": Case(several("GIF"), SCENE),
    "avif": Case(saved(IMAGE, "AVIF", quality=95), SCENE, 24),
    "jpeg_2000": Case(saved(IMAGE, "JPEG2000"), SCENE),
    "ppm": Case(saved(IMAGE, "PPM"), SCENE),
    "mpo": Case(several("MPO", quality=95), SCENE, 6),
    "profile_jpeg": Case(saved(IMAGE, "JPEG", quality=95, icc_profile=PROFILE), SCENE, 6),
    "profile_png": Case(saved(IMAGE, "PNG", icc_profile=PROFILE), SCENE),
    "wrong_type": Case(saved(IMAGE, "PNG"), SCENE, headers={"Content-Type": "image/jpeg"}),
    "one_pixel": Case(saved(Image.fromarray(SCENE[:1, :1]), "PNG"), SCENE[:1, :1]),
    "wide": Case(saved(Image.fromarray(NARROW), "PNG"), NARROW),
    "tall": Case(saved(Image.fromarray(TALL), "PNG"), TALL),
    "wide_jpeg": Case(saved(Image.fromarray(NARROW), "JPEG"), NARROW, 3),
    "no_side": Case(lambda: png_header(0, 5), refusal=(400, "truncated_image", "PNG")),
    "too_long": Case(saved(Image.new("1", (65_536, 1)), "PNG"), refusal=(413, "too_many_pixels", "65,535 a side")),
    "too_large": refused(png_header(20_000, 20_000), 413, "too_many_pixels", "50,000,000"),
    "huge_frame": Case(gif_with_a_huge_frame, refusal=(413, "too_many_pixels", "50,000,000")),
    "huge_profile": Case(lambda: bomb(b"iCCP"), refusal=(400, "truncated_image", "too large")),
    "huge_text": Case(lambda: bomb(b"zTXt"), refusal=(400, "truncated_image", "too large")),
    **{f"cut_{each.lower()}": cut(each) for each in FORMATS},
    "heic": refused(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", 415, "unsupported_media_type", "HEIC"),
    "empty": refused(b"", 400, "empty_body", ""),
    "text": refused(b"not a picture", 415, "unsupported_media_type", "text"),
    "pdf": refused(b"%PDF-1.7\n", 415, "unsupported_media_type", "PDF"),
    "svg": refused(b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported_media_type", "SVG"),
    "video": refused(b"\0\0\0\x20ftypisom\0\0\2\0isom", 415, "unsupported_media_type", "video"),
    "psd": refused(b"8BPS\0\1\0\0\0\0\0\0\0\3", 415, "unsupported_media_type", "PSD"),
    "raw": refused(b"FUJIFILMCCD-RAW 0201", 415, "unsupported_media_type", "raw"),
    "unknown": refused(b"\x80\x81\x82\x83", 415, "not_an_image", "80 81 82 83"),
}


def centres(pixels: Pixels) -> NDArray[np.int64]:
    """The middle of each block; of pictures without blocks, every sixteenth pixel."""
    return pixels[min(8, len(pixels) // 2) :: 16, min(8, pixels.shape[1] // 2) :: 16].astype(np.int64)


def cut_anywhere(data: bytes, cuts: int = 40) -> Sequence[bytes]:
    """The first bytes of a file, in so many lengths and the last ten."""
    lengths = {*range(16, len(data), max(1, len(data) // cuts)), *range(max(16, len(data) - 10), len(data))}
    return [data[:length] for length in sorted(lengths)]
