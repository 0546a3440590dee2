"""One request over a connection of its own, and what came back: at most one answer, and not a byte more."""

import io
import json
import re
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from http.client import HTTPException, HTTPResponse
from typing import Literal

from tests.soak.cases import Case

Outcome = Literal["answered", "closed", "broken", "refused", "timeout", "left", "unreadable"]
TIMEOUT = 300.0  # seconds; who waits longer counts as hung, on however busy a machine
SLOW_PIECES, SLOW_PAUSE = 12, 0.25
STALL = 6.0
LAST_WORDS = 2.0  # seconds for what may come after the answer
_READ = 1 << 16
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


@dataclass(frozen=True)
class Target:
    """Where requests go."""

    host: str
    port: int
    token: Mapping[str, str]


@dataclass(frozen=True)
class Received:
    """What came of a request.

    Attributes:
        outcome: ``answered`` with a whole answer; ``closed`` without a byte of one; ``broken`` off in the middle;
            ``refused``, nobody listens; ``timeout``; ``left``, we went first; ``unreadable``, no HTTP or more than one.
        status: Of HTTP; 0: none.
        body: Of the answer.
        server_id: The number that TorchServe gave the request.
        code: Of the error: the handler's code, or the words of TorchServe.
        whole: When the answer was there, in seconds of ``time.monotonic()``; 0: there is none.
    """

    outcome: Outcome
    status: int = 0
    body: bytes = b""
    server_id: str = ""
    code: str = ""
    whole: float = 0.0


def send(case: Case, request: str, target: Target) -> Received:
    """Send one request as its case says, and wait for what comes.

    Args:
        case: What to send.
        request: Its id.
        target: Where to.
    """
    head, body = case.head_and_body(request, f"{target.host}:{target.port}", target.token)
    try:
        with socket.create_connection((target.host, target.port), TIMEOUT) as connection:
            return _exchange(connection, case, head, body)
    except ConnectionRefusedError:
        return Received("refused")
    except TimeoutError:  # before OSError, of which it is one
        return Received("timeout")
    except OSError:
        return Received("closed")


def _exchange(connection: socket.socket, case: Case, head: bytes, body: bytes) -> Received:
    if case.manner in ("leaves", "stalls"):
        connection.sendall(head + body[: len(body) // 2] if case.manner == "stalls" else head + body)
        time.sleep(STALL if case.manner == "stalls" else 0.02)
        return Received("left")
    with suppress(BrokenPipeError, ConnectionResetError):  # a refusal may have come before all was sent
        _deliver(connection, case, head, body)
    data, whole = _everything(connection)
    return replace(parsed(data), whole=whole)


def _deliver(connection: socket.socket, case: Case, head: bytes, body: bytes) -> None:
    if case.manner == "at once":
        connection.sendall(head + body)
        return
    message = head + body
    size = -(-len(message) // SLOW_PIECES)
    for start in range(0, len(message), size):
        connection.sendall(message[start : start + size])
        time.sleep(SLOW_PAUSE)


def _everything(connection: socket.socket) -> tuple[bytes, float]:
    """All that came until the server closed, and when the first answer was whole.

    TorchServe keeps a connection open though it is asked to close it. So our end is closed then: what it has sent
    beyond the one answer still comes.
    """
    data, whole = b"", 0.0
    try:
        while piece := connection.recv(_READ):
            data += piece
            if not whole and is_whole(data):
                whole = time.monotonic()
                connection.settimeout(LAST_WORDS)
                connection.shutdown(socket.SHUT_WR)
    except OSError:
        if not whole and not data:
            raise
    return data, whole or time.monotonic()


def is_whole(data: bytes) -> bool:
    """Whether an answer has come to its end."""
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return False
    if length := _LENGTH.search(head):
        return len(body) >= int(length[1])
    return b"chunked" in head.lower() and body.endswith(b"0\r\n\r\n")


class _Bytes:
    """What :class:`HTTPResponse` reads from."""

    def __init__(self, data: bytes) -> None:
        self.file = _Unclosed(data)

    def makefile(self, *_: object) -> "_Unclosed":
        return self.file


class _Unclosed(io.BytesIO):
    def close(self) -> None:
        """Stay readable: what is left after the answer must be nothing."""


def parsed(data: bytes) -> Received:
    """The one answer that a server sent.

    Args:
        data: All that came until it closed.
    """
    if not data:
        return Received("closed")
    source = _Bytes(data)
    try:
        answer = HTTPResponse(source)  # type: ignore[arg-type]
        answer.begin()
        body = answer.read()
    except (HTTPException, ValueError, OSError):
        return Received("broken" if data.startswith(b"HTTP/") else "unreadable")
    if source.file.read():
        return Received("unreadable", answer.status, body, code="more than one answer")
    code = "" if answer.status == 200 else code_of(body)
    return Received("answered", answer.status, body, answer.headers.get("x-request-id", ""), code)


def code_of(body: bytes) -> str:
    """The handler's code of an error, else what TorchServe says."""
    try:
        said = json.loads(body)
        for name in ("predictions", "outputs"):
            said = said[name][0] if "error" not in said and name in said else said
        error = said.get("error", said)
        return str(error.get("code") if "hint" in error else error.get("message", ""))[:200]
    except (ValueError, AttributeError, LookupError, TypeError):
        return body[:80].decode("latin-1")
