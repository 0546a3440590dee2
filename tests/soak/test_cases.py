"""What is sent: 40 sizes, each name once, and requests that say what they must."""

import io
from collections import Counter

import pytest
from PIL import Image

from tests.soak.__main__ import SCENARIOS, main, seconds_of
from tests.soak.cases import SIZES, WAYS, Case, pictures, traffic
from tests.soak.hostile import hostile
from tests.soak.sending import is_whole, parsed


def test_40_sizes() -> None:
    assert len({Image.open(io.BytesIO(each)).size for each in pictures()}) == SIZES


@pytest.mark.parametrize("every", [False, True])
def test_each_case_has_a_name_of_its_own_and_each_way_is_there(every: bool) -> None:
    cases = [*traffic(every), *hostile(300, 1)]
    assert [name for name, times in Counter(case.name for case in cases).items() if times > 1] == []
    assert {case.name.split()[1] for case in traffic(every)} == {"plain", *WAYS}
    assert {case.kind for case in traffic(every)} == {"json", "coco", "image", "html"}


def test_the_same_seed_gives_the_same_damage() -> None:
    assert hostile(200, 1) == hostile(200, 1) != hostile(200, 2)


def test_a_request_says_its_id_and_its_length() -> None:
    case = Case("x", "/p", {"X-Detect-Image-Id": "@REQUEST-ID@"}, b'{"id": "@REQUEST-ID@"}', None)
    head, body = case.head_and_body("t-1", "host:1", {"Authorization": "Bearer x"})
    assert body == b'{"id": "t-1"}'
    assert b"Content-Length: 13\r\n" in head
    assert b"X-Detect-Image-Id: t-1\r\n" in head
    assert b"Bearer x" in head
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "answered"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "answered"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", "broken"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n", "unreadable"),
        (b"", "closed"),
        (b"SSH-2.0", "unreadable"),
    ],
)
def test_an_answer_is_read_once_or_not_at_all(data: bytes, outcome: str) -> None:
    assert parsed(data).outcome == outcome
    assert is_whole(data) == (outcome == "answered" or b"{}HTTP" in data)


def test_the_traffic_gets_what_is_left() -> None:
    assert seconds_of(40, SCENARIOS)["traffic"] > 1200
    assert seconds_of(3, SCENARIOS)["traffic"] >= 20
    assert seconds_of(3, ["traffic"])["traffic"] == 125
    assert seconds_of(3000, SCENARIOS)["kill"] == 1800  # with one token, which lives an hour


def test_an_unknown_scenario_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--scenarios", "traffic,peace"])
    assert "got peace" in capsys.readouterr().err
