"""What bytes that are no readable picture are instead, by how they begin, so that a refusal can name it."""

import re
from collections.abc import Callable
from dataclasses import dataclass

# How the formats begin that are read; one of these with a broken header is a damaged picture, not another kind of file.
_PICTURES = {
    "AVIF": re.compile(rb".{4}ftyp(avif|avis|mif1.{4,32}avif)", re.DOTALL),
    "BMP": re.compile(rb"BM.{4}\0{4}", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "JPEG 2000": re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "PPM": re.compile(rb"P[1-7]\s+[#\d]|P[Ff]\s+\d"),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "WebP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
}


@dataclass(frozen=True)
class FileKind:
    """A kind of file that is refused.

    Attributes:
        name: With its article.
        hint: What to send instead.
        is_one: Whether bytes begin like one.
    """

    name: str
    hint: str
    is_one: Callable[[bytes], object]


def picture_format(data: bytes | bytearray) -> str | None:
    """The format among those that are read that bytes begin like."""
    begin = bytes(data[:64])
    return next((name for name, pattern in _PICTURES.items() if pattern.match(begin)), None)


def file_kind(data: bytes | bytearray) -> FileKind | None:
    """The known kind of file, other than a picture that is read, that bytes begin like."""
    begin = bytes(data[:1024])
    return next((kind for kind in _KINDS if kind.is_one(begin)), None)


def _begins(pattern: bytes) -> Callable[[bytes], object]:
    return re.compile(pattern, re.DOTALL | re.IGNORECASE).match


def _is_text(begin: bytes) -> bool:
    try:
        text = begin.decode() if len(begin) < 1024 else begin[:1020].decode(errors="ignore")
    except UnicodeDecodeError:
        return False
    return not re.search(r"[\x00-\x08\x0e-\x1f\x7f]", text)


CAMERA_RAW = FileKind(
    "a camera's raw file",
    "develop it first: export a JPEG or TIFF from your raw converter, or send the camera's JPEG",
    _begins(
        rb"II\*\0.{4}CR|.{4}ftypcrx|FUJIFILMCCD-RAW|IIR[OS]|MMOR|IIU\0|FOVb|\0MRM"  # Canon, Fuji, Olympus, Panasonic...
    ),
)
_JPEG_OR_PNG = "export it as JPEG or PNG and send that"
_ONE_FRAME = "send one picture of it: ffmpeg -i video.mp4 -frames:v 1 picture.png"
_HEIC = (
    "convert it to JPEG first (`heif-convert picture.heic picture.jpg`, or ImageMagick); an iPhone takes JPEGs with "
    "Settings > Camera > Formats > Most Compatible"
)
_KINDS = (
    CAMERA_RAW,
    FileKind("a HEIC or HEIF picture", _HEIC, _begins(rb".{4}ftyp(hei[cxms]|hev[cxms]|mif1|msf1|mif2)")),
    FileKind("a video", _ONE_FRAME, _begins(rb".{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI |\0\0\x01[\xb3\xba]|FLV\x01|OggS")),
    FileKind("a Photoshop file (PSD)", _JPEG_OR_PNG, _begins(rb"8BPS")),
    FileKind("a PDF", "make a picture of its page first: pdftoppm -r 150 -png file.pdf page", _begins(rb"\s*%PDF-")),
    FileKind("an SVG drawing", "render it first: rsvg-convert drawing.svg > picture.png", _begins(rb"[^\0]*<svg[\s>]")),
    FileKind("PostScript (EPS)", _JPEG_OR_PNG, _begins(rb"%!PS|\xc5\xd0\xd3\xc6")),
    FileKind("a JPEG XL picture", _JPEG_OR_PNG, _begins(rb"\xff\x0a|\0\0\0\x0cJXL ")),
    FileKind("a JPEG XR picture", _JPEG_OR_PNG, _begins(rb"II\xbc")),
    FileKind("an OpenEXR or Radiance HDR picture", _JPEG_OR_PNG, _begins(rb"v/1\x01|#\?(RADIANCE|RGBE)")),
    FileKind("a DICOM file", _JPEG_OR_PNG, _begins(rb".{128}DICM")),
    FileKind("an icon file", _JPEG_OR_PNG, _begins(rb"\0\0[\x01\x02]\0.\0|icns")),
    FileKind("a NumPy array (.npy)", "send it as PNG, or its values as a tensor in JSON", _begins(rb"\x93NUMPY")),
    FileKind(
        "an archive", "unpack it, and send one picture a request", _begins(rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!")
    ),
    FileKind(
        "an HTML page", "send the picture itself; was a page saved in its place?", _begins(rb"\s*<(!doctype )?html")
    ),
    FileKind(
        "a form without the Content-Type that says so",
        "send the header Content-Type: multipart/form-data with the boundary, as curl -F does",
        _begins(rb"--[^\r\n]+\r?\n[^\0]*content-disposition"),
    ),
    FileKind(
        "base64 text",
        'decode it first, or send JSON: {"image": "<base64>"} with Content-Type: application/json',
        _begins(rb"\s*(data:image/|/9j/|iVBORw0KGgo|R0lGOD|UklGR|Qk[0-3])"),
    ),
    FileKind(
        "JSON",
        'send it with Content-Type: application/json, the picture as base64: {"image": "<base64>"}',
        lambda begin: _is_text(begin) and re.match(rb"\s*[\[{]", begin),
    ),
    FileKind("text", "send the bytes of the picture itself: curl --data-binary @picture.jpg (mind the @)", _is_text),
)
