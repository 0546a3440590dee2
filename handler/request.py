"""The picture in the fields of a request."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from handler.errors import RequestError
from handler.images import BadImageError

# curl alone says that its --data is a form, and TorchServe then looks for fields in the picture.
_HOW_TO_SEND = (
    "send the bytes of the picture as the body (curl --data-binary @picture.jpg -H 'Content-Type: image/jpeg') "
    "or as the form field `data` (curl -F data=@picture.jpg)"
)


def picture_of(request: Mapping[str, Any]) -> bytes | bytearray | RequestError:
    """The bytes of the picture in one request; or why there are none.

    JSON and text, which TorchServe has already parsed, are named as such.
    """
    value = request.get("data", request.get("body"))
    if isinstance(value, bytes | bytearray) and value:
        return value
    if not value:
        return BadImageError("empty_body", "the request has neither a body nor a form field `data`", _HOW_TO_SEND)
    kind = "text" if isinstance(value, str) else "JSON"
    return BadImageError(
        "unsupported_media_type",
        f"the body is {kind}, not a picture",
        _HOW_TO_SEND,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    )
