"""The command that people type, against a small server of our own."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from handler.client import UnreachableError, main, read_token
from handler.images import BadImageError
from handler.replies.detections_json import detections_as_json
from handler.replies.errors import error_reply
from tests.handler.found import made_up
from tests.handler.pictures import encoded

REPLY = detections_as_json(made_up(10, 20), ("__background__", "circle", "square"), "shapes", "1.0", 10_000)


@dataclass
class Server:
    """Answers each request with what the test sets."""

    url: str = ""
    status: int = 200
    body: bytes = REPLY
    bodies: list[bytes] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802 (the name is http.server's)
            state.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            state.tokens.append(self.headers["Authorization"])
            self.send_response(state.status)
            self.send_header("Content-Length", str(len(state.body)))
            self.end_headers()
            self.wfile.write(state.body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as listening:
        state.url = f"http://127.0.0.1:{listening.server_port}/predictions/shapes"
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield state
        listening.shutdown()
        thread.join()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(Image.new("RGB", (20, 10)), "JPEG"))
    return path


def test_prints_a_table(server: Server, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([server.url, str(photo)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{photo}: 20 x 10, 2 of 2 detections have a score of 0.5 or more"
    assert lines[2].split() == ["circle", "0.900", "0.0", "0.0", "1.2", "2.0", "10"]
    assert lines[3].split() == ["square", "0.800", "1.0", "1.0", "2.2", "3.0", "20"]
    assert server.bodies == [photo.read_bytes()]
    assert server.tokens == [None]


def test_no_proxy_is_asked_for_this_machine(server: Server, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert main([server.url, str(photo)]) == 0


def test_lesser_detections_are_left_out(server: Server, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([server.url, str(photo), "--threshold", "0.85"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("1 of 2 detections have a score of 0.85 or more")
    assert [line.split()[0] for line in lines[2:]] == ["circle"]


def test_a_reader_that_stops_reading_is_no_fault(server: Server, photo: Path) -> None:
    command = [sys.executable, "-m", "handler.client", server.url, *[str(photo)] * 200]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == ""
    assert running.returncode == 1


def test_json_prints_the_reply_and_nothing_else(
    server: Server, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([server.url, str(photo), str(photo), "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [json.loads(REPLY)] * 2


def test_writes_the_picture_with_its_masks(server: Server, photo: Path, tmp_path: Path) -> None:
    assert main([server.url, str(photo), "--out", str(tmp_path / "new" / "drawn")]) == 0
    with Image.open(tmp_path / "new" / "drawn" / "photo.png") as drawn:
        assert drawn.size == (900, 450)  # 20 x 10 is too small for names
        assert drawn.getpixel((0, 449)) != (0, 0, 0)


def test_sends_the_token_of_torchserves_key_file(server: Server, photo: Path, tmp_path: Path) -> None:
    keys = {"management": {"key": "m"}, "inference": {"key": "secret", "expiration time": "later"}}
    (tmp_path / "key_file.json").write_text(json.dumps(keys))
    (tmp_path / "token.txt").write_text("plain\n")
    assert main([server.url, str(photo), "--token-file", str(tmp_path / "key_file.json")]) == 0
    assert main([server.url, str(photo), "--token-file", str(tmp_path / "token.txt")]) == 0
    assert main([server.url, str(photo), "--token", "given"]) == 0
    assert server.tokens == ["Bearer secret", "Bearer plain", "Bearer given"]


@pytest.mark.parametrize("text", ["{}", '{"inference": 3}', '{"inference":'])
def test_a_key_file_without_a_key_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "key_file.json").write_text(text)
    with pytest.raises(UnreachableError, match="key_file.json holds no inference key"):
        read_token(tmp_path / "key_file.json")


# What servers say; the exit code and a piece of what is printed.
ERRORS = {
    "ours": (400, error_reply(BadImageError("not_an_image", "it is text", "send a picture")).body, 1, "send a picture"),
    "not loaded": (
        503,
        error_reply(BadImageError("model_not_loaded", "no file", "see the log")).body,
        2,
        "see the log",
    ),
    "too large for TorchServe": (413, b"", 1, "max_request_size"),
    "no token": (400, b'{"code": 400, "message": "Token Authorization failed."}', 2, "--token-file key_file.json"),
    "no such model": (404, b'{"code": 404, "message": "Model not found: shapes"}', 2, "Model not found"),
    "not TorchServe": (200, b"<html>", 2, "is this its address?"),
}


@pytest.mark.parametrize(("status", "body", "code", "text"), ERRORS.values(), ids=ERRORS.keys())
def test_errors_are_told_with_what_to_do(
    server: Server, photo: Path, capsys: pytest.CaptureFixture[str], status: int, body: bytes, code: int, text: str
) -> None:
    server.status, server.body = status, body
    assert main([server.url, str(photo)]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert text in captured.err


def test_the_other_pictures_are_still_asked_for(server: Server, photo: Path, tmp_path: Path) -> None:
    assert main([server.url, str(tmp_path / "gone.jpg"), str(photo)]) == 1
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/predictions/shapes", "127.0.0.1:8080/predictions/shapes", "shapes"]
)
def test_a_server_that_is_not_there(photo: Path, capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert main([url, str(photo)]) == 2
    assert f"{url} does not answer" in capsys.readouterr().err
