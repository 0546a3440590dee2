"""Pictures in JSON: base64 to the bytes of a file."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from handler.errors import RequestError
from handler.images import BadImageError
from handler.requests.values import shown

KEYS = ("image", "data", "b64")
_HINT = 'send the bytes of a picture\'s file in base64, as text or as {"b64": text}'
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def bad_json(message: str, hint: str) -> RequestError:
    """The error of a body that is JSON, but not as it must be."""
    return RequestError("bad_json", message, hint, 400)


def picture_in(holder: Mapping[str, Any], place: str) -> bytes:
    """The picture that stands under one of ``KEYS``.

    Args:
        holder: A JSON object.
        place: Where it stands, as the client knows it.

    Raises:
        RequestError: There is none, or several, or it is no base64.
    """
    found = [key for key in KEYS if holder.get(key) is not None]
    if len(found) != 1:
        got = f"both {found[0]} and {found[1]}" if found else f"the keys {shown(list(holder)[:5])}"
        raise bad_json(f"{place} must have one picture, under `image`, got {got}", _HINT)
    value = holder[found[0]]
    if isinstance(value, Mapping) and found[0] != "b64":
        if set(value) != {"b64"}:
            raise bad_json(f'{place}.{found[0]} must be base64 or {{"b64": base64}}, got {shown(value)}', _HINT)
        value = value["b64"]
    return decode_base64(value, f"{place}.{found[0]}")


def decode_base64(text: Any, place: str) -> bytes:
    """The bytes that base64 says.

    Line breaks and missing padding are no matter, both alphabets of RFC 4648 are read, and so are ``data:`` URLs.

    Args:
        text: Of JSON, so maybe no text at all.
        place: Where it stands, as the client knows it.

    Raises:
        RequestError: It is no text, or no base64.
    """
    if not isinstance(text, str):
        raise bad_json(f"{place} must be base64, got {type(text).__name__} {shown(text)}", _HINT)
    if not text.strip():
        raise BadImageError("empty_body", f"{place} is an empty text", _HINT)
    try:
        letters = _without_url(text, place).encode("ascii").translate(_URL_SAFE, b" \t\r\n").rstrip(b"=")
        return base64.b64decode(letters + b"=" * (-len(letters) % 4), validate=True)
    except (UnicodeError, binascii.Error):
        raise _bad_base64(f"{place} is no base64: {shown(text)}") from None


def _without_url(text: str, place: str) -> str:
    """What a ``data:`` URL holds; any other text as it is."""
    start = text[:8].lstrip().lower()
    if start.startswith(("http:", "https:", "file:", "s3:", "gs:")):
        raise _bad_base64(f"{place} is an address, {shown(text)}; the server fetches none")
    if not start.startswith("data:"):
        return text
    head, comma, data = text.partition(",")
    if not comma or not head.rstrip().lower().endswith(";base64"):
        raise _bad_base64(f"{place} must be data:...;base64,... where it is a data: URL, got {shown(text)}")
    return data


def _bad_base64(message: str) -> BadImageError:
    return BadImageError("bad_base64", message, _HINT)
