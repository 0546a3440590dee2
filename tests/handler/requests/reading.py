"""A reader of requests for the tests, and one look at what it read."""

from typing import Any

from handler.replies.kserve import Envelopes
from handler.replies.reply import Reply
from handler.requests.asked import Asked
from handler.requests.incoming import Incoming, Verb
from handler.requests.options import OptionReader
from handler.requests.reading import RequestReader
from handler.selection import default_selection
from handler.settings import Settings
from tests.handler.cards import CARD

PAGE, ABOUT = Reply(200, b"<html>", "text/html"), Reply(200, b"{}")  # type: ignore[arg-type]
MAX_PIXELS = 10_000


def reader() -> RequestReader:
    options = OptionReader(CARD, default_selection(CARD, Settings()))
    return RequestReader(options, lambda: PAGE, lambda: ABOUT, Envelopes("shapes", "1.0", 100_000), MAX_PIXELS)


def asked(body: Any = None, headers: dict[str, Any] | None = None, verb: Verb = "predict", **fields: Any) -> Asked:
    given = fields if body is None else {"body": body, **fields}
    return reader().read(Incoming.of(given, headers or {}, verb))
