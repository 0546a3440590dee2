"""A server that loses, swaps, alters, repeats or delays answers is caught, over real connections."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.soak import sending
from tests.soak.cases import ID, Case
from tests.soak.expected import Expected
from tests.soak.ledger import RIGHT, UNEXPLAINED, Faults, Row, settled, verdict
from tests.soak.load import Due, Plan, Running, carried_out
from tests.soak.sending import Target

NAMES = ("one", "two", "three")
CASES = [Case(name, "/predictions/demo", {"X-Id": ID}, name.encode(), {"body": b""}) for name in NAMES]


def answer_to(name: str, request: str = ID) -> bytes:
    detection = {"score": 0.5, "box": [0, 0, 9, 9], "label": NAMES.index(name)}
    return json.dumps({"id": request, "detections": [detection]}).encode()


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


def has_no_number(to: BaseHTTPRequestHandler, name: str, request: str) -> None:
    reply(to, answer_to(name, request), "")


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


def ended(misdeed: Misdeed) -> list[Row]:
    due = [Due(f"t-{number}", number % len(CASES), 0.0) for number in range(6)]
    plan = Plan("traffic", due, CASES, EXPECTED, threads=3)
    with server_that(misdeed) as target:
        rows = carried_out(plan, target, 0.0)
    known = {case.name: (case, expected) for case, expected in zip(CASES, EXPECTED, strict=True)}
    rows = [replace(row, verdict=verdict(row, *known[row.case], Faults())) for row in rows]
    return settled(plan.planned(), rows, "traffic")


def test_an_honest_server_is_right() -> None:
    assert [row.verdict for row in ended(honest)] == [RIGHT] * 6


@pytest.mark.parametrize(
    ("misdeed", "told"),
    [
        (loses, "closed 0 None"),
        (hangs, "timeout 0 None"),
        (swaps, "answered 200 label: "),
        (takes_another_id, "answered 200 id: 't-77', not 't-"),
        (alters, "answered 200 detection 0: score: 0.50002, not 0.5"),
        (cuts, "broken 0 None"),
        (answers_twice, "unreadable 200 None"),
        (repeats_its_number, "answered 200 shares TorchServe's number"),
        (has_no_number, "answered 200 has no number"),
        (fails, "answered 500 None"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_wrong_server_is_caught(misdeed: Misdeed, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "TIMEOUT", 0.5 if misdeed is hangs else 60.0)
    for row in ended(misdeed):
        assert row.verdict == UNEXPLAINED
        assert f"{row.outcome} {row.status} {row.difference}".startswith(told)


def test_a_plan_that_is_stopped_ends_with_what_was_due() -> None:
    due = [Due("t-0", 0, 0.0), Due("t-1", 1, 0.0), Due("t-2", 2, 3600.0)]
    with server_that(honest) as target:
        running = Running(Plan("traffic", due, CASES, EXPECTED), target)
        time.sleep(max(0.0, running.begin + 0.5 - time.monotonic()))
        moment = running.stop()
        rows = running.rows()
    assert {row.request for row in rows} <= {"t-0", "t-1"}
    assert all(row.scheduled <= moment for row in rows)
    assert running.is_stopped


def test_a_long_plan_is_carried_out_in_parts() -> None:
    due = [Due(f"t-{number}", 0, 700.0 * number) for number in range(6)]
    parts = Plan("traffic", due, CASES, EXPECTED, threads=3).parts(1800.0)
    assert [[each.after for each in part.due] for part in parts] == [[0, 700, 1400], [300, 1000, 1700]]
    assert [each.request for part in parts for each in part.due] == [each.request for each in due]
    assert {part.threads for part in parts} == {3}


def test_a_swapped_answer_is_named() -> None:
    plan = Plan("traffic", [Due("t-0", 0, 0.0)], CASES, EXPECTED)
    with server_that(swaps) as target:
        (row,) = carried_out(plan, target, 0.0)
    assert "it is the answer to: three" in str(row.difference)
