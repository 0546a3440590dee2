"""The README's two tables of errors: ours, each of which has a test somewhere, and those of TorchServe's frontend."""

import json
import re
from http.client import HTTPConnection
from typing import get_args
from urllib.parse import urlsplit

from handler.errors import Code
from server.tokens import headers
from server.torchserve import TorchServe
from tests.reply_schema import error_of
from tests.served import MODEL, PICTURES, ROOT

README = (ROOT / "README.md").read_text()


def documented() -> dict[str, str]:
    """Status by code."""
    section = re.search(r"(?ms)^### Errors\n(.*?)^##", README)
    assert section
    return {code: status for status, code in re.findall(r"(?m)^\| (\d+) \| `(\w+)` \|", section[1])}


def codes_in(folder: str, pattern: str) -> set[str]:
    sources = [path.read_text() for path in (ROOT / folder).rglob("*.py")]
    return {code for source in sources for code in re.findall(pattern, source)}


def test_every_code_of_ours_is_documented() -> None:
    assert set(get_args(Code)) == set(documented())


def test_every_code_of_ours_is_tested() -> None:
    assert set(documented()) - codes_in("tests", r'"([a-z]\w+)"') == set()


def test_a_wrong_option_over_http(server: TorchServe) -> None:
    status, body = server.predict(MODEL, PICTURES[0].read_bytes(), {"X-Detect-Format": "pdf"})
    assert (status, error_of(body)["code"]) == (400, "bad_option")
    assert "json, coco, image, html" in error_of(body)["message"]


def test_an_unknown_model_is_torchserves_own_error(server: TorchServe) -> None:
    status, body = server.predict("nobody", PICTURES[0].read_bytes())
    assert status == 404
    assert set(json.loads(body)) == {"code", "type", "message"}


def test_a_wrong_token_is_torchserves_own_error(server: TorchServe) -> None:
    status, body = server.predict(MODEL, PICTURES[0].read_bytes(), {"Authorization": "Bearer wrong"})
    assert status == 400
    assert set(json.loads(body)) == {"code", "type", "message"}


def test_a_body_over_the_limit_is_torchserves_own_error(server: TorchServe) -> None:
    limit = re.search(r"(?m)^max_request_size=(\d+)$", (ROOT / "config.properties").read_text())
    assert limit
    address = urlsplit(server.addresses.inference_url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=30)
    token = headers(server.home, "inference", server.addresses.management_url)
    # Only the head: while a body is still being sent, the refusal may be lost with the connection.
    wanted = {"Content-Type": "image/png", "Content-Length": str(int(limit[1]) + 1), "Expect": "100-continue"}
    try:
        connection.request("POST", f"/predictions/{MODEL}", headers=token | wanted)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (413, b"")
    finally:
        connection.close()


def test_every_format_over_http(server: TorchServe) -> None:
    picture = PICTURES[2].read_bytes()
    for wanted, begin in (
        ({"X-Detect-Format": "coco"}, b'[{"image_id":0,'),
        ({"X-Detect-Masks": "png"}, b'{"model"'),
        ({"X-Detect-Masks": "polygon"}, b'{"model"'),
        ({"Accept": "image/png"}, b"\x89PNG"),
        ({"x-detect-format": "image", "Accept": "image/jpeg"}, b"\xff\xd8\xff"),
    ):
        status, body = server.predict(MODEL, picture, wanted)
        assert status == 200, wanted
        assert body.startswith(begin), wanted
