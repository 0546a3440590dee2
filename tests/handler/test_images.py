"""Bytes to pixels: what is decoded, what is refused and how."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from handler.images import BadImageError, decode_image
from tests.handler.pictures import encoded, noise, png_header

LIMIT = 1_000_000


def decoded(image: Image.Image, file_format: str = "PNG", **options: object) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = decode_image(encoded(image, file_format, **options), LIMIT).numpy()
    return array


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_keep_every_pixel(file_format: str) -> None:
    assert np.array_equal(decoded(Image.fromarray(noise()), file_format), noise())


def test_lossless_webp_keeps_every_pixel() -> None:
    assert np.array_equal(decoded(Image.fromarray(noise()), "WEBP", lossless=True), noise())


def test_jpeg_is_what_pillow_decodes() -> None:
    data = encoded(Image.fromarray(noise()), "JPEG")
    assert np.array_equal(decode_image(data, LIMIT).numpy(), np.array(Image.open(io.BytesIO(data))))


# Rows of a 2 x 3 picture as stored, and as a viewer shows them, by the definition of the tag: where the stored
# first row and first column belong on the screen.
STORED = np.array([[0, 50, 100], [150, 200, 250]], dtype=np.uint8)
SHOWN = {
    1: STORED,  # top, left
    2: STORED[:, ::-1],  # top, right
    3: STORED[::-1, ::-1],  # bottom, right
    4: STORED[::-1],  # bottom, left
    5: STORED.T,  # left, top
    6: STORED[::-1].T,  # right, top: the first row is the right column
    7: STORED[::-1, ::-1].T,  # right, bottom
    8: STORED[:, ::-1].T,  # left, bottom
}


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", SHOWN)
def test_orientation_is_applied(orientation: int, file_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    blocks = Image.fromarray(np.kron(STORED, np.ones((16, 16), dtype=np.uint8))).convert("RGB")
    shown = decoded(blocks, file_format, exif=exif)[8::16, 8::16, 0]
    assert shown.shape == SHOWN[orientation].shape
    assert np.abs(shown.astype(int) - SHOWN[orientation]).max() <= 3  # JPEG and WebP lose a little


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_orientation_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(decoded(Image.fromarray(noise()), exif=exif), noise())


def test_damaged_exif_is_ignored() -> None:
    data = encoded(Image.fromarray(noise()), "JPEG", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff")
    assert decode_image(data, LIMIT).shape == (24, 36, 3)


def test_1_bit_grey() -> None:
    bits = noise()[..., 0] > 127
    assert np.array_equal(decoded(Image.fromarray(bits))[..., 1] == 255, bits)


def test_8_bit_grey() -> None:
    grey = noise()[..., 0]
    assert np.array_equal(decoded(Image.fromarray(grey)), np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled(file_format: str) -> None:
    values = np.array([[0, 128, 129, 257], [32767, 32768, 65279, 65535]], dtype=np.uint16)
    expected = [[0, 0, 1, 1], [127, 128, 254, 255]]  # round(v / 257)
    assert decoded(Image.fromarray(values), file_format)[..., 0].tolist() == expected


def test_32_bit_integers_are_taken_as_16_bit() -> None:
    values = np.array([[-5, 0, 32768, 65535, 2**31 - 1]], dtype=np.int32)
    assert decoded(Image.fromarray(values), "TIFF")[..., 2].tolist() == [[0, 0, 128, 255, 255]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0, -1.0], [0, 128, 255, 0]),  # up to 1: fractions
        ([0.0, 0.5, 300.0, np.nan, np.inf, -np.inf], [0, 0, 255, 0, 255, 0]),  # above: 8-bit values
    ],
)
def test_floats(values: list[float], expected: list[int]) -> None:
    assert decoded(Image.fromarray(np.array([values], dtype=np.float32)), "TIFF")[..., 0].tolist() == [expected]


def test_palette() -> None:
    image = Image.fromarray(np.array([[0, 1], [1, 2]], dtype=np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    assert decoded(image).tolist() == [[[10, 20, 30], [40, 50, 60]], [[40, 50, 60], [70, 80, 90]]]


def test_palette_with_transparency_lies_over_white() -> None:
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    assert decoded(image, transparency=bytes([0, 255])).tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_alpha_lies_over_white() -> None:
    pixels = np.array([[[100, 0, 200, 0], [100, 0, 200, 255], [100, 0, 200, 51]]], dtype=np.uint8)
    expected = [[[255, 255, 255], [100, 0, 200], [224, 204, 244]]]  # 0.2 * colour + 0.8 * 255
    assert np.abs(decoded(Image.fromarray(pixels)).astype(int) - expected).max() <= 1


def test_grey_with_alpha_lies_over_white() -> None:
    pixels = np.array([[[0, 0], [7, 255]]], dtype=np.uint8)
    assert decoded(Image.fromarray(pixels, mode="LA"))[..., 0].tolist() == [[255, 7]]


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_cmyk(file_format: str) -> None:
    ink = Image.new("CMYK", (32, 32), (0, 255, 255, 0))  # magenta and yellow: red
    assert np.abs(decoded(ink, file_format)[16, 16].astype(int) - [255, 0, 0]).max() <= 3


def test_ycbcr_and_lab() -> None:
    grey = Image.new("LAB", (4, 4), (128, 128, 128))  # L 50.2, a 0, b 0
    assert np.abs(decoded(grey, "TIFF")[0, 0].astype(int) - 119).max() <= 2  # sRGB of L* 50.2
    assert np.abs(decoded(Image.new("YCbCr", (4, 4), (90, 128, 128)), "TIFF")[0, 0].astype(int) - 90).max() <= 1


@pytest.mark.parametrize("file_format", ["GIF", "TIFF", "WEBP", "PNG"])
def test_first_frame_of_several(file_format: str) -> None:
    first, second = Image.new("RGB", (8, 6), (255, 0, 0)), Image.new("RGB", (8, 6), (0, 0, 255))
    options = {"lossless": True} if file_format == "WEBP" else {}
    pixels = decoded(first, file_format, save_all=True, append_images=[second], **options)
    assert pixels.shape == (6, 8, 3)
    assert (pixels == [255, 0, 0]).all()


def test_one_pixel() -> None:
    assert decoded(Image.new("RGB", (1, 1), (1, 2, 3))).tolist() == [[[1, 2, 3]]]


def test_bytearray_as_torchserve_gives_it() -> None:
    assert decode_image(bytearray(encoded(Image.fromarray(noise()), "PNG")), LIMIT).shape == (24, 36, 3)


def refused(data: bytes, limit: int = LIMIT) -> BadImageError:
    with pytest.raises(BadImageError) as caught:
        decode_image(data, limit)
    assert caught.value.message
    assert caught.value.hint
    return caught.value


# Bytes of each kind of file, by the name that the refusal must give it.
OTHER_KINDS = {
    "text": b"this is text",
    "base64 text": b"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0a",
    "base64 text ": b"data:image/png;base64,iVBORw0KGgo=",
    "JSON": b'{"instances": [1, 2]}',
    "a PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "an SVG drawing": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "an SVG drawing ": b'<?xml version="1.0"?>\n<!-- a --><svg xmlns="http://www.w3.org/2000/svg"/>',
    "an HTML page": b"<!DOCTYPE html><title>404</title>",
    "PostScript (EPS)": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n",  # Pillow would start Ghostscript
    "a HEIC or HEIF picture": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "a HEIC or HEIF picture ": b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic",
    "a video": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41",
    "a video ": b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x1f",
    "a video  ": b"RIFF\x10\0\0\0AVI LIST",
    "a Photoshop file (PSD)": b"8BPS\0\1\0\0\0\0\0\0\0\3\0\0\0\x10\0\0\0\x10\0\x08\0\3",
    "a camera's raw file": b"FUJIFILMCCD-RAW 0201",
    "a camera's raw file ": b"\0\0\0\x18ftypcrx \0\0\0\1",
    "a camera's raw file  ": b"IIRO\x08\0\0\0",
    "a JPEG XL picture": b"\xff\x0a\xfa\x1f",
    "a JPEG XR picture": b"II\xbc\x01\x20\0\0\0",
    "an OpenEXR or Radiance HDR picture": b"v/1\x01\2\0\0\0",
    "a DICOM file": bytes(128) + b"DICM",
    "an icon file": b"\0\0\1\0\1\0\x10\x10",
    "a NumPy array (.npy)": b"\x93NUMPY\1\0v\0{'descr': '|u1'",
    "an archive": b"PK\3\4\x14\0\0\0",
    "a form without the Content-Type that says so": b"--x\r\nContent-Disposition: form-data; name=data\r\n\r\n\xff",
}


@pytest.mark.parametrize(("name", "data"), OTHER_KINDS.items(), ids=[*OTHER_KINDS])
def test_other_kinds_of_files_are_refused_by_name(name: str, data: bytes) -> None:
    error = refused(data)
    assert (error.code, error.status) == ("unsupported_media_type", 415)
    assert error.message == f"the body is {name.strip()}, which is not read"
    assert len(error.hint) > 40


@pytest.mark.parametrize("data", [b"\x00" * 100, b"\x80\x81", bytes(range(128, 256)), b"text and \x01"])
def test_bytes_of_no_known_kind(data: bytes) -> None:
    error = refused(data)
    assert (error.code, error.status) == ("not_an_image", 415)
    assert data[:4].hex(" ") in error.message or len(data) < 4


@pytest.mark.parametrize(
    "data", [b"\xff\xd8\xff", b"P6 0 0 255\n", b"\x89PNG\r\n\x1a\n????", b"GIF89a", b"RIFF1234WEBPVP8 "]
)
def test_a_picture_with_a_broken_header_is_damaged(data: bytes) -> None:
    error = refused(data)
    assert (error.code, error.status) == ("truncated_image", 400)
    assert "begins like a" in error.message
    assert "BytesIO" not in error.message


@pytest.mark.parametrize("tags", [{50706: b"\1\4\0\0"}, {254: 1, 330: 8}], ids=["DNG", "NEF, ARW"])
def test_a_raw_file_that_looks_like_a_tiff_is_not_answered_with_its_thumbnail(tags: dict[int, object]) -> None:
    error = refused(encoded(Image.fromarray(noise()), "TIFF", tiffinfo=tags))
    assert (error.code, error.status) == ("unsupported_media_type", 415)
    assert "raw" in error.message


def test_a_reduced_tiff_without_parts_is_a_picture() -> None:
    assert decoded(Image.fromarray(noise()), "TIFF", tiffinfo={254: 1}).shape == (24, 36, 3)


@pytest.mark.parametrize("size", [(65_536, 1), (1, 65_536)])
def test_sides_longer_than_run_lengths_know_are_refused(size: tuple[int, int]) -> None:
    error = refused(encoded(Image.new("1", size), "PNG"))
    assert (error.code, error.status) == ("too_many_pixels", 413)
    assert "65,535 a side" in error.message


def test_a_colour_profile_of_megabytes_is_ignored() -> None:
    profile = np.random.default_rng(0).bytes(3_000_000)
    assert np.array_equal(decoded(Image.fromarray(noise()), icc_profile=profile), noise())


def test_empty_body() -> None:
    assert (refused(b"").code, refused(b"").status) == ("empty_body", 400)


@pytest.mark.parametrize("side", [1001, 20_000, 2**31 - 1])
def test_too_many_pixels_is_refused_by_the_header(side: int) -> None:
    error = refused(png_header(side, 1000))
    assert (error.code, error.status) == ("too_many_pixels", 413)
    assert "1,000,000" in error.message


def test_the_limit_itself_is_allowed() -> None:
    data = encoded(Image.new("RGB", (30, 20)), "PNG")
    assert decode_image(data, 600).shape == (20, 30, 3)
    assert refused(data, 599).code == "too_many_pixels"


def test_a_limit_above_pillows_own_holds() -> None:
    side = 14_000  # 196 million pixels, more than Pillow takes by default
    data = encoded(Image.new("1", (side, side)), "PNG")
    assert refused(data, side * side - 1).code == "too_many_pixels"
    assert decode_image(data, side * side).shape == (side, side, 3)


def test_the_limit_of_the_process_is_left_alone() -> None:
    before = Image.MAX_IMAGE_PIXELS
    decode_image(encoded(Image.new("RGB", (3, 2)), "PNG"), 7)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])
def test_damaged_bytes_are_decoded_or_refused_but_never_raise_anything_else(file_format: str) -> None:
    data = encoded(Image.fromarray(noise(40, 60)), file_format)
    rng = np.random.default_rng(5)
    answers: set[str] = set()
    for _ in range(60):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), 4):
            damaged[position] = rng.integers(0, 256)
        try:
            decode_image(damaged, LIMIT)
        except BadImageError as error:
            answers.add(error.code)
    assert answers <= {"not_an_image", "unsupported_media_type", "truncated_image", "too_many_pixels"}
