"""The example behind Ray Serve, on two nodes of this machine: what TorchServe answers, it answers."""

import base64
import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from benchmarks.load import Client, Outcome, Target
from benchmarks.ray_nodes import HOST, Nodes, running
from handler.metrics import ignore
from handler.replies.reply import Reply
from handler.requests.incoming import Incoming
from handler.worker import Worker
from server import tokens
from server.torchserve import TorchServe
from tests.handler.picture_cases import CASES, Case
from tests.ray_installed import skip_without_ray
from tests.reply_schema import error_of
from tests.served import PICTURES
from tests.unpacked import one_thread_worker

skip_without_ray()
pytestmark = pytest.mark.slow

PICTURE = PICTURES[2].read_bytes()
TEXT = base64.b64encode(PICTURE).decode()
REPLICAS = 2
BATCH = 4
CLIENTS = 6


@contextmanager
def load(nodes: Nodes) -> Iterator[list[Outcome]]:
    """More clients than one replica has room for, who ask all the while; what they got is there at the end."""
    target, stop = Target(HOST, nodes.port, "/predictions/demo", {"Content-Type": "image/jpeg"}), threading.Event()

    def ask(_: int) -> list[Outcome]:
        client, outcomes = Client(target), list[Outcome]()
        while not stop.is_set():
            outcomes.append(client.send(PICTURE))
        client.close()
        return outcomes

    every = list[Outcome]()
    with ThreadPoolExecutor(CLIENTS) as pool:
        runs = pool.map(ask, range(CLIENTS))
        try:
            yield every
        finally:
            stop.set()
        every += [outcome for run in runs for outcome in run]


def wait_for_replicas(nodes: Nodes, without: int | None = None, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while len(found := nodes.replicas()) < REPLICAS or without in found:
        assert time.monotonic() < end, f"replicas: {found}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def nodes(archive: Path) -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("MASKRCNN_CACHE", str(archive.parent / "cache"))
        with running(archive, nodes=REPLICAS, replicas=REPLICAS, batch=BATCH, least=1) as started:
            assert len(started.replicas()) == 1
            with load(started):
                wait_for_replicas(started)
            yield started


@pytest.fixture(scope="module")
def worker(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with one_thread_worker(archive, tmp_path_factory.mktemp("unpacked")) as loaded:
        yield loaded


@dataclass(frozen=True)
class Ask:
    """One request, as a client sends it."""

    path: str = "/predictions/demo"
    body: bytes = PICTURE
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "image/jpeg"})
    method: str = "POST"


@dataclass(frozen=True)
class Got:
    """What matters of a reply."""

    status: int
    body: bytes
    media_type: str | None
    ours: dict[str, str]

    @classmethod
    def of(cls, response: requests.Response) -> "Got":
        ours = {name: value for name, value in response.headers.items() if name.lower().startswith("x-detect-")}
        lower = {name.lower(): value for name, value in ours.items()}
        return cls(response.status_code, response.content, response.headers.get("Content-Type"), lower)

    @classmethod
    def from_worker(cls, reply: Reply) -> "Got":
        headers = {name.lower(): value for name, value in reply.headers.items() if name.startswith("X-Detect-")}
        return cls(reply.status.value, reply.body, reply.media_type, headers)


def send(url: str, ask: Ask, token: Mapping[str, str] | None = None) -> Got:
    with requests.Session() as session:
        session.trust_env = False  # no proxy for 127.0.0.1
        headers = dict(ask.headers) | dict(token or {})
        return Got.of(session.request(ask.method, url + ask.path, data=ask.body, headers=headers, timeout=120))


def asked(nodes: Nodes, ask: Ask | None = None) -> Got:
    return send(f"http://{HOST}:{nodes.port}", ask or Ask())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_picture_is_answered_as_the_worker_alone_does(nodes: Nodes, worker: Worker, case: Case) -> None:
    body = case.body()
    headers = {"Content-Type": "application/octet-stream"} | dict(case.headers)
    (reply,) = worker.answer([Incoming.of({"body": body}, headers)], ignore)
    assert asked(nodes, Ask(body=body, headers=headers)) == Got.from_worker(reply)


def form(**fields: bytes) -> Ask:
    """The fields as a browser sends them; only ``data`` and ``image`` as files."""
    parts = b""
    for name, value in fields.items():
        file = '; filename="a.jpg"\r\nContent-Type: image/jpeg' if name in ("data", "image") else ""
        parts += f'--edge\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + value + b"\r\n"
    return Ask(body=parts + b"--edge--\r\n", headers={"Content-Type": "multipart/form-data; boundary=edge"})


