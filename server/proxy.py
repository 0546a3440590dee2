"""``python -m server.proxy --name NAME``: opens the page of a model whose server wants tokens.

A browser sends no token. This stands between it and the server, on the loopback interface only, adds the token, and
lets nothing through but pictures and the page: no other path, nothing that another site's page makes the browser send.
"""

import argparse
import errno
import json
import re
import sys
import threading
import webbrowser
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from server import tokens
from server.__main__ import server_of
from server.addresses import HOST
from server.torchserve import ServerError, TorchServe

FORWARDED_PATH = re.compile(r"/(predictions|explanations)/[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[0-9][0-9.]*)?")
FORWARDED_HEADERS = re.compile(r"(?i)accept|content-type|x-detect-[a-z-]+")
KEPT_BY_A_CONNECTION = {"connection", "content-length", "keep-alive", "transfer-encoding", "date", "server"}
SECONDS = 120.0  # for one answer, and for a browser that stops in the middle of its request
CHUNK = 1 << 20


class RefusedError(Exception):
    """A request that is not forwarded.

    Attributes:
        status: Of the reply.
        error: ``code``, ``message`` and ``hint``, as the handler writes them.
    """

    def __init__(self, status: HTTPStatus, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.status, self.error = status, {"code": code, "message": message, "hint": hint}


class PageProxy(ThreadingHTTPServer):
    """Forwards pictures and the page to one TorchServe, with its token."""

    daemon_threads = True  # Ctrl-C does not wait for a browser

    def __init__(self, torchserve: TorchServe, port: int = 0, start: str = "") -> None:
        """Listen on the loopback interface.

        Args:
            torchserve: Where to forward to.
            port: 0: a free one.
            start: Path of the page, where a browser is sent that asks for none.

        Raises:
            OSError: The port is taken.
        """
        super().__init__((HOST, port), _Forwarding)
        self.start = start
        self.torchserve, self.max_bytes = torchserve, _max_request_size(torchserve.home)
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}
        self._renewing = threading.Lock()

    def token(self) -> Mapping[str, str]:
        """The header with a token that is valid now; a token that ends is renewed once, not once a thread."""
        with self._renewing:
            return tokens.headers(self.torchserve.home, "inference", self.torchserve.addresses.management_url)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a browser that left; anything else is a bug and is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Forwarding(BaseHTTPRequestHandler):
    """One request of the browser."""

    server: PageProxy
    protocol_version = "HTTP/1.1"  # so that a client which asks first is told to go on
    timeout = SECONDS

    def do_GET(self) -> None:  # noqa: N802 (the base class chose the name)
        self._serve()

    do_POST = do_GET  # noqa: N815

    def _serve(self) -> None:
        try:
            self._check_sender()
            body = self._body()
            if self.command == "GET" and self.path == "/" and self.server.start:
                self._answer(HTTPStatus.FOUND, {"Location": self.server.start}, b"")
                return
            self._check_path()
            self._forward(body)
        except RefusedError as refusal:
            body = json.dumps({"error": refusal.error}).encode()
            self._answer(refusal.status, {"Content-Type": "application/json"}, body)

    def _check_sender(self) -> None:
        """Refuse what another site's page sends, by its own name (Origin) or by one that it lent us (Host).

        Raises:
            RefusedError: See above.
        """
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if host not in self.server.hosts:
            hint = f"open http://{HOST}:{self.server.server_port}"
            raise RefusedError(HTTPStatus.MISDIRECTED_REQUEST, "wrong_host", f"no server is called {host!r} here", hint)
        ours = {f"http://{each}" for each in self.server.hosts}
        elsewhere = origin not in ours if origin is not None else self._crosses_sites()
        if self.command == "POST" and elsewhere:
            message = f"pictures are taken from this page only, not from {origin or 'another site'}"
            raise RefusedError(HTTPStatus.FORBIDDEN, "wrong_origin", message, "send them to the server, with its token")

    def _crosses_sites(self) -> bool:
        """What a browser says of a request without Origin; other programs say nothing."""
        return self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")

    def _check_path(self) -> None:
        if not FORWARDED_PATH.fullmatch(self.path.partition("?")[0]):
            message = f"{self.command} {self.path[:200]} is not forwarded"
            hint = "GET and POST of /predictions/NAME and /explanations/NAME are"
            raise RefusedError(HTTPStatus.NOT_FOUND, "no_such_page", message, hint)

    def _body(self) -> bytes:
        """The body; one that is too large is read to its end, as the browser would not listen before.

        Raises:
            RefusedError: It is too large, or does not say how large.
        """
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not re.fullmatch(r"[0-9]{1,15}", length):
            hint = "send a Content-Length"
            raise RefusedError(
                HTTPStatus.LENGTH_REQUIRED, "length_required", "the length of the body is not told", hint
            )
        if int(length) <= self.server.max_bytes:
            body = self.rfile.read(int(length))
            if len(body) < int(length):  # it left: half a picture is not worth asking for
                raise ConnectionAbortedError
            return body
        if int(length) <= 16 * self.server.max_bytes:
            for size in _chunk_sizes(int(length)):
                self.rfile.read(size)
        message = f"the file has {int(length):,} bytes, the server takes {self.server.max_bytes:,}"
        hint = "send a smaller picture, or raise max_request_size in config.properties"
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "file_too_large", message, hint)

    def _forward(self, body: bytes) -> None:
        headers = {name: value for name, value in self.headers.items() if FORWARDED_HEADERS.fullmatch(name)}
        connection = HTTPConnection(HOST, self.server.torchserve.addresses.inference, timeout=SECONDS)
        try:
            path = self.path.partition("?")[0]
            connection.request(self.command, path, body or None, headers | dict(self.server.token()))
            response = connection.getresponse()
            self._answer(response.status, _kept(response), response.read())
        except (OSError, HTTPException) as error:
            hint = "see whether it runs: make serve"
            message = f"the server does not answer ({error})"
            raise RefusedError(HTTPStatus.BAD_GATEWAY, "no_server", message, hint) from error
        finally:
            connection.close()

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing: TorchServe has an access log."""


def _kept(response: HTTPResponse) -> Mapping[str, str]:
    """The reply's own headers, without those of the connection it came by."""
    return {name: value for name, value in response.getheaders() if name.lower() not in KEPT_BY_A_CONNECTION}


