"""deploy/nginx.conf with a real nginx, in front of the real server, and of a stub that says what TorchServe said."""

import base64
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from handler.client import main
from server.addresses import HOST, Addresses
from server.proxy_token import supply
from server.torchserve import TorchServe
from tests.served import MODEL, PICTURES, ROOT

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
if NGINX is None and os.environ.get("REQUIRE_NGINX") != "1":
    pytest.skip("no nginx here", allow_module_level=True)
LOGIN = {"Authorization": "Basic " + base64.b64encode(b"ann:secret").decode()}


@dataclass
class Proxy:
    """A running nginx."""

    url: str
    plain_url: str
    folder: Path

    def ask(
        self, path: str, body: bytes | None = None, headers: dict[str, str] = LOGIN, method: str | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        request = urllib.request.Request(
            self.url + path, body, {"Content-Type": "image/jpeg", "Connection": "close"} | headers, method=method
        )
        trusted = ssl.create_default_context(cafile=str(self.folder / "cert.pem"))
        try:
            with urllib.request.urlopen(request, context=trusted, timeout=60) as answer:
                return answer.status, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), dict(error.headers)

    def error(
        self, path: str, body: bytes | None = None, headers: dict[str, str] = LOGIN, method: str | None = None
    ) -> tuple[int, str, str]:
        """Status, code and Retry-After of an answer that must have the one form of errors."""
        status, said, given = self.ask(path, body, headers, method)
        error = json.loads(said)["error"]
        assert set(error) == {"code", "message", "hint"}, said
        assert given["Content-Type"] == "application/json"
        return status, error["code"], given.get("Retry-After", "")


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def run_nginx(folder: Path, upstream: int, token: str) -> Iterator[Proxy]:
    """nginx on free ports, with its files in a folder."""
    ports = Addresses.free()
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*made, *files], check=True, capture_output=True)
    hashed = subprocess.run(["openssl", "passwd", "-6", "secret"], check=True, capture_output=True, text=True).stdout
    (folder / "users").write_text(f"ann:{hashed}")
    if token:
        (folder / "token").write_text(token)
    config = replaced(
        (ROOT / "deploy/nginx.conf").read_text(),
        ("127.0.0.1:8080", f"{HOST}:{upstream}"),
        ("listen 80;", f"listen {HOST}:{ports.inference};"),
        ("listen 443 ssl;", f"listen {HOST}:{ports.management} ssl;"),
        ("/etc/nginx/detect/", f"{folder}/"),
        ("/var/lib/nginx/", f"{folder}/"),
        ("pid /run/nginx.pid", f"pid {folder}/nginx.pid"),
    )
    user = "user root;\n" if os.geteuid() == 0 else ""  # else its workers could not read what a test's folder holds
    (folder / "nginx.conf").write_text(user + config)
    command = [str(NGINX), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log)
    proxy = Proxy(f"https://{HOST}:{ports.management}", f"http://{HOST}:{ports.inference}", folder)
    try:
        deadline = time.monotonic() + 60
        while ports.management not in ports.taken():
            assert running.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield proxy
    finally:
        running.terminate()
        running.wait(60)


@pytest.fixture(scope="module")
def proxy(server: TorchServe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """In front of the real server, with the token as the command writes it."""
    folder = tmp_path_factory.mktemp("nginx")
    assert supply(server, folder / "token", None)
    yield from run_nginx(folder, server.addresses.inference, "")


Said = dict[str, Any]


@pytest.fixture(scope="module")
def said() -> Said:
    """What the stub answers next."""
    return {"status": 200, "body": b"", "headers": {}, "before": lambda: None}


@pytest.fixture(scope="module")
def stubbed(said: Said, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """In front of a stub of TorchServe."""

    class Stub(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802 (the name is http.server's)
            self.rfile.read(int(self.headers["Content-Length"]))
            said["seen"] = dict(self.headers)
            before: Callable[[], None] = said["before"]
            before()
            if said["status"] == 0:
                return  # closes without an answer
            self.send_response(said["status"])
            for name, value in {"content-type": "application/json", **said["headers"]}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(said["body"])))
            self.end_headers()
            self.wfile.write(said["body"])

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Stub) as listening:
        thread = Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        yield from run_nginx(tmp_path_factory.mktemp("stubbed"), listening.server_port, 'default "Bearer key";\n')
        listening.shutdown()
        thread.join()


def torchserves(status: int, kind: str, message: str) -> bytes:
    """As a TorchServe 0.12.0 writes it, byte for byte."""
    return f'{{\n  "code": {status},\n  "type": "{kind}",\n  "message": {json.dumps(message)}\n}}\n'.encode()


def test_a_picture_is_answered_without_a_token_of_torchserve(proxy: Proxy, server: TorchServe) -> None:
    picture = PICTURES[2].read_bytes()
    status, body, headers = proxy.ask(f"/predictions/{MODEL}", picture)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body)["detections"] == json.loads(server.predict(MODEL, picture)[1])["detections"]


