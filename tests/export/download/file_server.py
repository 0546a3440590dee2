"""A web server on this machine that hands out one file, and misbehaves as told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Shelf:
    """What the server does. Lists are used up, one entry a request; then it behaves.

    Attributes:
        content: The file.
        headers: Sent with it.
        statuses: Answered in place of the file.
        cuts: Bytes after which the connection is closed.
        ignores_range: Whether it always sends the whole file.
        ignores_if_range: Whether it sends a part of a file that has changed meanwhile.
        content_range: Sent in place of the right one.
        redirect: Where it sends the client on from any address but /file.
        requests: Path and headers of each request that came.
        held_up: Answers wait for it.
    """

    content: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"first"'})
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    ignores_range: bool = False
    ignores_if_range: bool = False
    content_range: str = ""
    redirect: str = ""
    requests: list[tuple[str, Message]] = field(default_factory=list)
    held_up: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def ranges(self) -> list[str | None]:
        return [headers["Range"] for _, headers in self.requests]


@contextmanager
def serving(shelf: Shelf) -> Iterator[Shelf]:
    """Serve on a free port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
            shelf.requests.append((self.path, self.headers))
            shelf.held_up.wait(10)
            if shelf.statuses:
                self._answer(shelf.statuses.pop(0), {"Content-Length": "0"}, b"")
            elif shelf.redirect and self.path != "/file":
                self._answer(302, {"Location": shelf.redirect, "Content-Length": "0"}, b"")
            else:
                self._hand_out()

        def _hand_out(self) -> None:
            size, asked = len(shelf.content), self.headers["Range"]
            same = self.headers["If-Range"] in (None, shelf.headers.get("ETag"), shelf.headers.get("Last-Modified"))
            part = asked if same or shelf.ignores_if_range else None
            first = int(part.removeprefix("bytes=").removesuffix("-")) if part else 0
            if shelf.ignores_range or first == 0:
                return self._answer(200, {"Content-Length": str(size)}, shelf.content)
            if first >= size:
                return self._answer(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"}, b"")
            said = shelf.content_range or f"bytes {first}-{size - 1}/{size}"
            headers = {"Content-Length": str(size - first), "Content-Range": said}
            return self._answer(206, headers, shelf.content[first:])

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in (headers | shelf.headers).items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):  # the client has seen enough
                self.wfile.write(body[: shelf.cuts.pop(0)] if shelf.cuts and body else body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    shelf.held_up.set()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        shelf.url = f"http://127.0.0.1:{server.server_port}/models/model-1234.pth"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield shelf
        finally:
            server.shutdown()
            thread.join()
