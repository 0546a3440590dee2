"""The command that people type, against a small server of our own."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from handler.asking.asker import Asker
from handler.asking.failures import UnreachableError
from handler.asking.inputs import drawing_names
from handler.asking.token import Token, read_token
from handler.client import main
from handler.images import BadImageError
from handler.replies.detections_json import detections_as_json
from handler.replies.errors import error_reply
from tests.handler.found import made_up
from tests.handler.pictures import encoded

REPLY = detections_as_json(made_up(10, 20), ("__background__", "circle", "square"), "shapes", "1.0", 10_000)
DRAWN = encoded(Image.new("RGB", (20, 10)), "PNG")
ROOT = Path(__file__).parents[2]
# As a real TorchServe 0.12.0 words them.
TOKEN = b'{\n  "code": 400,\n  "type": "InvalidKeyException",\n  "message": "Token Authorization failed."\n}\n'
NO_MODEL = b'{\n  "code": 404,\n  "type": "ModelNotFoundException",\n  "message": "Model not found: shapes"\n}\n'
QUEUE_FULL = b'{\n  "code": 503,\n  "type": "ServiceUnavailableException",\n  "message": "Model has no worker"\n}\n'
DIED = b'{\n  "code": 500,\n  "type": "InternalServerException",\n  "message": "Worker died."\n}\n'
BUG = b'{\n  "code": 500,\n  "type": "InternalServerException",\n  "message": "Unknown"\n}\n'

Respond = Callable[[bytes, dict[str, str]], tuple[int, bytes, dict[str, str]] | None]


def drawn_or_reply(_: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
    return (200, DRAWN, {}) if headers.get("x-detect-format") == "image" else (200, REPLY, {})


@dataclass
class Server:
    """Answers each request with what the test sets; None: breaks the connection."""

    url: str = ""
    respond: Respond = drawn_or_reply
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def always(self, status: int, body: bytes) -> None:
        self.respond = lambda *_: (status, body, {})

    def first(self, *answers: tuple[int, bytes, dict[str, str]] | None) -> None:
        """These answers first, then good ones."""
        left = list(answers)
        self.respond = lambda body, headers: left.pop(0) if left else drawn_or_reply(body, headers)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("handler.asking.asker.FIRST_WAIT", 0.01)
    state = Server()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802 (the name is http.server's)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.bodies.append(body)
            state.headers.append(headers)
            if (answer := state.respond(body, headers)) is None:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
                self.connection.close()
                self.close_connection = True
                return
            self.send_response(answer[0])
            for name, value in ({"Content-Length": str(len(answer[1]))} | answer[2]).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer[1])

        def finish(self) -> None:
            with suppress(OSError, ValueError):
                super().finish()

        def log_message(self, *_: object) -> None:
            pass

    class Listening(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # the connection that a test breaks

    with Listening(("127.0.0.1", 0), Answer) as listening:
        state.url = f"http://127.0.0.1:{listening.server_port}/predictions/shapes"
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
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
    assert lines[0] == f"{photo}: 20 x 10, 2 detections"
    assert lines[2].split() == ["circle", "0.900", "0.0", "0.0", "1.2", "2.0", "10"]
    assert lines[3].split() == ["square", "0.800", "1.0", "1.0", "2.2", "3.0", "20"]
    assert server.bodies == [photo.read_bytes()]
    assert "authorization" not in server.headers[0]
    assert not [name for name in server.headers[0] if name.startswith("x-detect-")]


def test_needs_nothing_but_a_bare_python(server: Server, photo: Path) -> None:
    # Isolated, without site-packages, and with what might be in a folder of its own blocked.
    script = (
        "import runpy, sys; sys.path.insert(0, sys.argv.pop(1));"
        "sys.modules.update(dict.fromkeys(['PIL', 'numpy', 'torch', 'ops', 'psutil'])); sys.argv[0] = 'client';"
        "runpy.run_module('handler.client', run_name='__main__', alter_sys=True)"
    )
    command = [sys.executable, "-I", "-S", "-c", script, str(ROOT), server.url, str(photo), "--out"]
    run = subprocess.run([*command, str(photo.parent / "out")], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, f"drawn: {photo.parent / 'out' / 'photo.png'}\n")
    assert "circle" in run.stdout


def test_options_go_as_headers(server: Server, photo: Path) -> None:
    options = ["--threshold=0.7", "--max-detections=3", "--classes=circle,2", "--masks=polygon", "--mask-threshold=.4"]
    assert main([server.url, str(photo), *options]) == 0
    sent = {name: value for name, value in server.headers[0].items() if name.startswith("x-detect-")}
    assert sent == {
        "x-detect-score-threshold": "0.7",
        "x-detect-max-detections": "3",
        "x-detect-classes": "circle,2",
        "x-detect-masks": "polygon",
        "x-detect-mask-threshold": ".4",
    }


def test_no_proxy_is_asked_for_this_machine(server: Server, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert main([server.url, str(photo)]) == 0


def test_a_reader_that_stops_reading_is_no_fault(server: Server, photo: Path) -> None:
    command = [sys.executable, "-m", "handler.client", server.url, *[str(photo)] * 200]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == ""
    assert running.returncode == 1


def test_json_prints_each_reply_with_its_file(server: Server, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = photo.with_name("gone.jpg")
    assert main([server.url, str(photo), str(gone), str(photo), "--json"]) == 1
    first, second, third = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == third == {"file": str(photo), **json.loads(REPLY)}
    assert second["file"] == str(gone)
    assert "No such file" in second["error"]


def test_answers_come_in_the_order_of_the_pictures(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(8):
        (tmp_path / f"{number}.png").write_bytes(bytes([number]))
    both = threading.Barrier(2, timeout=60)  # passed only if two are on their way at once

    def slow_first(body: bytes, _: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        both.wait()
        time.sleep(0.02 * (8 - body[0]) % 0.1)
        return 200, REPLY, {}

    server.respond = slow_first
    assert main([server.url, str(tmp_path), "--json", "--jobs", "2"]) == 0
    files = [Path(json.loads(line)["file"]).name for line in capsys.readouterr().out.splitlines()]
    assert files == [f"{number}.png" for number in range(8)]


def test_a_folder_stands_for_its_pictures(server: Server, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = photo.parent / "folder"
    (folder / "deeper.png").mkdir(parents=True)
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.jpg"):
        (folder / name).write_bytes(name.encode())
    assert main([server.url, str(folder), str(photo), "--jobs", "1"]) == 0
    assert server.bodies == [b"a.png", b"b.JPG", photo.read_bytes()]
    assert "skipped 2 that are no pictures by their names (deeper.png, notes.txt)" in capsys.readouterr().err


def test_an_empty_folder_and_what_is_no_file_are_refused(
    server: Server, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, pipe, large = photo.parent / "empty", photo.parent / "pipe", photo.parent / "large.png"
    empty.mkdir()
    os.mkfifo(pipe)
    with large.open("wb") as file:
        file.truncate(2**31)  # sparse
    assert main([server.url, str(empty), str(pipe), str(large), str(photo)]) == 1
    told = capsys.readouterr().err
    for text in ("empty: the folder has no pictures in it", "pipe: this is no file", "2,147,483,648 bytes"):
        assert text in told
    assert main([server.url, "nowhere.jpg"]) == 1
    assert capsys.readouterr().err == "error: nowhere.jpg: No such file or directory\n"
    assert server.bodies == [photo.read_bytes()]


def test_a_name_that_is_no_utf_8_goes_out_as_it_came(server: Server, photo: Path) -> None:
    odd = os.path.join(os.fsencode(photo.parent), b"\xff\xe9.jpg")
    Path(os.fsdecode(odd)).write_bytes(b"picture")
    command = [sys.executable, "-m", "handler.client", server.url, odd]
    table = subprocess.run([*command, "--out", photo.parent / "out"], cwd=ROOT, capture_output=True, check=True)
    assert table.stdout.startswith(odd + b": 20 x 10")
    assert (photo.parent / "out" / os.fsdecode(b"\xff\xe9.png")).is_file()
    lines = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, check=True)
    assert os.fsencode(json.loads(lines.stdout)["file"]) == odd


def test_drawings_of_equal_names_do_not_replace_each_other(server: Server, photo: Path) -> None:
    other = photo.parent / "other" / "photo.png"
    other.parent.mkdir()
    other.write_bytes(b"other")
    out = photo.parent / "new" / "drawn"
    assert main([server.url, str(photo), str(other), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["photo-2.png", "photo.png"]
    assert (out / "photo.png").read_bytes() == DRAWN
    names = list(drawing_names([Path("a.png"), Path("A.jpg"), Path("a-2.png"), Path("b/a.jpg")]))
    assert len({name.lower() for name in names}) == 4


def test_a_server_that_draws_nothing_is_no_picture(server: Server, photo: Path) -> None:
    server.always(200, REPLY)
    assert main([server.url, str(photo), "--out", str(photo.parent / "out")]) == 1
    assert not (photo.parent / "out").exists()


def test_sends_the_token_of_torchserves_key_file(server: Server, photo: Path, tmp_path: Path) -> None:
    keys = {"management": {"key": "m"}, "inference": {"key": "secret", "expiration time": "later"}}
    (tmp_path / "key_file.json").write_text(json.dumps(keys))
    (tmp_path / "token.txt").write_text("plain\n")
    assert main([server.url, str(photo), "--token-file", str(tmp_path / "key_file.json")]) == 0
    assert main([server.url, str(photo), "--token-file", str(tmp_path / "token.txt")]) == 0
    assert main([server.url, str(photo), "--token", "given"]) == 0
    assert main([server.url.replace("//", "//ann:a%40b@"), str(photo)]) == 0
    sent = [headers["authorization"] for headers in server.headers]
    assert sent == ["Bearer secret", "Bearer plain", "Bearer given", "Basic YW5uOmFAYg=="]


def test_a_token_file_that_is_gone_for_a_moment_is_waited_for(server: Server, photo: Path, tmp_path: Path) -> None:
    """As where the server is started again: it takes its keys away, then writes new ones."""
    keys = tmp_path / "key_file.json"
    asker = Asker(server.url, Token(file=keys))
    with pytest.raises(UnreachableError, match="holds no inference key"):
        asker.detections(photo.read_bytes())
    keys.write_text("first")
    asker.detections(photo.read_bytes())
    keys.unlink()
    threading.Timer(0.1, keys.write_text, ("second",)).start()
    assert asker.detections(photo.read_bytes())["detections"]
    assert server.headers[-1]["authorization"] == "Bearer second"


def test_a_token_that_is_renewed_meanwhile_is_read_again(server: Server, photo: Path, tmp_path: Path) -> None:
    key = tmp_path / "token.txt"
    key.write_text("old")

    def renewed(body: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        if headers["authorization"] == "Bearer new":
            return 200, REPLY, {}
        key.write_text("new")
        return 400, TOKEN, {}

    server.respond = renewed
    assert main([server.url, str(photo), str(photo), "--token-file", str(key), "--jobs", "1"]) == 0
    assert [headers["authorization"] for headers in server.headers] == ["Bearer old", "Bearer new", "Bearer new"]


@pytest.mark.parametrize("text", ["{}", '{"inference": 3}', '{"inference":', "", "two words"])
def test_a_key_file_without_a_key_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "key_file.json").write_text(text)
    with pytest.raises(UnreachableError, match="key_file.json holds no inference key"):
        read_token(tmp_path / "key_file.json")


# What servers say; the exit code and a piece of what is printed. None of it is asked again.
ERRORS = {
    "ours": (400, error_reply(BadImageError("not_an_image", "it is text", "send a picture")).body, 1, "send a picture"),
    "not loaded": (503, error_reply(BadImageError("model_not_loaded", "no file", "see the log")).body, 2, "the log"),
    "too large for TorchServe": (413, b"", 1, "max_request_size"),
    "no token": (400, TOKEN, 2, "--token-file key_file.json"),
    "no such model": (404, NO_MODEL, 2, "Model not found: shapes; the address must end with the name of a model"),
    "a page": (502, b"<html><title>Bad</title><h1>Bad\n Gateway</h1><hr>nginx", 1, "HTTP 502: Bad Gateway nginx\n"),
    "no login": (401, b"<html>", 2, "HTTP 401"),
    "not TorchServe": (200, b"<html>", 2, "is this its address?"),
    "not even an object": (200, b"3", 2, "is this its address?"),
    "a bug": (500, BUG, 1, "Unknown"),
    "not said why": (500, b'["error"]', 1, "HTTP 500"),
}


@pytest.mark.parametrize(("status", "body", "code", "text"), ERRORS.values(), ids=ERRORS.keys())
def test_errors_are_told_with_what_to_do(
    server: Server, photo: Path, capsys: pytest.CaptureFixture[str], status: int, body: bytes, code: int, text: str
) -> None:
    server.always(status, body)
    assert main([server.url, str(photo)]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert text in captured.err
    assert len(server.bodies) == 1


OUT_OF_MEMORY = error_reply(BadImageError("out_of_memory", "no memory", "later")).body
WORKER_FAILED = b'{"error":{"code":"worker_failed","message":"Worker died.","hint":"again"}}'
PASSING = [
    (500, DIED.replace(b"died", b"scaled down")),
    (503, QUEUE_FULL),
    (503, OUT_OF_MEMORY),
    (507, BUG),
    (500, DIED),
    (500, WORKER_FAILED),
    (429, b""),
    None,
]


@pytest.mark.parametrize("passing", PASSING)
def test_what_passes_is_asked_again(server: Server, photo: Path, passing: tuple[int, bytes] | None) -> None:
    answer = passing and (*passing, {})
    server.first(answer, answer)
    assert main([server.url, str(photo)]) == 0
    assert len(server.bodies) == 3


def test_retries_end(server: Server, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.always(503, QUEUE_FULL)
    assert main([server.url, str(photo), "--retries", "2"]) == 1
    assert len(server.bodies) == 3
    assert "Model has no worker (asked 3 times)" in capsys.readouterr().err
    assert main([server.url, str(photo), "--retries", "0"]) == 1
    assert len(server.bodies) == 4


def test_waits_as_long_as_the_server_says(server: Server, photo: Path) -> None:
    server.first((503, QUEUE_FULL, {"Retry-After": "1"}))
    begin = time.monotonic()
    assert main([server.url, str(photo)]) == 0
    assert time.monotonic() - begin >= 1


def test_never_waits_beyond_the_deadline(server: Server, photo: Path) -> None:
    server.respond = lambda *_: (503, QUEUE_FULL, {"Retry-After": "3600"})
    begin = time.monotonic()
    assert main([server.url, str(photo), str(photo), "--deadline", "60"]) == 1
    assert time.monotonic() - begin < 60  # nor up to it: the answer could only come too late


def test_a_request_larger_than_the_server_reads_is_told(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """TorchServe answers 413 and closes while the picture is still being sent."""
    photo.write_bytes(bytes(30_000_000))
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 413 Request Entity Too Large\r\ncontent-length: 0\r\n\r\n")
                connection.shutdown(socket.SHUT_WR)
                time.sleep(0.2)  # then the rest meets a closed socket

        thread = threading.Thread(target=refuse)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/predictions/shapes"
        assert main([url, str(photo), "--retries", "0"]) == 1
        thread.join()
    told = capsys.readouterr().err
    assert "larger than max_request_size" in told or "perhaps because 30,000,000 bytes are more" in told


def test_a_redirect_is_told_and_not_followed(server: Server, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.respond = lambda *_: (301, b"", {"Location": "https://elsewhere/predictions/shapes"})
    assert main([server.url, str(photo)]) == 2
    assert "HTTP 301 to https://elsewhere" in capsys.readouterr().err


def test_the_other_pictures_are_still_asked_for(server: Server, photo: Path, tmp_path: Path) -> None:
    assert main([server.url, str(tmp_path / "gone.jpg"), str(photo)]) == 1
    assert len(server.bodies) == 1


def test_a_server_that_is_not_there(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = "http://127.0.0.1:1/predictions/shapes"
    assert main([url, str(photo)]) == 2
    assert f"{url} does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["127.0.0.1:8080/predictions/shapes", "shapes", "ftp://127.0.0.1/x"])
def test_what_is_no_address_is_told(photo: Path, capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert main([url, str(photo)]) == 2
    assert capsys.readouterr().err == f"error: the address must begin with http:// or https://, got {url}\n"


def test_a_drawing_is_named_below_its_table_in_one_file_too(server: Server, photo: Path) -> None:
    server.respond = drawn_or_reply
    command = [sys.executable, "-m", "handler.client", server.url, str(photo), "--out", str(photo.parent / "out")]
    both = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    assert both.stdout.splitlines()[-1].startswith("drawn: ")


def test_a_server_that_goes_away_in_the_middle_is_waited_for(server: Server) -> None:
    asker = Asker(server.url)
    asker.detections(b"picture")
    asker.url = "http://127.0.0.1:1/predictions/shapes"
    comes_back = threading.Timer(0.1, setattr, (asker, "url", server.url))
    comes_back.start()
    assert len(asker.detections(b"picture")["detections"]) == 2
    comes_back.join()


# The second: a Ctrl-C that comes just before a wait is like one that another thread gets: it ends no wait.
UNNOTICED = """
import os, signal, sys, threading
from handler.client import main
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
os._exit(main())
"""


@pytest.mark.parametrize("program", [("-m", "handler.client"), ("-c", UNNOTICED)], ids=["noticed", "unnoticed"])
def test_ctrl_c_ends_at_once(program: tuple[str, str], server: Server, photo: Path) -> None:
    asked, done = threading.Event(), threading.Event()

    def never(*_: object) -> tuple[int, bytes, dict[str, str]]:
        asked.set()
        done.wait(120)
        return 200, REPLY, {}

    server.respond = never
    command = [sys.executable, *program, server.url, *[str(photo)] * 5]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as running:
        assert asked.wait(60)
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=60)
    done.set()
    assert (running.returncode, told) == (130, "interrupted\n")


def test_ctrl_c_ends_it_where_nobody_reads_its_word(server: Server, photo: Path) -> None:
    asked, done = threading.Event(), threading.Event()
    server.respond = lambda *_: (asked.set(), done.wait(120), (200, REPLY, {}))[-1]
    command = [sys.executable, "-m", "handler.client", server.url, str(photo)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as running:
        assert asked.wait(60)
        assert running.stderr
        running.stderr.close()
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130
    done.set()


@pytest.mark.parametrize("wrong", ["--jobs=0", "--retries=-1", "--timeout=nan", "--deadline=0", "--jobs=many"])
def test_numbers_out_of_range_are_refused(photo: Path, capsys: pytest.CaptureFixture[str], wrong: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["http://127.0.0.1:1/", str(photo), wrong])
    name, value = wrong.split("=")
    assert f"argument {name}: must be " in (told := capsys.readouterr().err)
    assert told.endswith(f", got {value}\n")
