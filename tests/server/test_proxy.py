"""What the page's proxy forwards, and all that it does not, before a server that records what reaches it."""

import json
import socket
import threading
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from server import proxy as module
from server.addresses import HOST, Addresses
from server.proxy import PageProxy, serve
from server.torchserve import TorchServe
from tests.server.test_tokens import write_keys


@dataclass
class Recorded:
    """What reached the server behind the proxy."""

    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0
    status: int = 200


@pytest.fixture
def behind() -> Iterator[Recorded]:
    recorded = Recorded()

    class Record(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 (the base class chose the name)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            recorded.requests.append((self.command, self.path, headers, body))
            self.send_response(recorded.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("X-Request-Id", "7")
            self.end_headers()
            self.wfile.write(b'{"from":"behind"}')

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    yield from running(ThreadingHTTPServer((HOST, 0), Record), recorded)


def running(server: ThreadingHTTPServer, recorded: Recorded) -> Iterator[Recorded]:
    recorded.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield recorded
    server.shutdown()
    thread.join()
    server.server_close()


def torchserve_at(home: Path, port: int) -> TorchServe:
    (home / "config.properties").write_text("max_request_size=1000\n")
    write_keys(home, "secret", minutes_left=30)
    return TorchServe(home, home, 0, "", Addresses(inference=port))


@pytest.fixture
def proxy(behind: Recorded, tmp_path: Path) -> Iterator[PageProxy]:
    made = PageProxy(torchserve_at(tmp_path, behind.port), start="/predictions/demo")
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def ask(
    proxy: PageProxy, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes, HTTPResponse]:
    connection = HTTPConnection(HOST, proxy.server_port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read(), response
    finally:
        connection.close()


def test_a_picture_goes_through_with_the_token_and_its_options(proxy: PageProxy, behind: Recorded) -> None:
    headers = {"Content-Type": "image/png", "Accept": "application/json", "x-detect-masks": "none", "Cookie": "a=b"}
    status, body, response = ask(proxy, "POST", "/predictions/demo?x=1", b"picture", headers)
    assert (status, body, response.headers["X-Request-Id"]) == (200, b'{"from":"behind"}', "7")
    ((method, path, received, sent),) = behind.requests
    assert (method, path, sent) == ("POST", "/predictions/demo", b"picture")
    assert received["authorization"] == "Bearer secret"
    assert received["x-detect-masks"] == "none"
    assert received["content-type"] == "image/png"
    assert "cookie" not in received


def test_a_token_of_the_browser_is_not_passed_on(proxy: PageProxy, behind: Recorded) -> None:
    ask(proxy, "GET", "/predictions/demo", headers={"Authorization": "Bearer mine"})
    assert behind.requests[0][2]["authorization"] == "Bearer secret"


def test_the_servers_own_errors_come_through(proxy: PageProxy, behind: Recorded) -> None:
    behind.status = 503
    assert ask(proxy, "GET", "/predictions/demo/1.0")[0] == 503


@pytest.mark.parametrize(
    "path",
    [
        "/ping",
        "/?x",
        "/models",
        "/token?type=inference",
        "/predictions/",
        "/predictions/../models",
        "/predictions/..",
        "/predictions/a%2F..%2Fmodels",
        "/predictions/demo/1.0/more",
        "//elsewhere/predictions/demo",
        "http://127.0.0.1:8081/predictions/demo",
        "/predictions/demo\tx",
    ],
)
def test_no_other_path_is_forwarded(proxy: PageProxy, behind: Recorded, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: {HOST}:{proxy.server_port}\r\n\r\n"
    assert raw(proxy, request.encode()).split()[1] in (b"404", b"400")
    assert behind.requests == []


def test_who_asks_for_nothing_is_sent_to_the_page(proxy: PageProxy, behind: Recorded) -> None:
    status, _, response = ask(proxy, "GET", "/")
    assert (status, response.getheader("Location")) == (302, "/predictions/demo")
    assert ask(proxy, "POST", "/", b"x")[0] == 404
    assert behind.requests == []


def test_a_port_that_is_taken_is_told(
    proxy: PageProxy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "server_of", lambda _: proxy.torchserve)
    monkeypatch.setattr("sys.argv", ["proxy", "--name", "demo", "--port", str(proxy.server_port), "--no-browser"])
    assert module.main() == 2
    assert capsys.readouterr().err.startswith(f"error: port {proxy.server_port} is taken; ")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD", "CONNECT"])
def test_no_other_method_is_forwarded(proxy: PageProxy, behind: Recorded, method: str) -> None:
    assert ask(proxy, method, "/predictions/demo")[0] == 501
    assert behind.requests == []


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "localhost.evil.example:{port}"])
def test_a_name_that_another_site_lent_this_address_is_refused(proxy: PageProxy, behind: Recorded, host: str) -> None:
    headers = {"Host": host.format(port=proxy.server_port)}
    for method in ("GET", "POST"):
        status, body, _ = ask(proxy, method, "/predictions/demo", headers=headers)
        assert (status, json.loads(body)["error"]["code"]) == (421, "wrong_host")
    assert behind.requests == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_sites_page_cannot_send_pictures(proxy: PageProxy, behind: Recorded, headers: dict[str, str]) -> None:
    status, body, _ = ask(proxy, "POST", "/predictions/demo", b"picture", headers)
    assert (status, json.loads(body)["error"]["code"]) == (403, "wrong_origin")
    assert behind.requests == []


def test_the_page_itself_can(proxy: PageProxy, behind: Recorded) -> None:
    for name in (HOST, "localhost"):
        site = f"{name}:{proxy.server_port}"
        headers = {"Host": site, "Origin": f"http://{site}", "Sec-Fetch-Site": "same-origin"}
        assert ask(proxy, "POST", "/predictions/demo", b"picture", headers)[0] == 200
    assert len(behind.requests) == 2


def test_a_body_up_to_the_servers_limit_is_taken(proxy: PageProxy, behind: Recorded) -> None:
    assert ask(proxy, "POST", "/predictions/demo", b"x" * 1000)[0] == 200
    status, body, _ = ask(proxy, "POST", "/predictions/demo", b"x" * 1001)
    assert (status, json.loads(body)["error"]["code"]) == (413, "file_too_large")
    assert "1,001 bytes" in json.loads(body)["error"]["message"]
    assert len(behind.requests) == 1


@pytest.mark.parametrize("length", ["-1", "1e3", "", "9" * 30, "0x10"])
def test_a_length_that_is_none_is_refused(proxy: PageProxy, behind: Recorded, length: str) -> None:
    request = f"POST /predictions/demo HTTP/1.1\r\nHost: {HOST}:{proxy.server_port}\r\nContent-Length: {length}\r\n\r\n"
    assert raw(proxy, request.encode()).split()[1] == b"411"
    assert behind.requests == []


def test_a_body_that_lies_about_its_size_is_not_waited_for(proxy: PageProxy, behind: Recorded) -> None:
    request = (
        f"POST /predictions/demo HTTP/1.1\r\nHost: {HOST}:{proxy.server_port}\r\nContent-Length: 999999999\r\n\r\n"
    )
    assert raw(proxy, request.encode()).split()[1] == b"413"
    chunked = (
        f"POST /predictions/demo HTTP/1.1\r\nHost: {HOST}:{proxy.server_port}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert raw(proxy, chunked.encode()).split()[1] == b"411"
    assert behind.requests == []


def test_half_a_body_is_not_forwarded(proxy: PageProxy, behind: Recorded) -> None:
    with socket.create_connection((HOST, proxy.server_port), timeout=60) as connection:
        head = f"POST /predictions/demo HTTP/1.1\r\nHost: {HOST}:{proxy.server_port}\r\nContent-Length: 100\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 50)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    assert behind.requests == []


def raw(proxy: PageProxy, request: bytes) -> bytes:
    with socket.create_connection((HOST, proxy.server_port), timeout=60) as connection:
        connection.sendall(request)
        reply = b""
        while chunk := connection.recv(65536):
            reply += chunk
        return reply


def test_a_server_that_is_gone_is_an_error_with_a_hint(tmp_path: Path) -> None:
    made = PageProxy(torchserve_at(tmp_path, Addresses.free().inference))
    thread = threading.Thread(target=made.handle_request)
    thread.start()
    status, body, _ = ask(made, "GET", "/predictions/demo")
    thread.join()
    made.server_close()
    assert (status, json.loads(body)["error"]["code"]) == (502, "no_server")


def test_it_listens_on_the_loopback_interface_only(proxy: PageProxy) -> None:
    assert proxy.server_address[0] == HOST


def test_with_tokens_off_the_server_itself_is_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    class Window:
        def open(self, url: str) -> None:
            opened.append(url)

    monkeypatch.setattr(webbrowser, "get", Window)
    server = TorchServe(tmp_path, tmp_path, 0, "", Addresses(inference=2100))
    serve(server, "demo", port=0, browser=True)
    assert opened == ["http://127.0.0.1:2100/predictions/demo"]
    serve(server, "demo", port=0, browser=False)
    assert len(opened) == 1
    assert capsys.readouterr().out.count("The page: http://127.0.0.1:2100/predictions/demo") == 2