def test_the_command_works_through_it(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(proxy.folder / "cert.pem"))
    url = proxy.url.replace("//", "//ann:secret@")
    assert main([f"{url}/predictions/{MODEL}", str(PICTURES[0]), str(PICTURES[1])]) == 0
    assert main([f"{proxy.url}/predictions/{MODEL}", str(PICTURES[0])]) == 2


def test_a_browser_gets_the_page(proxy: Proxy) -> None:
    status, body, headers = proxy.ask(f"/predictions/{MODEL}", None, LOGIN | {"Accept": "text/html,*/*;q=0.8"})
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert body.lower().startswith(b"<!doctype html>")


def test_without_a_login_nobody_is_answered(proxy: Proxy) -> None:
    assert proxy.error(f"/predictions/{MODEL}", b"x", {}) == (401, "unauthorized", "")


def test_errors_of_the_handler_pass_as_they_are(proxy: Proxy, server: TorchServe) -> None:
    status, body, headers = proxy.ask(f"/predictions/{MODEL}", b"text")
    assert (status, body) == server.predict(MODEL, b"text")
    assert headers["X-Detect-Error"] == json.loads(body)["error"]["code"]
    assert "Retry-After" not in headers


def test_errors_of_torchserve_get_the_same_form(proxy: Proxy) -> None:
    assert proxy.error("/predictions/nope", b"x") == (404, "model_not_found", "")
    assert proxy.error(f"/predictions/{MODEL}/9.9", b"x") == (404, "model_not_found", "")


def test_a_body_is_refused_at_the_size_of_the_servers_limit(proxy: Proxy) -> None:
    (limit,) = re.findall(r"(?m)^max_request_size=(\d+)$", (ROOT / "config.properties").read_text())
    assert f"client_max_body_size {limit};" in (ROOT / "deploy/nginx.conf").read_text()
    assert proxy.error(f"/predictions/{MODEL}", bytes(int(limit) + 1)) == (413, "too_large", "")
    assert proxy.error(f"/predictions/{MODEL}", bytes(int(limit)))[:2] == (415, "not_an_image")


@pytest.mark.parametrize("path", ["/models", "/metrics", "/token", "/ping", "/", "/predictions/../models", "/v2"])
def test_nothing_else_is_reached(proxy: Proxy, path: str) -> None:
    assert proxy.error(path) == (404, "not_found", "")


def test_a_file_is_sent_as_curl_sends_it(proxy: Proxy) -> None:
    """``curl -T`` puts; ``curl --data-binary`` claims to send a form."""
    picture = PICTURES[2].read_bytes()
    plain = proxy.ask(f"/predictions/{MODEL}", picture)[1]
    form = LOGIN | {"Content-Type": "application/x-www-form-urlencoded"}
    assert proxy.ask(f"/predictions/{MODEL}", picture, LOGIN, "PUT")[:2] == (200, plain)
    assert proxy.ask(f"/predictions/{MODEL}", picture, form)[:2] == (200, plain)


