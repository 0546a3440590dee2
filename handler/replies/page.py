"""The page for a browser."""

from functools import cache
from http import HTTPStatus
from pathlib import Path

from handler.replies.reply import Reply

FILE = Path(__file__).with_name("page.html")


@cache
def page_reply() -> Reply:
    """The page on which a picture can be chosen."""
    return Reply(HTTPStatus.OK, FILE.read_bytes(), "text/html; charset=utf-8")
