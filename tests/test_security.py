"""What SECURITY.md promises, tried against a real TorchServe."""

import json
import re
import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from server import tokens
from server.addresses import HOST
from server.torchserve import TorchServe
from tests.served import MODEL, PICTURES, ROOT

PICTURE = PICTURES[0].read_bytes()
MARK = "private7f3a"
RECEIVED = b"Backend received inference at"  # a line of the worker for each batch
SECURITY = (ROOT / "SECURITY.md").read_text()


def sent_raw(port: int, request: bytes) -> bytes:
    """Whatever comes back: a first answer, and what else comes right after it (TorchServe does not always close).

    What comes later is missed: that nothing more was done is what :func:`everything_written` tells.
    """
    with socket.create_connection((HOST, port), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        try:
            while read := connection.recv(65536):
                answer += read
                length = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", answer)
                if length and len(answer.partition(b"\r\n\r\n")[2]) >= int(length[1]):
                    connection.settimeout(0.2)
        except (ConnectionResetError, TimeoutError):
            assert answer
    return answer


def request_bytes(server: TorchServe, path: str, headers: str, body: bytes, authorised: bool = True) -> bytes:
    token = tokens.headers(server.home, "inference", server.addresses.management_url)["Authorization"]
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n{headers}"
    head += f"Authorization: {token if authorised else f'Bearer {MARK}'}\r\n"
    return head.encode("latin-1") + b"\r\n" + body


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


LAST_SECONDS = 60  # after which a log that has not been written counts as lost


def everything_written(server: TorchServe) -> dict[Path, bytes]:
    """All that the server wrote into its folder, but the tokens' own file.

    Its log is asynchronous but in order, so what was asked before has been written once a last request has been, which
    an idle worker notes too.
    """
    last = f"last-{uuid.uuid4().hex}"
    model_log, access_log = server.home / "logs" / "model_log.log", server.home / "logs" / "access_log.log"
    noted = model_log.read_bytes().count(RECEIVED)
    assert server.predict(MODEL, PICTURE)[0] == 200
    assert server.predict(last, PICTURE)[0] == 404
    until(lambda: last.encode() in access_log.read_bytes(), f"{last} in {access_log}")
    until(lambda: model_log.read_bytes().count(RECEIVED) > noted, f"another {RECEIVED!r} in {model_log}")
    paths = [path for path in server.home.rglob("*") if path.is_file() and path.name != tokens.FILE_NAME]
    return {path: path.read_bytes() for path in paths}


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + LAST_SECONDS
    while not holds():
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(0.05)


def commented(picture: bytes, text: str) -> bytes:
    """The JPEG with a comment in it."""
    return picture[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text.encode() + picture[2:]


def test_the_tokens_are_for_their_user_alone(server: TorchServe) -> None:
    assert (server.home / tokens.FILE_NAME).stat().st_mode & 0o777 == 0o600
    for folder in (server.home, server.temporary):  # the latter has the unpacked models and the workers' sockets
        assert folder.stat().st_mode & 0o777 == 0o700, folder


@pytest.mark.parametrize(
    ("api", "method", "path"),
    [
        ("inference", "GET", "/ping"),
        ("inference", "POST", f"/predictions/{MODEL}"),
        ("inference", "POST", f"/v2/models/{MODEL}/infer"),
        ("inference", "GET", "/models"),
        ("management", "GET", "/models"),
        ("management", "POST", "/models?url=demo.mar"),
        ("management", "PUT", f"/models/{MODEL}?min_worker=0"),
        ("management", "PUT", f"/models/{MODEL}/1.0/set-default"),
        ("management", "DELETE", f"/models/{MODEL}"),
        ("management", "GET", "/token?type=inference"),
        ("management", "POST", "/workflows?url=x.war"),
    ],
)
@pytest.mark.parametrize("bearer", ["", "wrong", "of the other API"])
def test_no_token_no_answer(server: TorchServe, api: str, method: str, path: str, bearer: str) -> None:
    other = "management" if api == "inference" else "inference"
    keys = json.loads((server.home / tokens.FILE_NAME).read_text())
    token = keys[other]["key"] if bearer == "of the other API" else bearer
    port = server.addresses.inference if api == "inference" else server.addresses.management
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n"
    answer = sent_raw(port, (head + (f"Authorization: Bearer {token}\r\n" if token else "") + "\r\n").encode())
    assert status_of(answer) == 400
    assert b"InvalidKeyException" in answer


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:9/x.mar", "https://example.com/x.mar", "s3://bucket/x.mar", "ftp://127.0.0.1/x.mar"),
        *("file:///etc/hostname", "FILE:///etc/hostname", "jar:file:///tmp/x.mar!/x", "/etc/hostname"),
        *("../store/demo.mar", "%2e%2e/store/demo.mar", "..%2fstore%2fdemo.mar", "demo.mar%00"),
        "file:///no-url-may-be-registered/../../etc/hostname",
    ],
)
def test_no_file_outside_the_store_is_registered(server: TorchServe, url: str) -> None:
    status, body = server.request("management", f"/models?url={url}&model_name=evil&initial_workers=0", method="POST")
    assert status in (403, 404), body
    assert server.models() == [MODEL]


