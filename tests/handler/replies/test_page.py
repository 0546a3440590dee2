"""The page as bytes: its size, its hashes, and what is put into it."""

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from handler.errors import RequestError
from handler.images import Picture
from handler.replies.page import FILE, PageFacts, page_reply, page_with_answer
from tests.handler.cards import CARD

FACTS = PageFacts.of(CARD, "shapes", "2.0")
NOISE = np.random.default_rng(3).integers(0, 256, (600, 800, 3), dtype=np.uint8)
PICTURE = Picture(NOISE, 600, 800)
ANSWER = {"model": "shapes", "version": "2.0", "image": {"width": 800, "height": 600}, "detections": []}


def facts_in(page: bytes) -> Any:
    (data,) = re.findall(rb'<script type="application/json" id="facts">(.*?)</script>', page, flags=re.DOTALL)
    return json.loads(data)


def with_answer(answer: dict[str, Any] = ANSWER, picture: Picture = PICTURE, max_bytes: int = 1_000_000) -> bytes:
    return page_with_answer(FACTS, json.dumps(answer).encode(), picture, 0.05, max_bytes).body


def test_the_page_is_one_small_file_that_loads_nothing() -> None:
    text = FILE.read_text()
    assert len(text.encode()) < 60_000
    assert re.findall(r"https?://[^ \"'`]+", text.replace("http://www.w3.org/2000/svg", "")) == []
    assert "@import" not in text


def test_the_page_says_what_it_is() -> None:
    reply = page_reply(FACTS)
    assert reply.media_type == "text/html; charset=utf-8"
    assert reply.headers["Vary"] == "Accept"
    assert facts_in(reply.body) == {
        "model": "shapes",
        "version": "2.0",
        "score_threshold": 0.05,
        "classes": [{"label": 1, "name": "circle"}, {"label": 2, "name": "square"}],
    }


@pytest.mark.parametrize("name", ["script", "style"])
def test_only_the_files_own_script_and_style_may_run(name: str) -> None:
    page = page_reply(FACTS).body.decode()
    (content,) = re.findall(rf"<{name}>(.*?)</{name}>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    assert f"{name}-src 'sha256-{digest}';" in page
    assert "unsafe" not in page
    assert re.search(r"<\w+[^>]* (style|on\w+)=", page[: page.index("<script>")]) is None


@pytest.mark.parametrize("name", ["</script><img src=x onerror=alert(1)>", "<!--<script>", "\u2028&lt;", '"\\'])
def test_no_name_ends_the_data(name: str) -> None:
    detection = {"label": 1, "class": name, "score": 0.9, "box": [0, 0, 1, 1]}
    hostile = replace(CARD, class_names=("__background__", name))
    facts = PageFacts.of(hostile, name, name)
    page = page_with_answer(facts, json.dumps(ANSWER | {"detections": [detection]}).encode(), PICTURE, 0.05, 1_000_000)
    known = facts_in(page.body)
    assert known["answer"]["detections"][0]["class"] == known["model"] == known["classes"][0]["name"] == name
    assert page.body.count(b"<script") == page_reply(FACTS).body.count(b"<script")


def picture_in(page: bytes) -> Image.Image:
    data = facts_in(page)["picture"].removeprefix("data:image/jpeg;base64,")
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_the_picture_travels_along_and_shrinks_to_fit() -> None:
    assert picture_in(with_answer()).size == (800, 600)
    alone = len(with_answer(max_bytes=len(page_reply(FACTS).body) + 1000))
    for room, expected in ((200_000, (400, 300)), (60_000, (200, 150)), (15_000, (100, 75))):
        page = with_answer(max_bytes=alone + room)
        assert len(page) <= alone + room
        assert picture_in(page).size == expected
    assert facts_in(with_answer(max_bytes=alone + 100))["picture"] == ""


def test_a_page_that_cannot_fit_is_refused() -> None:
    with pytest.raises(RequestError, match="the page with this answer has .* bytes, the limit is 1,000") as caught:
        with_answer(max_bytes=1000)
    assert (caught.value.code, caught.value.status) == ("reply_too_long", 413)


@pytest.mark.parametrize("size", [(1, 1), (1, 70_000), (70_000, 1), (3000, 5000)])
def test_any_picture_fits_a_page(size: tuple[int, int]) -> None:
    blank = Picture(np.zeros((*size, 3), dtype=np.uint8), *size)
    assert max(picture_in(with_answer(picture=blank)).size) == min(4096, max(size))
