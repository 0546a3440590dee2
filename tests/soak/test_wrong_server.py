"""A server that loses, swaps, alters, repeats or delays answers is caught, over real connections."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.soak import sending
from tests.soak.cases import ID, Case
from tests.soak.expected import Expected
from tests.soak.ledger import RIGHT, UNEXPLAINED, Faults, settled, verdict
from tests.soak.load import Due, Plan, carried_out
from tests.soak.sending import Target

NAMES = ("one", "two", "three")
CASES = [Case(name, "/predictions/demo", {"X-Id": ID}, name.encode(), {"body": b""}) for name in NAMES]


def answer_to(name: str, request: str = ID) -> bytes:
    return json.dumps({"id": request, "detections": [{"score": 0.5, "label": NAMES.index(name)}]}).encode()


EXPECTED = [Expected(200, "", answer_to(name)) for name in NAMES]
Misdeed = Callable[[BaseHTTPRequestHandler, str, str], None]


def reply(to: BaseHTTPRequestHandler, body: bytes, number: str) -> None:
    to.send_response(200)
    to.send_header("Content-Length", str(len(body)))
    to.send_header("x-request-id", number)
    to.end_headers()
    to.wfile.write(body)


def honest(to: BaseHTTPRequestHandler, name: str, request: str) -> None:
    reply(to, answer_to(name, request), request)


def loses(to: BaseHTTPRequestHandler, name: str, request: str) -> None:
    to.close_connection = True


def hangs(to: BaseHTTPRequestHandler, name: str, request: str) -> None:
    threading.Event().wait(1.5)


def swaps(to: BaseHTTPRequestHandler, name: str, request: str) -> None:
    reply(to, answer_to(NAMES[NAMES.index(name) - 1], request), request)


def takes_another_id(to: BaseHTTPRequestHandler, name: str, request: str) -> None:
    reply(to, answer_to(name, "t-77"), request)


def alters(to: BaseHTTPRequestHandler, name: str, request: str) -> None:
    reply(to, answer_to(name, request).replace(b"0.5", b"0.50002"), request)


def cuts(to: BaseHTTPRequestHandler, name: str, request: str) -> None:
    body = answer_to(name, request)
    to.send_response(200)
    to.send_header("Content-Length", str(len(body)))
    to.end_headers()
    to.wfile.write(body[:-5])


def answers_twice(to: BaseHTTPRequestHandler, name: str, request: str) -> None:
    honest(to, name, request)
    honest(to, name, request)


def repeats_its_number(to: BaseHTTPRequestHandler, name: str, request: str) -> None:
    reply(to, answer_to(name, request), "always the same")


def fails(to: BaseHTTPRequestHandler, name: str, request: str) -> None:
    to.send_error(500)


@contextmanager
def server_that(misdeed: Misdeed) -> Iterator[Target]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:  # noqa: N802 - the name is http.server's
            name = self.rfile.read(int(self.headers["Content-Length"])).decode()
            misdeed(self, name, self.headers["X-Id"])
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Target("127.0.0.1", server.server_address[1], {})
    finally:
        server.shutdown()
        server.server_close()


def verdicts(misdeed: Misdeed) -> list[str]:
    due = [Due(f"t-{number}", number % len(CASES), 0.0) for number in range(6)]
    plan = Plan("traffic", due, CASES, EXPECTED, threads=3)
    with server_that(misdeed) as target:
        rows = carried_out(plan, target, 0.0)
    known = {case.name: (case, expected) for case, expected in zip(CASES, EXPECTED, strict=True)}
    rows = [replace(row, verdict=verdict(row, *known[row.case], Faults())) for row in rows]
    return [row.verdict for row in settled(plan.planned(), rows, "traffic")]


def test_an_honest_server_is_right() -> None:
    assert verdicts(honest) == [RIGHT] * 6


@pytest.mark.parametrize(
    "misdeed",
    [loses, hangs, swaps, takes_another_id, alters, cuts, answers_twice, repeats_its_number, fails],
    ids=lambda each: each.__name__,
)
def test_a_wrong_server_is_caught(misdeed: Misdeed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "TIMEOUT", 0.5)
    assert verdicts(misdeed) == [UNEXPLAINED] * 6


def test_a_swapped_answer_is_named() -> None:
    plan = Plan("traffic", [Due("t-0", 0, 0.0)], CASES, EXPECTED)
    with server_that(swaps) as target:
        (row,) = carried_out(plan, target, 0.0)
    assert "it is the answer to: three" in str(row.difference)
