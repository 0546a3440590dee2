"""What goes wrong outside the export's own code, as an error that says what to do: full disks, PyTorch, signals."""

import errno
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from export.errors import ExportError

_FULL = (errno.ENOSPC, errno.EDQUOT)
# PyTorch's writer of files names no cause; a child process has only its text.
_FULL_WORDS = ("No space left on device", "Disk quota exceeded", "PytorchStreamWriter failed", "unexpected pos")
_TERMINATED = 128 + signal.SIGTERM  # as a shell says it


@contextmanager
def full_disk_named(folder: Path, remedy: str) -> Iterator[None]:
    """Say where there is no space left.

    Args:
        folder: Where everything in this context is written.
        remedy: What to do.

    Raises:
        ExportError: Its disk is full.
    """
    try:
        yield
    except (OSError, RuntimeError, ExportError) as error:
        if getattr(error, "errno", None) in _FULL or any(word in str(error) for word in _FULL_WORDS):
            raise ExportError(f"the disk of {folder} is full: {remedy}") from error
        raise


@contextmanager
def refusals_of_pytorch(what: str) -> Iterator[None]:
    """Turn an error of PyTorch or of an op's checks into one for the user.

    Args:
        what: Is being done.

    Raises:
        ExportError: With the first line of what was said.
    """
    try:
        yield
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        said = str(error).partition("\n")[0] or type(error).__name__
        raise ExportError(
            f"{what} failed: {said}; is a number of the --config or of an option far from those of the training?"
        ) from error


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Leave by an exception on SIGTERM, so that temporary folders and child processes go.

    Raises:
        SystemExit: The signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may ask for signals
        return
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would cut the cleaning short
    raise SystemExit(_TERMINATED)
