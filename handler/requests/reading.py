"""A request in any transport to what it asks for."""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from handler.errors import RequestError, out_of_memory
from handler.images import BadImageError
from handler.replies.kserve import Envelopes
from handler.replies.reply import Reply
from handler.requests.asked import Ask, Asked, Asker, alone
from handler.requests.base64_picture import KEYS, bad_json, picture_in
from handler.requests.incoming import Incoming
from handler.requests.json_options import options_in
from handler.requests.kserve import KServeReader
from handler.requests.options import Given, OptionReader
from handler.requests.values import shown

PICTURE_FIELDS = ("data", "body", "image")
HEADER_PREFIX = "x-detect-"
_OF_TORCHSERVE = ("model_name", "model_version")  # fields that /invocations hands on

# curl alone says that its --data is a form, and TorchServe then looks for fields in the picture.
HOW_TO_SEND = (
    "send the bytes of the picture as the body (curl --data-binary @picture.jpg -H 'Content-Type: image/jpeg'), "
    'as the form field `data` (curl -F data=@picture.jpg), or in base64 as JSON {"image": ...}'
)


class RequestReader:
    """Reads the requests of one model."""

    def __init__(
        self,
        options: OptionReader,
        page: Callable[[], Reply],
        card: Callable[[], Reply],
        envelopes: Envelopes,
        max_pixels: int,
    ) -> None:
        """Take the options' limits.

        Args:
            options: Reads the options.
            page: The reply to a browser that has no picture to send yet.
            card: The reply to who asks what is served.
            envelopes: The replies to several pictures at once.
            max_pixels: Most pixels of a picture.
        """
        self._options, self._page, self._card = options, page, card
        self._kserve = KServeReader(envelopes, max_pixels)

    def read(self, incoming: Incoming) -> Asked:
        """What a request asks for; one that cannot be read asks for the reason."""
        try:
            return self._read(incoming)
        except RequestError as error:
            return Asked([error], alone)
        except MemoryError:
            return Asked([out_of_memory("this request")], alone)

    def _read(self, incoming: Incoming) -> Asked:
        if incoming.verb == "describe":
            return Asked([], lambda _: self._card())
        given = {**header_options(incoming.headers), **field_options(incoming.fields)}
        asker = Asker(self._options, given, incoming.headers.get("accept", ""), incoming.verb == "explain")
        body = parsed(the_picture(incoming.fields))
        if isinstance(body, Mapping):
            return self._read_json(body, asker)
        options = asker.options()  # first: a picture in a field of another name is an unknown option, not none
        if body is None and options.format == "html":
            return Asked([], lambda _: self._page())
        return Asked([Ask(picture_bytes(body), options, asker.explain)], alone)

    def _read_json(self, body: Mapping[str, Any], asker: Asker) -> Asked:
        if "inputs" in body:
            return self._kserve.read_v2(body, asker)
        if "instances" in body:
            return self._kserve.read_v1(body, asker)
        return Asked([asker.ask(picture_in(body, "JSON"), options_in(body, "JSON", KEYS))], alone)


def header_options(headers: Mapping[str, str]) -> dict[str, Given]:
    """Options in headers: ``X-Detect-Score-Threshold: 0.5``."""
    return {
        name.removeprefix(HEADER_PREFIX).replace("-", "_"): Given(value.strip(), f"header {shown(name.title())}")
        for name, value in headers.items()
        if name.startswith(HEADER_PREFIX)
    }


def field_options(fields: Mapping[str, Any]) -> dict[str, Given]:
    """Options in the fields of a form, or in the query of ``/invocations``."""
    return {
        name: Given(_as_text(value), f"field {shown(name)}")
        for name, value in fields.items()
        if name not in (*PICTURE_FIELDS, *_OF_TORCHSERVE)
    }


def _as_text(value: Any) -> Any:
    return bytes(value).decode(errors="replace").strip() if isinstance(value, bytes | bytearray) else value


def the_picture(fields: Mapping[str, Any]) -> Any:
    """The one field that holds a picture, or JSON with pictures; None where there is none.

    Raises:
        BadImageError: Several do.
    """
    found = [name for name in PICTURE_FIELDS if fields.get(name) not in (None, b"", "")]
    if len(found) > 1:
        raise BadImageError(
            "several_pictures",
            f"the fields {' and '.join(found)} both hold a picture",
            'send one a form, or several as JSON: {"instances": [base64, ...]}',
        )
    return fields[found[0]] if found else None


def parsed(body: Any) -> Any:
    """A body that is JSON, whatever it was called: no picture begins like an object or a list.

    Raises:
        RequestError: It begins like JSON, but is none.
    """
    if isinstance(body, list):
        raise bad_json(f"the JSON must be an object, got a list: {shown(body)}", HOW_TO_SEND)
    if not isinstance(body, bytes | bytearray) or not _begins_like_json(body):
        return body
    try:
        return parsed(json.loads(body.decode("utf-8-sig")))
    except UnicodeDecodeError:
        raise bad_json("the body begins like JSON, but is not UTF-8", HOW_TO_SEND) from None
    except RecursionError:
        raise bad_json("the JSON is nested too deeply", HOW_TO_SEND) from None
    except ValueError as error:
        raise bad_json(f"the body begins like JSON, but is none: {error}", HOW_TO_SEND) from None


def _begins_like_json(body: bytes | bytearray) -> bool:
    return bytes(body[:64]).lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"["))


def picture_bytes(value: Any) -> bytes | bytearray:
    """The bytes of a picture; text, which TorchServe has already decoded, is named as such.

    Raises:
        BadImageError: There are none.
    """
    if isinstance(value, bytes | bytearray):
        return value
    if value is None:
        raise BadImageError("empty_body", "the request has neither a body nor a form field `data`", HOW_TO_SEND)
    raise BadImageError(
        "unsupported_media_type",
        f"the body is {'text' if isinstance(value, str) else 'JSON, but no object'}, not a picture",
        HOW_TO_SEND,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    )
