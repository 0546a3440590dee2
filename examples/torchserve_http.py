"""What TorchServe makes of an HTTP request before its handler sees it, for front ends that take its place."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, create_form_parser

if TYPE_CHECKING:
    from handler.requests.incoming import Incoming

MOST_BYTES = 33_554_432  # of a request, as max_request_size of config.properties
_WAYS = {
    "predict": r"/predictions/{0}|/invocations|/v1/models/{0}:predict|/v2/models/{0}/infer",
    "explain": r"/explanations/{0}|/v1/models/{0}:explain|/v2/models/{0}/explain",
    "describe": r"/models/{0}",
}


def verb_of(path: str, model: str) -> Any:
    """What an address asks for: ``predict``, ``explain`` or ``describe``; None: nothing of this model."""
    return next((verb for verb, ways in _WAYS.items() if re.fullmatch(ways.format(re.escape(model)), path)), None)


def incoming(body: bytes, headers: Mapping[str, str], query: Mapping[str, str], verb: Any) -> "Incoming":
    """A request as the handler takes it.

    Args:
        body: All of it.
        headers: Names in any case.
        query: Options of ``/invocations``; empty elsewhere, where TorchServe drops it.
        verb: See ``verb_of``.
    """
    from handler.requests.incoming import Incoming  # here: of the archive, which is unpacked by now

    return Incoming.of({**query, **fields_of(body, headers.get("content-type", ""))}, headers, verb)


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
