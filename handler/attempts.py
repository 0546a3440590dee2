"""Loads that never came to an end: a worker that is killed or crashes while it loads cannot say so, the next one can.

Without it TorchServe starts one after the other, and for minutes clients get no answer. Nothing but the standard
library is imported here: what crashes may be PyTorch or the ops.
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

FOLDER = ".loading"
MOST = 3


class EndedWhileLoadingError(RuntimeError):
    """Workers before this one ended while they loaded; the text says how many."""


@dataclass(frozen=True)
class Attempts:
    """The loads of one model on one server: each a file ``PARENT-PID.loading``, or ``.loaded`` once it was done.

    Attributes:
        folder: The unpacked archive, which all workers of a model share. Where it cannot be written nothing is counted.
        startup_timeout: Seconds after which the server ends a worker that still loads; None: not known.
    """

    folder: Path
    startup_timeout: float | None = None

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the load in the block; one that raises came to its end and is not counted.

        Raises:
            EndedWhileLoadingError: Too many before it never did, and no other worker answers. The next one tries again.
        """
        self._refuse_one_more()
        mine = self._file("loading")
        with _tolerant():
            mine.parent.mkdir(exist_ok=True)
            mine.touch()
        try:
            yield
            with _tolerant():
                self._note_success()
        finally:
            with _tolerant():
                mine.unlink(missing_ok=True)

    def _refuse_one_more(self) -> None:
        dead = [each for each in self._files("loading") if not _lives(each)]
        if any(map(_lives, self._files("loaded"))):  # who asks gets an answer: let the server try as it likes
            return
        seconds = max((time.time() - _started(each) for each in dead), default=0.0)
        too_slow = self.startup_timeout is not None and seconds >= self.startup_timeout
        if len(dead) < MOST and not too_slow:
            return
        _remove(dead)
        if too_slow:
            raise EndedWhileLoadingError(
                f"it had not loaded after startupTimeout, {self.startup_timeout:g} s, and was ended"
            )
        raise EndedWhileLoadingError(f"{len(dead)} workers were killed or crashed while they loaded it")

    def _note_success(self) -> None:
        _remove([each for each in (*self._files("loading"), *self._files("loaded")) if not _lives(each)])
        self._file("loaded").touch()

    def _file(self, state: str) -> Path:
        return self.folder / FOLDER / f"{os.getppid()}-{os.getpid()}.{state}"

    def _files(self, state: str) -> list[Path]:
        """Those of this server: an unpacked folder may be served again by a later one."""
        return list((self.folder / FOLDER).glob(f"{os.getppid()}-*.{state}"))


@contextmanager
def _tolerant() -> Iterator[None]:
    """A folder that cannot be written is no reason not to load."""
    try:
        yield
    except OSError as error:
        logger.warning("workers that end while they load are not counted: %s", error)


def _started(attempt: Path) -> float:
    try:
        return attempt.stat().st_mtime
    except FileNotFoundError:  # another worker has just removed it
        return time.time()


def _remove(files: list[Path]) -> None:
    for each in files:
        each.unlink(missing_ok=True)


def _lives(attempt: Path) -> bool:
    pid = int(attempt.stem.rsplit("-", 1)[1])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return pid != os.getpid()  # a file of this number is of a process before this one
