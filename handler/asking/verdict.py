"""What an answer means: the reply, or which kind of failure it is."""

import json
import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import time
from typing import Any

from handler.asking.exchange import Answer
from handler.asking.failures import BusyError, RefusedError, UnreachableError


class TokenError(UnreachableError):
    """The server does not take this token (any more)."""


# What passes by itself. A model that cannot be loaded also answers 503, but its code says so.
PASSING = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.INSUFFICIENT_STORAGE)
# How TorchServe words it that the worker which had the picture is no more.
GONE = ("Worker died", "Worker scaled down")
# Of the whole server, not of this picture.
NOT_OF_ONE_PICTURE = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
)


def checked(answer: Answer) -> Answer:
    """Let a good answer pass.

    Raises:
        RefusedError: This picture is refused.
        BusyError: The same request may be answered later.
        UnreachableError: No request will be; a TokenError: but with another token.
    """
    if answer.status == HTTPStatus.OK:
        return answer
    code, text = _said(answer)
    if answer.status in PASSING and code != "model_not_loaded":
        raise BusyError(text, _wait(answer.headers.get("Retry-After")))
    if answer.status == HTTPStatus.INTERNAL_SERVER_ERROR and (
        code == "worker_failed" or any(each in text for each in GONE)
    ):
        raise BusyError(text, _wait(answer.headers.get("Retry-After")))
    raise _failure(answer.status, code)(text)


def reply_of(answer: Answer) -> dict[str, Any]:
    """The parsed JSON of a good answer.

    Raises:
        UnreachableError: It is none of ours.
    """
    try:
        reply = json.loads(answer.body)
        if isinstance(reply["detections"], list) and isinstance(reply["image"], dict):
            return dict(reply)
    except (ValueError, KeyError, TypeError):
        pass
    raise UnreachableError("what answers there does not answer with detections; is this its address?")


def _failure(status: int, code: str) -> Callable[[str], Exception]:
    if code == "InvalidKeyException":
        return TokenError
    if code == "model_not_loaded" or status in NOT_OF_ONE_PICTURE or 300 <= status < 400:
        return UnreachableError
    return RefusedError


def _said(answer: Answer) -> tuple[str, str]:
    """Code and text of an error: of the handler, of a proxy in its form, or of TorchServe itself."""
    if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and not answer.body:  # TorchServe's own
        return "", "the file is larger than max_request_size of the server (HTTP 413)"
    try:
        said = json.loads(answer.body)
        if "error" in said:
            error = said["error"]
            return error["code"], f"{error['message']} ({error['code']}, HTTP {answer.status}); {error['hint']}"
        return said["type"], f"the server answered HTTP {answer.status}: {said['message']}{_hint(said['type'])}"
    except (ValueError, KeyError, TypeError):
        where = f" to {answer.headers['Location']}" if answer.headers.get("Location") else ""
        return "", f"the server answered HTTP {answer.status}{where}: {_words(answer.body)}"


def _words(body: bytes) -> str:
    """What a page of HTML says, or any other text, in one line."""
    text = re.sub(r"(?s)<(style|script|title)\b.*?</\1>|<[^>]*>", " ", body[:5000].decode(errors="replace"))
    return " ".join(text.split())[:300]


# What TorchServe says of itself, and what to do.
_HINTS = {
    "InvalidKeyException": "give the inference key, which lives an hour, with --token-file key_file.json",
    "ModelNotFoundException": "the address must end with the name of a model that is served: /predictions/NAME",
}


def _hint(kind: str) -> str:
    return f"; {_HINTS[kind]}" if kind in _HINTS else ""


def _wait(retry_after: str | None) -> float | None:
    """Seconds that a ``Retry-After`` asks for: a number of them or a date."""
    try:
        if retry_after is None or retry_after.strip().isdigit():
            return None if retry_after is None else float(retry_after)
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time())
    except ValueError:
        return None