def in_json(path: str = "/predictions/demo", **value: Any) -> Ask:
    return Ask(path, json.dumps(value).encode(), {"Content-Type": "application/json"})


def headers(**options: str) -> Ask:
    named = {f"x-DETECT-{name.replace('_', '-')}": value for name, value in options.items()}
    return Ask(headers={"Content-Type": "image/jpeg"} | named)


V2 = {"name": "x", "datatype": "BYTES", "shape": [1], "data": [TEXT]}
ASKS = {
    "body": Ask(),
    "file": Ask(method="PUT"),
    "version": Ask("/predictions/demo/1.0"),
    "headers": headers(score_threshold="0.4", classes="circle,4", max_detections="3", masks="none"),
    "form": form(data=PICTURE),
    "form with options": form(data=PICTURE, masks=b"none", classes=b"circle,4"),
    "form with the options first": form(max_detections=b"2", image=PICTURE),
    "form with two pictures": form(data=PICTURE, image=PICTURE),
    "form with a field of no name that is known": form(photo=PICTURE),
    "form with nothing": form(masks=b"none"),
    "JSON": in_json(image=TEXT, masks="polygon"),
    "JSON as octets": Ask(body=json.dumps({"image": TEXT}).encode(), headers={"Content-Type": "application/json"}),
    "JSON that is a number": Ask(body=b"7", headers={"Content-Type": "application/json"}),
    "JSON that is a list": Ask(body=b"[1, 2]", headers={"Content-Type": "application/json"}),
    "JSON that is none": Ask(body=b'{"image": ', headers={"Content-Type": "application/json"}),
    "JSON nested too deeply": Ask(body=b"[" * 100_000, headers={"Content-Type": "application/json"}),
    "text": Ask(body=b"hello", headers={"Content-Type": "text/plain"}),
    "a picture that is called text": Ask(headers={"Content-Type": "text/plain"}),
    "KServe v1": in_json("/v1/models/demo:predict", instances=[TEXT, {"image": TEXT, "masks": "none"}, "no"]),
    "KServe v2": in_json("/v2/models/demo/infer", id="a-7", inputs=[V2], parameters={"masks": "none"}),
    "invocations": Ask("/invocations?model_name=demo&masks=none&max_detections=2"),
    "the query of predictions, which is ignored": Ask("/predictions/demo?masks=none"),
    "coco": headers(format="coco", image_id="17"),
    "drawn": Ask(headers={"Content-Type": "image/jpeg", "Accept": "image/jpeg"}),
    "page": Ask(headers={"Content-Type": "image/jpeg", "Accept": "text/html"}),
    "explanation": Ask("/explanations/demo"),
    "bad option": headers(masks="all of them"),
    "option of no ASCII": Ask(
        headers={"Content-Type": "image/jpeg", "X-Detect-Classes": "Stühle".encode().decode("latin-1")}
    ),
    "unknown option": headers(tresholds="0.5"),
    "empty": Ask(body=b""),
    "large": Ask(body=PICTURE + bytes(20_000_000)),
}


@pytest.fixture(scope="module")
def token(server: TorchServe) -> dict[str, str]:
    return tokens.headers(server.home, "inference", server.addresses.management_url)


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS.keys())
def test_every_way_to_ask_is_answered_as_torchserve_does(
    nodes: Nodes, server: TorchServe, token: dict[str, str], ask: Ask
) -> None:
    expected = send(server.addresses.inference_url, ask, token)
    assert expected.status in (200, 400, 415)
    assert asked(nodes, ask) == expected


def test_says_what_is_served(nodes: Nodes, worker: Worker) -> None:
    got = asked(nodes, Ask("/models/demo", b"", method="GET"))
    described = json.loads(worker.answer([Incoming({}, verb="describe")], ignore)[0].body)
    assert json.loads(got.body) == described


@pytest.mark.parametrize(
    "path", ["/", "/predictions", "/predictions/other", "/predictions/demo/1.0/2", "/v1/models/demo"]
)
def test_another_address_is_not_found(nodes: Nodes, path: str) -> None:
    assert asked(nodes, Ask(path)).status == 404


def test_a_body_beyond_the_limit_is_refused(nodes: Nodes) -> None:
    connection = http.client.HTTPConnection(HOST, nodes.port, timeout=60)
    connection.putrequest("POST", "/predictions/demo")
    connection.putheader("Content-Length", "40000000")
    connection.endheaders(PICTURE)
    for _ in range(36):
        connection.send(bytes(1_000_000))
    assert connection.getresponse().status == 413
    connection.close()


