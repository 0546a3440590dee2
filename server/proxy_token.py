"""Keeps a proxy supplied with the inference token, which lives an hour."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from server import tokens
from server.torchserve import ServerError, TorchServe

CHECK_SECONDS = 5.0
SPARE_SECONDS = 300.0  # a replaced token is worthless at once, so not more often than need be


def supply(server: TorchServe, file: Path, pid_file: Path | None) -> bool:
    """Write the token of now where the proxy includes it, and have it read again, if it is another.

    Args:
        server: Whose token.
        file: What the configuration of nginx includes; only its owner may read it.
        pid_file: Of nginx; None: it is not running yet.

    Returns:
        Whether the token was another.

    Raises:
        OSError: The file cannot be written, or the server does not answer.
        ServerError: The pid file names no process.
    """
    header = tokens.headers(server.home, "inference", server.addresses.management_url, SPARE_SECONDS)
    text = f'default "{header.get("Authorization", "")}";\n'
    with suppress(FileNotFoundError):
        if file.read_text() == text:
            return False
    partial = file.with_name(f".{file.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)
    partial.replace(file)
    if pid_file:
        _reload(pid_file)
    return True


def keep_supplied(server: TorchServe, file: Path, pid_file: Path | None, said: Callable[[str], None] = print) -> None:
    """Do so until the server ends or somebody interrupts.

    Raises:
        ServerError: The server ended.
    """
    while server.is_running():
        try:
            if supply(server, file, pid_file):
                said(f"{file}: another token")
        except (OSError, ServerError) as error:  # the next turn may do better, and an hour is long
            said(f"error: {error}")
        time.sleep(CHECK_SECONDS)
    raise ServerError("the server has ended; start it again, and this command too")


def _reload(pid_file: Path) -> None:
    try:
        os.kill(int(pid_file.read_text()), signal.SIGHUP)
    except FileNotFoundError:
        hint = "if nginx does not run yet, start it: it reads the token then"
        raise ServerError(f"nginx was not told of its new token: there is no {pid_file}; {hint}") from None
    except (OSError, ValueError) as error:
        raise ServerError(f"nginx was not told of its new token: {pid_file}: {error}") from None
