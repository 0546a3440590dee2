"""The folder of downloaded files: where each lies, that it was checked, and who is at it."""

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from export.download.zoo import Checksum, Published
from export.errors import ExportError

_READ_AT_ONCE = 1 << 20


def say(text: str) -> None:
    """Tell the user, beside what a command prints for programs."""
    print(text, file=sys.stderr, flush=True)


def folder() -> Path:
    """``MASKRCNN_CACHE``, else ``maskrcnn-serve`` in ``XDG_CACHE_HOME``, else in ``~/.cache``.

    Raises:
        ExportError: There is no home folder either.
    """
    if chosen := os.environ.get("MASKRCNN_CACHE"):
        return Path(chosen).expanduser().absolute()
    # The XDG base directory specification has a relative path ignored.
    caches = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (caches if caches.is_absolute() else Path.home() / ".cache") / "maskrcnn-serve"
    except RuntimeError as error:
        raise ExportError(f"no folder to keep downloads in: {error}; MASKRCNN_CACHE chooses one") from error


def place(published: Published) -> Path:
    """Where the file of a model lies, or would: under the name that its publisher gave it."""
    return folder() / published.name / unquote(urlsplit(published.url).path).rpartition("/")[2]


@dataclass(frozen=True)
class Digests:
    """Of one file.

    Attributes:
        sha256: In hexadecimal.
        agree: Whether they are the publisher's; None where it gives none.
    """

    sha256: str
    agree: bool | None


def digests(path: Path, checksum: Checksum | None) -> Digests:
    """Read a file once for its sha256 and for what its publisher gives.

    Raises:
        OSError: It cannot be read.
    """
    sha256 = hashlib.sha256()
    # Of another kind only to compare: a prefix of an md5 shows damage, never who made a file.
    other = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else sha256
    with path.open("rb") as file:
        while part := file.read(_READ_AT_ONCE):
            sha256.update(part)
            if other is not sha256:
                other.update(part)
    agree = other.hexdigest().startswith(checksum.digits.lower()) if checksum else None
    return Digests(sha256.hexdigest(), agree)


@dataclass(frozen=True)
class _Record:
    """What a file was when it was checked."""

    sha256: str
    size: int
    modified: int


def is_recorded(path: Path) -> bool:
    """Whether this very file was checked before."""
    try:
        record = _Record(**json.loads(_record_of(path).read_text()))
    except (OSError, ValueError, TypeError):
        return False
    stat = path.stat()
    return (record.size, record.modified) == (stat.st_size, stat.st_mtime_ns)


def record(path: Path, sha256: str) -> None:
    """Note that a file was checked, so that it is not read for that again."""
    stat = path.stat()
    text = json.dumps(asdict(_Record(sha256, stat.st_size, stat.st_mtime_ns)), indent=1)
    with suppress(OSError):  # a cache that may only be read: then it is checked each time
        _record_of(path).write_text(text + "\n")


def _record_of(path: Path) -> Path:
    return path.with_name(path.name + ".checked.json")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the only one who writes a file; wait for another who does.

    Raises:
        OSError: The folder cannot be written to.
    """
    with path.with_name(path.name + ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that downloads {path}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file lets go; the empty file stays, as removing it would let two in
