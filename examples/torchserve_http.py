"""What TorchServe makes of an HTTP request before its handler sees it, for front ends that take its place."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, create_form_parser

if TYPE_CHECKING:
    from starlette.requests import Request

    from handler.requests.incoming import Incoming, Verb

MOST_BYTES = 33_554_432  # of a request, as max_request_size of config.properties
_WAYS: "Mapping[Verb, str]" = {
    "predict": r"/predictions/{0}(/{1})?|/invocations|/v1/models/{0}:predict|/v2/models/{0}/infer",
    "explain": r"/explanations/{0}(/{1})?|/v1/models/{0}:explain|/v2/models/{0}/explain",
    "describe": r"/models/{0}",
}


class Served(Protocol):
    """What is known of the model: its name and its version."""

    model: str
    version: str


async def received(request: "Request", served: Served) -> "Incoming | HTTPStatus":
    """A request as the handler takes it, or why it gets none of it: no such model, a body that is too long.

    Args:
        request: Its headers are there, its body may still be on its way.
        served: The only model.

    Raises:
        ClientDisconnect: The client has left.
    """
    path = request.url.path
    if (verb := verb_of(path, served)) is None:
        return HTTPStatus.NOT_FOUND
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    from handler.requests.incoming import Incoming  # here: of the archive, which is unpacked by now

    query = request.query_params if path == "/invocations" else {}  # elsewhere TorchServe drops it
    fields = fields_of(bytes(body), request.headers.get("content-type", ""))
    return Incoming.of({**query, **fields}, request.headers, verb)


def verb_of(path: str, served: Served) -> "Verb | None":
    """What an address asks for; None: nothing of this model."""
    known = re.escape(served.model), re.escape(served.version)
    return next((verb for verb, ways in _WAYS.items() if re.fullmatch(ways.format(*known), path)), None)


def fields_of(body: bytes, content_type: str) -> dict[str, Any]:
    """The fields of a form, else ``body``, as JSON or text where its type says so and it is."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _form(body, content_type)
    if kind == "application/json":
        with suppress(ValueError, RecursionError):
            return {"body": json.loads(body.decode())}
    if kind.startswith("text"):
        with suppress(ValueError):
            return {"body": body.decode()}
    return {"body": body}


def _form(body: bytes, content_type: str) -> dict[str, Any]:
    """Bytes by name, of two of a name the last; what of a form cannot be read is not there."""
    fields = dict[str, Any]()

    def on_field(field: Field) -> None:
        fields[(field.field_name or b"").decode(errors="replace")] = field.value or b""

    def on_file(file: File) -> None:
        file.file_object.seek(0)
        fields[(file.field_name or b"").decode(errors="replace")] = file.file_object.read()

    limits = {"MAX_MEMORY_FILE_SIZE": len(body)}  # nothing is written to a disk
    with suppress(FormParserError, ValueError):
        form = create_form_parser({"Content-Type": content_type.encode("latin-1")}, on_field, on_file, limits)
        form.write(body)
        form.finalize()
    return fields