def test_a_request_that_fails_leaves_its_batch_alone(nodes: Nodes) -> None:
    """Good and bad ones at once, as many as wait in all batches."""
    alone, bodies = asked(nodes), [PICTURE, PICTURE[:3000], b"", b"\x80nothing"] * BATCH
    with ThreadPoolExecutor(len(bodies)) as pool:
        got = [*pool.map(lambda body: asked(nodes, Ask(body=body)), bodies)]
    assert [each.status for each in got] == [200, 400, 400, 415] * BATCH
    assert {each.body for each in got[::4]} == {alone.body}
    assert {error_of(each.body)["code"] for each in got[1::4]} == {"truncated_image"}
    assert [each.ours for each in got[3::4]] == [{"x-detect-error": "not_an_image"}] * BATCH


@pytest.mark.parametrize("sent", [100, len(PICTURE)], ids=["in the middle", "without waiting for the reply"])
def test_clients_that_leave_take_nobody_along(nodes: Nodes, sent: int) -> None:
    expected, head = (
        asked(nodes),
        f"POST /predictions/demo HTTP/1.1\r\nHost: x\r\nContent-Length: {len(PICTURE)}\r\n\r\n",
    )

    def leave(_: int) -> None:
        with socket.create_connection((HOST, nodes.port)) as connection:
            connection.sendall(head.encode() + PICTURE[:sent])
            time.sleep(0.05)

    with ThreadPoolExecutor(16) as pool:
        left, stayed = pool.map(leave, range(8)), pool.map(lambda _: asked(nodes), range(8))
        assert [*stayed] == [expected] * 8
        assert len([*left]) == 8


def test_each_replica_is_on_a_node_of_its_own(nodes: Nodes) -> None:
    replicas = nodes.replicas()
    assert len(replicas) == len(set(replicas.values())) == REPLICAS


def listening_of(process: psutil.Process) -> list[Any]:
    with suppress(psutil.NoSuchProcess):  # Ray ends what has been idle for long
        return [each for each in process.net_connections("inet") if each.status == "LISTEN"]
    return []


def test_all_listens_on_the_loopback_interface_but_what_ray_binds_itself(nodes: Nodes) -> None:
    """A port of each replica for calls between deployments: ``replica.py`` of Ray 2.60 says ``[::]:0``."""
    ours, replicas = [nodes.process, *nodes.process.children(recursive=True)], nodes.replicas()
    listening = [(process.pid, each.laddr) for process in ours for each in listening_of(process)]
    assert nodes.port in {address.port for _, address in listening}
    beyond = [(pid, address.port) for pid, address in listening if address.ip.removeprefix("::ffff:") != HOST]
    assert {pid for pid, _ in beyond} <= replicas.keys()
    assert len(beyond) <= len(replicas)
    for _, port in beyond:
        assert refusal(port) == "UNAUTHENTICATED"


def refusal(port: int) -> str:
    """What a caller without Ray's token is told, whose pickled request would otherwise be loaded."""
    grpc = pytest.importorskip("grpc")
    with grpc.insecure_channel(f"{HOST}:{port}", [("grpc.enable_http_proxy", 0)]) as channel:
        call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=20)
        return str(caught.value.code().name)


def test_a_killed_replica_loses_nothing_but_what_was_in_flight(nodes: Nodes) -> None:
    """Requests go on all the while; only those that were there when it was killed may be lost, and it is replaced."""
    expected, before = asked(nodes), nodes.replicas()
    with load(nodes) as outcomes:
        time.sleep(1)
        victim = next(iter(before))
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        wait_for_replicas(nodes, victim)
    lost = [each for each in outcomes if each.status != 200]
    assert any(each.sent > killed for each in outcomes)
    assert [each for each in lost if not each.sent <= killed <= each.ended] == []
    assert len(lost) <= 2 * BATCH
    assert asked(nodes) == expected


def test_the_replicas_take_turns(nodes: Nodes) -> None:
    """Both compute while many ask."""
    spent = {pid: psutil.Process(pid).cpu_times().user for pid in nodes.replicas()}
    with ThreadPoolExecutor(4 * BATCH) as pool:
        assert {each.status for each in pool.map(lambda _: asked(nodes), range(8 * BATCH))} == {200}
    assert all(psutil.Process(pid).cpu_times().user > before for pid, before in spent.items())
