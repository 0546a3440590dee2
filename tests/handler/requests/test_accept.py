"""The header Accept: what RFC 9110 says, and what browsers and libraries send."""

import pytest

from handler.requests.accept import preferred

OFFERS = ("application/json", "image/png", "image/jpeg", "text/html")
FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
IMG_OF_CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"

CASES = {
    "nothing": ("", None),
    "anything, as curl": ("*/*", "application/json"),
    "a browser's address bar": (FIREFOX, "text/html"),
    "an <img>": (IMG_OF_CHROME, "image/png"),
    "axios": ("application/json, text/plain, */*", "application/json"),
    "a quality below": ("image/png;q=0.5, text/html", "text/html"),
    "a quality with spaces and case": ("IMAGE/PNG ; Q=0.5 , text/html;q=0.4", "image/png"),
    "the closer range counts, though it is worse": ("image/*;q=1, image/png;q=0.1", "image/jpeg"),
    "named beats anything": ("image/jpeg, */*", "image/jpeg"),
    "not that one": ("image/*, image/png;q=0", "image/jpeg"),
    "all but": ("*/*, application/json;q=0", "image/png"),
    "none of them": ("*/*;q=0", None),
    "what there is not": ("application/xml", None),
    "other parameters": ("application/json;charset=utf-8", "application/json"),
    "our favourite of two": ("image/jpeg,image/png", "image/png"),
    "no number": ("text/html;q=nan, image/png;q=0.1", "image/png"),
    "above one": ("text/html;q=7, image/png;q=0.1", "image/png"),
    "rubbish": (";;,,q=1,/;q,*", None),
}


@pytest.mark.parametrize(("accept", "expected"), CASES.values(), ids=CASES.keys())
def test_the_best_offer(accept: str, expected: str | None) -> None:
    assert preferred(accept, OFFERS) == expected


def test_a_long_header_is_cut() -> None:
    assert preferred("a/b," * 100_000 + "text/html", OFFERS) is None
