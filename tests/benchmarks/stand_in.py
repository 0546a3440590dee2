"""A server that answers at once, but for what a test tells it: it stands in for a slow or a failing model."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from benchmarks.load import Target


class StandIn(ThreadingHTTPServer):
    """What it did, and what it is to do."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.lock = threading.Lock()
        self.bodies: list[bytes] = []
        self.sockets: set[Any] = set()
        self.stalled_at: int | None = None
        self.stalled_for = 0.0
        self.opens = 0.0

    def stall_at(self, number: int, seconds: float) -> None:
        """From this request on nobody is answered for so long, as when a process is stopped."""
        self.stalled_at, self.stalled_for = number, seconds

    def target(self) -> Target:
        """Where it listens."""
        return Target("127.0.0.1", self.server_port, "/", {})


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: StandIn

    def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.sockets.add(self.client_address)
            if len(self.server.bodies) == self.server.stalled_at:
                self.server.opens = time.monotonic() + self.server.stalled_for
        time.sleep(max(0.0, self.server.opens - time.monotonic()))
        if body == b"drop":
            self.close_connection = True
            return
        self.send_response({b"bad": 400, b"busy": 503}.get(body, 200))
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def standing_in() -> Iterator[StandIn]:
    """It listens on a free port, and stops."""
    with StandIn() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
