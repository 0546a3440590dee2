"""The tokens that TorchServe writes into ``key_file.json`` of the folder it was started in."""

import json
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Literal
from urllib.request import Request

from server.addresses import open_url

Kind = Literal["inference", "management", "API"]
FILE_NAME = "key_file.json"
SPARE_SECONDS = 60.0  # a token that is about to expire is as good as none


def headers(home: Path, kind: Kind, management_url: str, spare: float = SPARE_SECONDS) -> dict[str, str]:
    """The header that lets a request through; empty where token authorisation is off.

    A token lives 60 minutes. One that is about to expire is replaced through the management API, which
    makes the old one worthless: hold on to the file, not to a token.

    Args:
        home: Folder that the server was started in.
        kind: Which of the two APIs the request goes to; API: it renews a token. This one does not expire.
        management_url: Base address of the management API.
        spare: A token that has fewer seconds left is replaced.

    Raises:
        OSError: A new token was needed and the server does not answer.
    """
    path = home / FILE_NAME
    if not path.is_file():
        return {}
    keys = _read(path)
    if kind != "API" and _seconds_left(keys[kind]["expiration time"]) < spare:
        renewal = Request(f"{management_url}/token?type={kind}", headers=_bearer(keys["API"]["key"]))
        with open_url(renewal, timeout=10):
            keys = _read(path)
    return _bearer(keys[kind]["key"])


def _read(path: Path) -> dict[str, dict[str, str]]:
    """The keys; a file that TorchServe is just writing is read again for up to a second."""
    for _ in range(20):
        with suppress(json.JSONDecodeError):
            return dict(json.loads(path.read_text()))
        time.sleep(0.05)
    raise OSError(f"{path} holds no JSON; stop the server and start it again")


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _seconds_left(expiration: str) -> float:
    # As Java's Instant prints it: 2026-11-22T10:15:30.123456789Z; nanoseconds are more than Python reads.
    moment = datetime.fromisoformat(expiration[:19] + "+00:00")
    return moment.timestamp() - time.time()
