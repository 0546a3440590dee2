"""Asks for one picture until it is answered, refused, or not worth asking for any more."""

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from handler.asking.exchange import Answer, post
from handler.asking.failures import BusyError, RefusedError, UnreachableError
from handler.asking.token import Token
from handler.asking.verdict import TokenError, checked, reply_of

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds


@dataclass(frozen=True)
class Patience:
    """How long a picture is asked for.

    Attributes:
        retries: Requests after the first.
        timeout: Seconds in which something must come of a request.
        until: Moment of ``time.monotonic()`` at which all is over.
    """

    retries: int = 5
    timeout: float = 60.0
    until: float = float("inf")

    def left(self) -> float:
        """Seconds until all is over."""
        return self.until - time.monotonic()


@dataclass
class Asker:
    """Asks one server; several threads may share it.

    Attributes:
        url: ``http://HOST:PORT/predictions/NAME``.
        token: The key of the server.
        options: Header of each option.
        patience: How long to ask.
        stopped: Set by who wants no more.
        answered: Whether the server has answered anything: only then is a refused connection one that comes back.
    """

    url: str
    token: Token = field(default_factory=Token)
    options: Mapping[str, str] = field(default_factory=dict)
    patience: Patience = field(default_factory=Patience)
    stopped: threading.Event = field(default_factory=threading.Event)
    answered: bool = False

    def detections(self, picture: bytes) -> dict[str, Any]:
        """The reply to one picture, as ``handler/replies/detections_json.py`` writes it.

        Args:
            picture: The bytes of its file.

        Raises:
            RefusedError: This picture is not answered; the text says why.
            UnreachableError: No picture would be.
        """
        return reply_of(self._patiently(lambda: self._once(picture, {"Accept": "application/json"})))

    def drawn(self, picture: bytes) -> bytes:
        """The picture with masks, boxes and names drawn on it, as PNG.

        Raises:
            RefusedError: It is not answered, or not with a picture.
            UnreachableError: No picture would be.
        """
        answer = self._patiently(lambda: self._once(picture, {"Accept": "image/png", "X-Detect-Format": "image"}))
        if not answer.body.startswith(b"\x89PNG"):
            raise RefusedError(f"the server answers with {answer.headers.get_content_type()}, it draws no pictures")
        return answer.body

    def _once(self, picture: bytes, headers: Mapping[str, str]) -> Answer:
        """One request; another where the key changed meanwhile."""
        timeout = min(self.patience.timeout, max(self.patience.left(), 0.001))
        token = self._key()
        try:
            answer = self._post(picture, {**self.options, **headers, **token}, timeout)
            return checked(answer)
        except TokenError:
            renewed = self._key()
            if renewed == token:
                raise
        return checked(self._post(picture, {**self.options, **headers, **renewed}, timeout))

    def _key(self) -> dict[str, str]:
        try:
            return self.token.header()
        except UnreachableError as error:
            if self.answered:  # a server that is being started again writes its keys anew
                raise BusyError(str(error)) from None
            raise

    def _post(self, picture: bytes, headers: Mapping[str, str], timeout: float) -> Answer:
        try:
            answer = post(self.url, picture, headers, timeout)
        except UnreachableError as error:
            if self.answered:  # it was there: it is being started again
                raise BusyError(str(error)) from None
            raise
        self.answered = True
        return answer

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        for attempt in range(self.patience.retries + 1):
            if self.patience.left() <= 0:
                raise RefusedError("not asked for any more: the time of --deadline is over")
            try:
                return ask()
            except BusyError as error:
                wait = max(_backoff(attempt), error.wait or 0.0)
                if attempt == self.patience.retries or wait > self.patience.left() or self.stopped.wait(wait):
                    raise RefusedError(f"{error} (asked {attempt + 1} times)") from None
        raise AssertionError("the last attempt returns or raises")


def _backoff(attempt: int) -> float:
    """Twice as long each time, and not all clients at the same moment."""
    return min(FIRST_WAIT * 2.0**attempt, LONGEST_WAIT) * random.uniform(0.5, 1.0)  # noqa: S311
