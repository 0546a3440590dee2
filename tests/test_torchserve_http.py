"""Requests as TorchServe hands them on, for front ends in its place. Needs python-multipart, which comes with Ray."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import pytest

from handler.requests.incoming import Incoming
from tests.ray_installed import skip_without_ray

skip_without_ray()

from examples.torchserve_http import MOST_BYTES, fields_of, received, verb_of  # noqa: E402 - only where Ray is

SERVED: Any = SimpleNamespace(model="a.b", version="1.0")
FORM = "multipart/form-data; boundary=edge"
BYTES = bytes(range(256)) * 8


def part(name: str, value: bytes, more: str = "") -> bytes:
    return f'--edge\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


@pytest.mark.parametrize(
    ("path", "verb"),
    [
        ("/predictions/a.b", "predict"),
        ("/predictions/a.b/1.0", "predict"),
        ("/invocations", "predict"),
        ("/v1/models/a.b:predict", "predict"),
        ("/v2/models/a.b/infer", "predict"),
        ("/explanations/a.b", "explain"),
        ("/models/a.b", "describe"),
        ("/predictions/aXb", None),  # the name is no pattern
        ("/predictions/a.b/1x0", None),
        ("/predictions/a.b/", None),
        ("/predictions", None),
        ("/predictions/a.b\n", None),
        ("/", None),
    ],
)
def test_an_address_says_what_is_asked(path: str, verb: str | None) -> None:
    assert verb_of(path, SERVED) == verb


FIELDS: dict[str, tuple[bytes, str, dict[str, Any]]] = {
    "bytes": (BYTES, "image/jpeg", {"body": BYTES}),
    "nothing": (b"", "", {"body": b""}),
    "what curl calls a form": (BYTES, "application/x-www-form-urlencoded", {"body": BYTES}),
    "JSON": (b'{"image": "aa"}', "application/json; charset=utf-8", {"body": {"image": "aa"}}),
    "JSON that is none": (b'{"image', "application/json", {"body": b'{"image'}),
    "JSON in no UTF-8": (b'"\xff"', "application/json", {"body": b'"\xff"'}),
    "JSON nested too deeply": (b"[" * 200_000, "application/json", {"body": b"[" * 200_000}),
    "text": ("Stühle".encode(), "Text/Plain", {"body": "Stühle"}),
    "bytes called text": (BYTES, "text/plain", {"body": BYTES}),
    "a form": (
        part("data", BYTES, '; filename="a.jpg"\r\nContent-Type: image/jpeg')
        + part("masks", b"none")
        + b"--edge--\r\n",
        FORM,
        {"data": BYTES, "masks": b"none"},
    ),
    "a picture in a field": (part("data", BYTES) + b"--edge--\r\n", FORM, {"data": BYTES}),
    "one field twice": (part("masks", b"rle") + part("masks", b"none") + b"--edge--\r\n", FORM, {"masks": b"none"}),
    "an empty field": (part("masks", b"") + b"--edge--\r\n", FORM, {"masks": b""}),
    "a name in UTF-8": (part("größe", b"1") + b"--edge--\r\n", FORM, {"größe": b"1"}),
    "a form that is cut off": (part("masks", b"none") + part("data", BYTES)[:-700], FORM, {"masks": b"none"}),
    "a form that is none": (BYTES, FORM, {}),
    "a form without a boundary": (part("data", BYTES), "multipart/form-data", {}),
    "a boundary that is none": (part("data", BYTES), "multipart/form-data; boundary=" + "\x80" * 500, {}),
    "a million headers": (
        b"--edge\r\n" + b"X: y\r\n" * 100_000 + b"\r\n1\r\n--edge--\r\n",
        FORM,
        {},
    ),
}


@pytest.mark.parametrize(("body", "kind", "fields"), FIELDS.values(), ids=FIELDS.keys())
def test_a_body_becomes_fields(body: bytes, kind: str, fields: Mapping[str, Any]) -> None:
    assert fields_of(body, kind) == fields


def request(path: str, *chunks: bytes, query: Mapping[str, str] | None = None, **headers: str) -> Any:
    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return SimpleNamespace(url=SimpleNamespace(path=path), query_params=query or {}, headers=headers, stream=stream)


def asked(*arguments: Any, **more: Any) -> Incoming | HTTPStatus:
    return asyncio.run(received(request(*arguments, **more), SERVED))


def test_a_request_is_put_together() -> None:
    assert asked("/explanations/a.b", b"ab", b"cd", Accept="text/html") == Incoming(
        {"body": b"abcd"}, {"accept": "text/html"}, "explain"
    )


def test_only_invocations_have_a_query() -> None:
    query = {"masks": "none"}
    assert asked("/invocations", b"a", query=query) == Incoming({"masks": "none", "body": b"a"})
    assert asked("/predictions/a.b", b"a", query=query) == Incoming({"body": b"a"})


def test_what_is_not_served_or_too_long_gets_a_status() -> None:
    assert asked("/predictions/other", b"a") == HTTPStatus.NOT_FOUND
    assert asked("/predictions/a.b", bytes(MOST_BYTES), b"a") == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    assert isinstance(asked("/predictions/a.b", bytes(MOST_BYTES)), Incoming)