def test_the_management_token_may_run_code(server: TorchServe, tmp_path: Path) -> None:
    """A folder by its absolute path is served as a model. SECURITY.md says so; if this fails, it says too much."""
    (tmp_path / "MAR-INF").mkdir()
    model = {"modelName": "folder", "handler": "own.py", "modelVersion": "1.0"}
    (tmp_path / "MAR-INF" / "MANIFEST.json").write_text(json.dumps({"runtime": "python", "model": model}))
    written = tmp_path / "ran"
    handler = f"import pathlib\npathlib.Path({str(written)!r}).touch()\ndef handle(data, context): return [b'x']\n"
    (tmp_path / "own.py").write_text(handler)
    where = f"/models?url={tmp_path}&model_name=folder&initial_workers=1&synchronous=true"
    assert server.request("management", where, method="POST")[0] == 200
    assert server.request("management", "/models/folder", method="DELETE")[0] == 200
    assert written.exists()
    assert (tmp_path / "own.py").exists()  # only TorchServe's link to the folder is removed


def test_nothing_of_a_request_is_logged_but_its_address(server: TorchServe) -> None:
    forms = "multipart/form-data; boundary=b"
    part = f'--b\r\nContent-Disposition: form-data; name="{MARK}"; filename="{MARK}"\r\n\r\n{MARK}\r\n--b--\r\n'
    kserve = json.dumps({"id": MARK, "inputs": [{"name": MARK, "shape": [1], "datatype": "BYTES", "data": [MARK]}]})
    for headers, body in (
        ("Content-Type: image/jpeg\r\n", commented(PICTURE, MARK)),
        ("Content-Type: image/jpeg\r\n", MARK.encode() * 20),
        ("Content-Type: image/jpeg\r\n", PICTURE[:2] + MARK.encode() * 20),
        (f"Content-Type: image/jpeg\r\nX-Detect-Masks: {MARK}\r\nX-Request-Id: {MARK}\r\nCookie: {MARK}\r\n", PICTURE),
        (f"Content-Type: application/json\r\nUser-Agent: {MARK}\r\n", json.dumps({MARK: MARK}).encode()),
        ("Content-Type: application/json\r\n", f'{{"image": {MARK}'.encode()),
        ("Content-Type: application/json\r\n", kserve.encode()),
        (f"Content-Type: {forms}\r\n", part.encode()),
        (f"Content-Type: {forms}; {MARK}\r\n", b"--b\r\n" + MARK.encode()),
    ):
        for path in (f"/predictions/{MODEL}", f"/v2/models/{MODEL}/infer"):
            assert sent_raw(server.addresses.inference, request_bytes(server, path, headers, body))
    sent_raw(server.addresses.inference, request_bytes(server, f"/predictions/{MODEL}", "", PICTURE, authorised=False))
    keys = [each["key"] for each in json.loads((server.home / tokens.FILE_NAME).read_text()).values()]
    written = everything_written(server)
    assert {"ts_log.log", "access_log.log", "model_log.log"} <= {path.name for path in written}
    for path, text in written.items():
        assert MARK.encode() not in text, path
        assert not [key for key in keys if key.encode() in text], path
    assert MARK not in server.metrics()