def _chunk_sizes(length: int) -> Iterator[int]:
    while length > 0:
        yield min(CHUNK, length)
        length -= CHUNK


def _max_request_size(home: Path) -> int:
    """What the server's own configuration says, or TorchServe's default."""
    stated = re.search(r"(?m)^max_request_size=(\d+)\s*$", (home / "config.properties").read_text())
    return int(stated[1]) if stated else 6_553_500


def show(url: str, browser: bool) -> None:
    """Print an address and open it; a browser of the terminal would not show the page, and would not return."""
    print(f"The page: {url}", flush=True)
    if not browser:
        return
    try:
        found = webbrowser.get()
    except webbrowser.Error:
        return
    if type(found) is not webbrowser.GenericBrowser:
        found.open(url)


def serve(torchserve: TorchServe, name: str, port: int, browser: bool) -> None:
    """Open the page and forward until Ctrl-C; a server without tokens is opened itself, and nothing stays."""
    if not (torchserve.home / tokens.FILE_NAME).is_file():
        show(f"{torchserve.addresses.inference_url}/predictions/{name}", browser)
        return
    page = f"/predictions/{name}"
    with PageProxy(torchserve, port, page) as proxy:
        show(f"http://{HOST}:{proxy.server_port}{page}", browser)
        print("Ctrl-C ends it", flush=True)
        try:
            proxy.serve_forever()
        except KeyboardInterrupt:
            print()


def main() -> int:
    """Run the command; 2 where there is no server, or the port is taken."""
    parser = argparse.ArgumentParser(prog="python -m server.proxy", description="Open the page of a served model.")
    parser.add_argument("--name", required=True, help="model name in the address")
    parser.add_argument("--port", type=int, default=0, help="of the page (default: a free one)")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    arguments = parser.parse_args()
    try:
        serve(server_of(arguments.name), arguments.name, arguments.port, not arguments.no_browser)
    except (ServerError, OSError, OverflowError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        said = f"port {arguments.port} is taken; choose another with PAGE_PORT=, or none" if taken else error
        print(f"error: {said}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
