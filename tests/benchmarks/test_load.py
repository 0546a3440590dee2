import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from benchmarks.load import Target, closed_loop


class Counts(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lock, bodies, sockets = threading.Lock(), list[bytes](), set[Any]()

    def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.lock:
            self.bodies.append(body)
            self.sockets.add(self.client_address)
        self.send_response(200 if body != b"bad" else 400)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def target() -> Iterator[Target]:
    Counts.bodies.clear()
    Counts.sockets.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Counts)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Target("127.0.0.1", server.server_port, "/", {})
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_client_keeps_its_connection_and_all_bodies_are_sent(target: Target) -> None:
    load = closed_loop(target, [b"a", b"b", b"c"], clients=10, requests=65)  # two processes: of eight and of two
    assert len(load.milliseconds) == len(Counts.bodies) == 60
    assert {body: Counts.bodies.count(body) for body in (b"a", b"b", b"c")} == {b"a": 20, b"b": 20, b"c": 20}
    assert len(Counts.sockets) == 10
    assert load.per_second > 0
    assert min(load.milliseconds) > 0


def test_a_refused_request_is_an_error(target: Target) -> None:
    with pytest.raises(RuntimeError, match="the server answered 400: ok"):
        closed_loop(target, [b"bad"], clients=1, requests=1)
