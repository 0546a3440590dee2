import socket
from collections.abc import Iterator

import pytest

from benchmarks.load import Client, Target, closed_loop, warm_up
from tests.benchmarks.stand_in import StandIn, standing_in


@pytest.fixture
def server() -> Iterator[StandIn]:
    with standing_in() as running:
        yield running


def test_every_client_keeps_its_connection_and_all_bodies_are_sent(server: StandIn) -> None:
    bodies = [b"a", b"b", b"c"]
    load = closed_loop(server.target(), bodies, clients=10, requests=65)  # two processes: of eight and of two
    assert len(load.milliseconds) == len(server.bodies) == 60
    assert {body: server.bodies.count(body) for body in bodies} == {b"a": 20, b"b": 20, b"c": 20}
    assert len(server.sockets) == 10
    assert load.per_second > 0
    assert min(load.milliseconds) > 0


def test_a_refused_request_is_an_error(server: StandIn) -> None:
    with pytest.raises(RuntimeError, match="the server answered 400: ok"):
        closed_loop(server.target(), [b"bad"], clients=1, requests=1)


def test_failures_are_counted_where_that_is_asked_for_and_are_no_latencies(server: StandIn) -> None:
    load = closed_loop(server.target(), [b"a", b"busy", b"drop"], clients=1, requests=9, count_failures=True)
    assert load.statuses == {"no answer": 3, "200": 3, "503": 3}
    assert len(load.milliseconds) == 3
    assert len(server.sockets) == 3  # a new connection for what followed each that was dropped


def test_a_warm_up_sends_every_body(server: StandIn) -> None:
    bodies = [bytes([number]) for number in range(5)]
    warm_up(server.target(), bodies, clients=3)  # five are no multiple of three: they are rounded up
    assert (set(server.bodies), len(server.bodies)) == (set(bodies), 6)
    warm_up(server.target(), bodies, clients=3, fewest=8)
    assert len(server.bodies) == 6 + 9


def test_a_client_that_finds_nobody_says_why() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    outcome = Client(Target("127.0.0.1", port, "/", {})).send(b"a")
    assert outcome.status == 0
    assert "Refused" in outcome.problem