@pytest.mark.parametrize("method", ["DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused(proxy: Proxy, method: str) -> None:
    assert proxy.error(f"/predictions/{MODEL}", None, LOGIN, method) == (405, "method_not_allowed", "")


def test_what_is_too_long_for_a_head_is_refused(proxy: Proxy) -> None:
    long = "x" * 9_000  # more than 8 kB, less than a record of TLS: else it is refused while it is still being sent
    assert proxy.error(f"/predictions/{MODEL}?{long}") == (414, "bad_request", "")
    assert proxy.error(f"/predictions/{MODEL}", b"x", LOGIN | {"X-Detect-Classes": long}) == (400, "bad_request", "")


def test_plain_http_to_the_port_of_tls_is_refused(proxy: Proxy) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(proxy.url.replace("https", "http") + f"/predictions/{MODEL}", timeout=60)
    with caught.value as answer:
        assert (answer.code, json.loads(answer.read())["error"]["code"]) == (400, "bad_request")


def test_plain_http_is_sent_to_tls(proxy: Proxy) -> None:
    class Stays(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any, **__: Any) -> None:
            return None

    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.build_opener(Stays).open(f"{proxy.plain_url}/predictions/{MODEL}", timeout=60)
    with caught.value as answer:
        assert (answer.code, answer.headers["Location"][:8]) == (308, "https://")


def test_a_rotated_token_is_supplied(proxy: Proxy, server: TorchServe) -> None:
    """The old token is worthless at once; nginx reads the new one without losing its place."""
    keys = json.loads((server.home / "key_file.json").read_text())
    old, picture = keys["inference"]["key"], PICTURES[2].read_bytes()
    rotate = {"Authorization": f"Bearer {keys['API']['key']}"}
    assert server.request("management", "/token?type=inference", headers=rotate)[0] == 200
    status, body = server.predict(MODEL, picture, {"Authorization": f"Bearer {old}"})
    assert (status, json.loads(body)["type"]) == (400, "InvalidKeyException")
    assert server.predict(MODEL, picture)[0] == 200
    assert proxy.error(f"/predictions/{MODEL}", picture) == (400, "proxy_token", "")
    assert supply(server, proxy.folder / "token", proxy.folder / "nginx.pid")
    assert not supply(server, proxy.folder / "token", proxy.folder / "nginx.pid")
    assert (proxy.folder / "token").stat().st_mode & 0o777 == 0o600
    deadline = time.monotonic() + 60
    while proxy.ask(f"/predictions/{MODEL}", picture)[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


# What TorchServe 0.12.0 answers; the status, code and Retry-After that a client gets.
MAPPED = {
    "queue full": (503, "ServiceUnavailableException", 'Model "demo" has no worker to serve', "queue_full", "2"),
    "worker died": (500, "InternalServerException", "Worker died.", "worker_failed", "2"),
    "a bug": (503, "InternalServerException", "Prediction failed", "worker_failed", "2"),
    "no memory": (507, "InternalServerException", "CUDA out of memory", "out_of_memory", "2"),
    "token": (400, "InvalidKeyException", "Token Authorization failed.", "proxy_token", ""),
    "bad request": (400, "BadRequestException", 'a "quoted"\nline', "bad_request", ""),
    "no model": (404, "ModelNotFoundException", "Model not found: x", "model_not_found", ""),
}


@pytest.mark.parametrize(("status", "kind", "message", "code", "wait"), MAPPED.values(), ids=MAPPED.keys())
def test_each_of_them(stubbed: Proxy, said: Said, status: int, kind: str, message: str, code: str, wait: str) -> None:
    said |= {"status": status, "body": torchserves(status, kind, message), "headers": {}}
    assert stubbed.error("/predictions/x", b"x") == (status, code, wait)
    assert json.loads(stubbed.ask("/predictions/x", b"x")[1])["error"]["message"] == message


@pytest.mark.parametrize(("code", "wait"), [("model_not_loaded", ""), ("out_of_memory", "2")])
def test_the_handlers_own_503_keeps_its_words(stubbed: Proxy, said: Said, code: str, wait: str) -> None:
    body = json.dumps({"error": {"code": code, "message": 'line"\n}\n', "hint": "h"}}).encode()
    said |= {"status": 503, "body": body, "headers": {"X-Detect-Error": code}}
    assert stubbed.ask("/predictions/x", b"x")[1] == body
    assert stubbed.error("/predictions/x", b"x") == (503, code, wait)


def test_a_server_that_breaks_off_is_unavailable(stubbed: Proxy, said: Said) -> None:
    said |= {"status": 0}
    assert stubbed.error("/predictions/x", b"x") == (503, "unavailable", "10")


def test_what_a_client_must_not_say_is_not_passed_on(stubbed: Proxy, said: Said) -> None:
    said |= {"status": 200, "body": b"{}", "headers": {}}
    sent = LOGIN | {"Describe": "True", "explain": "True", "X-Detect-Masks": "none"}
    assert stubbed.ask("/predictions/x", b"x", sent)[0] == 200
    seen = {name.lower(): value for name, value in said["seen"].items()}
    assert seen["authorization"] == "Bearer key"
    assert seen["x-detect-masks"] == "none"
    assert not seen.keys() & {"describe", "explain"}


def test_a_body_in_chunks_is_passed_on_with_its_length(stubbed: Proxy, said: Said) -> None:
    said |= {"status": 200, "body": b"{}", "headers": {}}
    chunks: Any = iter([b"abc", b"def"])  # without a length, urllib sends chunks
    assert stubbed.ask("/predictions/x", chunks)[0] == 200
    seen = {name.lower(): value for name, value in said["seen"].items()}
    assert seen["content-length"] == "6"
    assert "transfer-encoding" not in seen


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: +4",
        "Content-Length: 4\r\nContent-Length: 4",
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
    ],
)
def test_a_body_of_no_clear_length_is_not_passed_on(stubbed: Proxy, said: Said, head: str) -> None:
    said |= {"status": 200, "body": b"{}", "headers": {}}
    said.pop("seen", None)
    address = urlsplit(stubbed.url)
    assert address.hostname
    trusted = ssl.create_default_context(cafile=str(stubbed.folder / "cert.pem"))
    login = f"Authorization: {LOGIN['Authorization']}"
    with (
        socket.create_connection((address.hostname, address.port or 443), timeout=60) as plain,
        trusted.wrap_socket(plain, server_hostname=address.hostname) as connection,
    ):
        connection.sendall(f"POST /predictions/x HTTP/1.1\r\nHost: x\r\n{login}\r\n{head}\r\n\r\nabcd".encode())
        assert int(connection.recv(4096).split(b" ", 2)[1]) in (400, 411, 501)
    assert "seen" not in said


def test_one_client_gets_no_more_than_its_share(stubbed: Proxy, said: Said) -> None:
    said |= {"status": 200, "body": b"{}", "headers": {}, "before": lambda: time.sleep(1)}
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: stubbed.ask("/predictions/x", b"x"), range(24)))
    said["before"] = lambda: None
    refused = [headers["Retry-After"] for status, _, headers in answers if status == 429]
    assert refused == ["2"] * 8