@pytest.mark.parametrize("authorised", [True, False])
def test_no_address_forges_a_line_or_steers_a_terminal(server: TorchServe, authorised: bool) -> None:
    name = f"forged-{authorised}"
    for path in (f"/predictions/\x1b[31m{name}", f"/predictions/x%0a{name}", f"/predictions/x%0d%1b%00{name}"):
        answer = sent_raw(server.addresses.inference, request_bytes(server, path, "", PICTURE, authorised))
        assert status_of(answer) in (400, 404)
        assert b"\r\n\r\n" in answer
        assert name.encode() not in answer.partition(b"\r\n\r\n")[0]
    written = b"".join(everything_written(server).values())
    assert name.encode() in written  # the access log has the address
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", written)
    assert not re.search(rb"(?m)^.{0,3}" + name.encode(), written)


def test_a_models_name_forges_no_line(server: TorchServe) -> None:
    name = quote("a\nforged by a name\x1b[31m", safe="")
    server.request("management", f"/models?url=demo.mar&model_name={name}&initial_workers=0", method="POST")
    server.request("management", f"/models/{name}", method="DELETE")
    written = everything_written(server)
    for path in (server.home / "logs" / name for name in ("ts_log.log", "access_log.log")):
        assert b"forged by a name" in written[path] or b"forged%20by" in written[path], path
        assert not re.search(rb"(?m)^forged by a name|\x1b", written[path]), path


@pytest.mark.parametrize("header", ["X-Request-Id: a\rforged\r\n", "X-Detect\x0b: a\r\n", "no colon\r\n", ": a\r\n"])
def test_broken_heads_are_refused(server: TorchServe, header: str) -> None:
    answer = sent_raw(server.addresses.inference, request_bytes(server, f"/predictions/{MODEL}", header, PICTURE))
    assert status_of(answer) == 400
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("lengths", "body"),
    [
        ("Content-Length: 4\r\nContent-Length: 8\r\n", b"abcd"),
        ("Content-Length: 4, 4\r\n", b"abcd"),
        ("Transfer-Encoding : chunked\r\nContent-Length: 4\r\n", b"0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", b"0x4\r\nabcd\r\n0\r\n\r\n"),
    ],
)
def test_bodies_of_two_lengths_are_refused_as_a_whole(server: TorchServe, lengths: str, body: bytes) -> None:
    token = tokens.headers(server.home, "inference", server.addresses.management_url)["Authorization"]
    head = f"POST /predictions/{MODEL} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n{lengths}\r\n"
    name = f"smuggled-{uuid.uuid4().hex}"
    smuggled = f"GET /predictions/{name} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"
    answer = sent_raw(server.addresses.inference, head.encode() + body + smuggled.encode())
    assert status_of(answer) == 400
    assert name.encode() not in answer
    # An answer might have come later, but whatever is asked for is logged, as the last request here is.
    assert name.encode() not in b"".join(everything_written(server).values())


def test_a_hostile_option_comes_back_as_json_alone(server: TorchServe) -> None:
    hostile = {"X-Detect-Masks": "<img src=x onerror=alert(1)>", "Accept": "text/html"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in hostile.items())
    raw = request_bytes(server, f"/predictions/{MODEL}", lines, PICTURE)
    head, _, body = sent_raw(server.addresses.inference, raw).partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head.lower()
    assert json.loads(body)["error"]["code"] == "bad_option"


def test_the_environment_switches_nothing_off(server: TorchServe) -> None:
    lines = (ROOT / "config.properties").read_text().splitlines()
    for closed in (
        *("disable_token_authorization=false", "enable_envvars_config=false", "use_env_allowed_urls=false"),
        *("install_py_dep_per_model=false", "allowed_urls=file:///no-url-may-be-registered"),
    ):
        assert closed in lines
    for line in lines:
        if re.match(r"\w+_address=", line):
            assert HOST in line


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`((?:tests|deploy|server|export)/[\w/.]+?)(?:::(\w+))?`", SECURITY)
    assert len(named) > 10
    for path, function in named:
        assert (ROOT / path).exists(), path
        assert not function or f"def {function}(" in (ROOT / path).read_text(), (path, function)
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in re.findall(r"\b(test_\w+)`", SECURITY) if f"def {name}(" not in tests] == []


def test_nothing_secret_is_tracked(tracked: list[str]) -> None:
    assert not [name for name in tracked if Path(name).name in (tokens.FILE_NAME, "server.json", "token", "key.pem")]
