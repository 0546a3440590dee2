"""What is sent: pictures of 40 sizes by several ways, each with options of its own."""

import base64
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from PIL import Image

from tests.served import MODEL, PICTURES

Kind = Literal["json", "coco", "image", "html", "error"]
# How a request is sent. "leaves": the connection is closed before the answer; "stalls": it is held open, half sent.
Manner = Literal["at once", "slowly", "leaves", "stalls"]
ID = "@REQUEST-ID@"  # stands in headers and bodies for the id of the request, and comes back in the answer
BOUNDARY = "soak-boundary"
SIZES = 40


@dataclass(frozen=True)
class Case:
    """One kind of request.

    Attributes:
        name: Of the case, unique.
        path: Of the address.
        headers: Beside the token and the length.
        body: As it is sent, ``ID`` in it replaced.
        fields: What TorchServe makes of the body, for the answer in process; None: it is answered by the frontend.
        kind: How the answer is compared.
        manner: How it is sent.
        hostile: It is no good request.
        permitted: Where ``fields`` is None: the statuses it may be answered with; 0: closed without an answer.
        method: Of HTTP.
        token: Whether the token is sent.
        said_length: Content-Length, where it is not that of the body.
    """

    name: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    fields: Mapping[str, Any] | None
    kind: Kind = "json"
    manner: Manner = "at once"
    hostile: bool = False
    permitted: tuple[int, ...] = ()
    method: str = "POST"
    token: bool = True
    said_length: int | None = None

    def head_and_body(self, request: str, host: str, token: Mapping[str, str]) -> tuple[bytes, bytes]:
        """What goes over the wire for one request.

        Args:
            request: Its id.
            host: Of the header ``Host``.
            token: The header that lets it through.
        """
        body = self.body.replace(ID.encode(), request.encode())
        length = len(body) if self.said_length is None else self.said_length
        common = {"Host": host, "Connection": "close", "Content-Length": str(length)}
        headers = common | (dict(token) if self.token else {}) | dict(self.headers)
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        head = "\r\n".join(lines).replace(ID, request).encode("latin-1") + b"\r\n\r\n"
        return head, body


@dataclass(frozen=True)
class Wanted:
    """What is asked for a picture: options by name, and the format of the answer."""

    options: Mapping[str, str] = field(default_factory=dict)
    kind: Kind = "json"


WANTED = (
    Wanted(),
    Wanted({"score_threshold": "0.3"}),
    Wanted({"format": "coco", "image_id": ID}, "coco"),
    Wanted({"masks": "polygon"}),
    Wanted({"masks": "png", "score_threshold": "0.2"}),
    Wanted({"masks": "none"}),
    Wanted({"classes": "circle,star"}),
    Wanted({"format": "image"}, "image"),
    Wanted({"max_detections": "3", "mask_threshold": "0.7"}),
    Wanted({"format": "coco", "image_id": ID, "masks": "polygon", "score_threshold": "0.5"}, "coco"),
    Wanted({"format": "html"}, "html"),
)
WAYS = ("body", "form", "json", "v1", "v2")


@cache
def pictures() -> list[bytes]:
    """40 JPEGs, each with a size of its own: the demo pictures, resized so that no two are alike."""
    made = []
    for number in range(SIZES):
        with Image.open(PICTURES[number % len(PICTURES)]) as picture:
            size = (150 + (number * 37) % 171 + number, 140 + (number * 53) % 141 + number)
            packed = io.BytesIO()
            picture.resize(size, Image.Resampling.BICUBIC).save(packed, "JPEG", quality=90)
        made.append(packed.getvalue())
    return made


def traffic(every: bool) -> list[Case]:
    """The good requests.

    Args:
        every: Each picture with each of ``WANTED``; else each picture with one of them, and as plain JSON.
    """
    cases = [plain(number) for number in range(SIZES)]
    for number in range(SIZES):
        wanted = range(len(WANTED)) if every else [number % len(WANTED)]
        cases += [made for each in wanted for made in _asked(number, each)]
    return cases


def plain(number: int) -> Case:
    """A picture as it is, as ``curl -T`` and the command send it."""
    body = pictures()[number]
    headers = {"Content-Type": "application/octet-stream", "Accept": "application/json"}
    return Case(f"{number} plain", f"/predictions/{MODEL}", headers, body, {"body": body})


def _asked(number: int, index: int) -> Iterator[Case]:
    wanted, way = WANTED[index], WAYS[(number + index) % len(WAYS)]
    if wanted.kind == "html" or (wanted.kind != "json" and way in ("v1", "v2")):
        way = "body"  # a page is no part of an envelope, and a picture in one is compared as bytes
    name = f"{number} {way} {','.join(f'{key}={value}' for key, value in wanted.options.items()) or 'nothing asked'}"
    yield _MAKERS[way](name, pictures()[number], wanted)


def _body(name: str, picture: bytes, wanted: Wanted) -> Case:
    headers = {"Content-Type": "image/jpeg"} | {
        f"X-Detect-{key.replace('_', '-').title()}": value for key, value in wanted.options.items()
    }
    return Case(name, f"/predictions/{MODEL}", headers, picture, {"body": picture}, wanted.kind)


def _form(name: str, picture: bytes, wanted: Wanted) -> Case:
    fields = {"data": picture} | {key: value.encode() for key, value in wanted.options.items()}
    parts = [_part(key, value) for key, value in fields.items()]
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return Case(name, f"/predictions/{MODEL}", headers, body, fields, wanted.kind)


def _part(key: str, value: bytes) -> bytes:
    file = '; filename="p.jpg"\r\nContent-Type: image/jpeg' if key == "data" else ""
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"{file}\r\n\r\n'.encode() + value + b"\r\n"


def _json(name: str, picture: bytes, wanted: Wanted) -> Case:
    return _as_json(name, f"/predictions/{MODEL}", {"image": _text(picture), **wanted.options}, wanted)


def _v1(name: str, picture: bytes, wanted: Wanted) -> Case:
    request = {"instances": [{"image": _text(picture)}], "parameters": dict(wanted.options)}
    return _as_json(name, f"/v1/models/{MODEL}:predict", request, wanted)


def _v2(name: str, picture: bytes, wanted: Wanted) -> Case:
    tensor = {"name": "x", "datatype": "BYTES", "shape": [1], "data": [_text(picture)]}
    request = {"id": ID, "inputs": [tensor], "parameters": dict(wanted.options)}
    return _as_json(name, f"/v2/models/{MODEL}/infer", request, wanted)


def _as_json(name: str, path: str, request: Mapping[str, Any], wanted: Wanted) -> Case:
    headers = {"Content-Type": "application/json"}
    return Case(name, path, headers, json.dumps(request).encode(), {"body": request}, wanted.kind)


def _text(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


_MAKERS = {"body": _body, "form": _form, "json": _json, "v1": _v1, "v2": _v2}
