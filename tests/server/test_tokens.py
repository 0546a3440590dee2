import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from server import tokens


def write_keys(home: Path, inference: str, minutes_left: float) -> None:
    def expires(minutes: float) -> str:
        return (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")

    keys = {
        "management": {"key": "manage", "expiration time": expires(60)},
        "inference": {"key": inference, "expiration time": expires(minutes_left)},
        "API": {"key": "master"},
    }
    (home / tokens.FILE_NAME).write_text(json.dumps(keys))


@pytest.fixture
def renewing_server(tmp_path: Path) -> Iterator[str]:
    """Does what ``GET /token?type=inference`` does: writes another key into the file."""

    class Renew(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 (the base class chose the name)
            granted = self.path == "/token?type=inference" and self.headers["Authorization"] == "Bearer master"
            if granted:
                write_keys(tmp_path, "renewed", minutes_left=60)
            self.send_response(200 if granted else 400)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Renew)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_valid_token_is_used_as_it_is(tmp_path: Path) -> None:
    write_keys(tmp_path, "fresh", minutes_left=30)
    nobody = "http://127.0.0.1:9"
    assert tokens.headers(tmp_path, "inference", nobody) == {"Authorization": "Bearer fresh"}
    assert tokens.headers(tmp_path, "management", nobody) == {"Authorization": "Bearer manage"}
    assert tokens.headers(tmp_path, "API", nobody) == {"Authorization": "Bearer master"}


def test_a_token_about_to_expire_is_renewed(tmp_path: Path, renewing_server: str) -> None:
    write_keys(tmp_path, "stale", minutes_left=0.1)
    assert tokens.headers(tmp_path, "inference", renewing_server) == {"Authorization": "Bearer renewed"}


def test_without_a_key_file_no_token_is_sent(tmp_path: Path) -> None:
    assert tokens.headers(tmp_path, "inference", "http://127.0.0.1:9") == {}


def test_a_file_that_is_being_written_is_read_again(tmp_path: Path) -> None:
    (tmp_path / tokens.FILE_NAME).write_text("")
    writer = threading.Timer(0.1, write_keys, (tmp_path, "fresh", 30))
    writer.start()
    assert tokens.headers(tmp_path, "inference", "http://127.0.0.1:9") == {"Authorization": "Bearer fresh"}
    writer.join()


def test_a_file_that_never_holds_keys_is_an_error(tmp_path: Path) -> None:
    (tmp_path / tokens.FILE_NAME).write_text("{")
    with pytest.raises(OSError, match="holds no JSON"):
        tokens.headers(tmp_path, "inference", "http://127.0.0.1:9")
