"""A request in any transport to what it asks for."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from handler.errors import RequestError
from handler.images import BadImageError
from handler.replies.reply import Reply
from handler.requests.asked import Ask, Asked, alone
from handler.requests.incoming import Incoming
from handler.requests.options import Given, OptionReader

PICTURE_FIELDS = ("data", "body", "image")
HEADER_PREFIX = "x-detect-"

# curl alone says that its --data is a form, and TorchServe then looks for fields in the picture.
HOW_TO_SEND = (
    "send the bytes of the picture as the body (curl --data-binary @picture.jpg -H 'Content-Type: image/jpeg') "
    "or as the form field `data` (curl -F data=@picture.jpg)"
)


class RequestReader:
    """Reads the requests of one model."""

    def __init__(self, options: OptionReader, page: Callable[[], Reply], card: Callable[[], Reply]) -> None:
        """Take the options' limits.

        Args:
            options: Reads the options.
            page: The reply to a browser that has no picture to send yet.
            card: The reply to who asks what is served.
        """
        self._options, self._page, self._card = options, page, card

    def read(self, incoming: Incoming) -> Asked:
        """What a request asks for; one that cannot be read asks for the reason."""
        try:
            return self._read(incoming)
        except RequestError as error:
            return Asked([error], alone)

    def _read(self, incoming: Incoming) -> Asked:
        if incoming.verb == "describe":
            return Asked([], lambda _: self._card())
        given = {**header_options(incoming.headers), **field_options(incoming.fields)}
        options = self._options.read(given, incoming.headers.get("accept", ""))
        picture = next((incoming.fields[name] for name in PICTURE_FIELDS if incoming.fields.get(name)), None)
        if picture is None and options.format == "html":
            return Asked([], lambda _: self._page())
        return Asked([Ask(picture_bytes(picture), options, incoming.verb == "explain")], alone)


def header_options(headers: Mapping[str, str]) -> dict[str, Given]:
    """Options in headers: ``X-Detect-Score-Threshold: 0.5``."""
    return {
        name.removeprefix(HEADER_PREFIX).replace("-", "_"): Given(value.strip(), f"header {name.title()}")
        for name, value in headers.items()
        if name.startswith(HEADER_PREFIX)
    }


def field_options(fields: Mapping[str, Any]) -> dict[str, Given]:
    """Options in the fields of a form."""
    return {
        name: Given(_as_text(value), f"field {name}") for name, value in fields.items() if name not in PICTURE_FIELDS
    }


def _as_text(value: Any) -> Any:
    return bytes(value).decode(errors="replace").strip() if isinstance(value, bytes | bytearray) else value


def picture_bytes(value: Any) -> bytes | bytearray:
    """The bytes of a picture; JSON and text, which TorchServe has already parsed, are named as such.

    Raises:
        BadImageError: There are none.
    """
    if isinstance(value, bytes | bytearray) and value:
        return value
    if not value:
        raise BadImageError("empty_body", "the request has neither a body nor a form field `data`", HOW_TO_SEND)
    kind = "text" if isinstance(value, str) else "JSON"
    raise BadImageError(
        "unsupported_media_type",
        f"the body is {kind}, not a picture",
        HOW_TO_SEND,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    )
