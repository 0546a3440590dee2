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
PATIENCE = 240.0  # seconds after which two are enough: TorchServe itself gives up soon after, and clients would hang
FORGOTTEN = 900.0  # seconds after which a load that died says nothing about this one
NOTICED = 90.0  # seconds until the worker after one that was too slow has come this far


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
        if any(map(_lives, self._files("loaded"))):  # who asks gets an answer: let the server try as it likes
            return
        loading = self._files("loading")
        dead = {each: time.time() - _started(each) for each in loading if not _lives(each)}
        ages = sorted(age for age in dead.values() if age < FORGOTTEN)
        most = MOST if len(dead) == len(loading) else 2 * MOST  # another loads beside: both may have died together
        too_slow = bool(ages) and self._is_timeout(ages[0])
        if not too_slow and len(ages) < most and not (len(ages) > 1 and ages[-1] >= PATIENCE):
            return
        with _tolerant():
            _remove([*dead])
        if too_slow:
            raise EndedWhileLoadingError(
                f"it had not loaded after startupTimeout, {self.startup_timeout:g} s, and was ended"
            )
        raise EndedWhileLoadingError(f"{len(ages)} workers were killed or crashed while they loaded it")

    def _is_timeout(self, age: float) -> bool:
        """Whether the last load that died, begun so many seconds ago, was ended by the server for being slow."""
        limit = self.startup_timeout
        return limit is not None and limit <= age < limit + NOTICED

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
        return False  # a number that somebody else's process has now
    return pid != os.getpid() and _parent(pid) == attempt.stem.rsplit("-", 1)[0]


def _parent(pid: int) -> str:
    """Who started it; a number that was given again is of another one's child."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1]
    except OSError:  # it has just ended
        return ""
