"""From what the user typed to a file: their own, or a published model's."""

import errno
from dataclasses import dataclass
from pathlib import Path

from export.download import cache, zoo
from export.download.cache import say
from export.download.failures import DownloadError
from export.download.progress import Progress
from export.download.transfer import Partial, Patience, transfer
from export.download.zoo import Published
from export.errors import ExportError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
LIST = "python -m export.download"


@dataclass(frozen=True)
class Resolved:
    """The file that a checkpoint's name stands for.

    Attributes:
        path: Of the file; it exists.
        preset: Name of the conventions that a published model was trained with; None for the user's own file.
        published: The published model's name; None for the user's own file.
    """

    path: Path
    preset: str | None = None
    published: str | None = None


def resolve(checkpoint: str, patience: Patience | None = None) -> Resolved:
    """Find the file of a checkpoint, downloading it where it is a published model's name.

    Args:
        checkpoint: Path of a file, or a name; a file of that name wins.
        patience: How long to try; the default's, if left out.

    Raises:
        ExportError: It is neither, or the model cannot be had.
    """
    if (path := Path(checkpoint)).exists() and not path.is_dir():
        return Resolved(path)
    published = zoo.find(checkpoint)
    if published is None:
        raise ExportError(_unknown(checkpoint))
    return Resolved(fetch(published, patience or Patience()), published.preset, published.name)


def fetch(published: Published, patience: Patience) -> Path:
    """The file of a published model: from the cache, or downloaded into it.

    Raises:
        ExportError: It cannot be had, or is not what was published.
    """
    target = cache.place(published)
    try:
        if not target.is_file():
            _download(published, target, patience)
        _check(published, target)
    except DownloadError as error:
        raise ExportError(f"cannot download {published.url}: {error}\n{_by_hand(published, target)}") from error
    except OSError as error:
        raise ExportError(_not_stored(published, target, error)) from error
    return target


def _download(published: Published, target: Path, patience: Patience) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with cache.locked(target):
        if target.is_file():  # another process was faster
            return
        say(f"{published.name}: {published.url} -> {target}")
        partial, progress = Partial(target.with_name(target.name + ".partial")), Progress(published.name)
        try:
            transfer(published.url, partial, patience, progress, progress.say)
        finally:
            progress.end()
        _accept(published, partial, target)


def _accept(published: Published, partial: Partial, target: Path) -> None:
    found = cache.digests(partial.path, published.checksum)
    if found.agree is False:
        partial.discard()
        raise DownloadError(
            f"what came is not what was published: expected {published.checksum}, got sha256 {found.sha256}; it was "
            "removed. A proxy may have changed it, or the publisher replaced it"
        )
    partial.finish(target)
    _note(published, target, found)


def _check(published: Published, target: Path) -> None:
    """Check a file that was put there by hand, once."""
    if cache.is_recorded(target):
        return
    found = cache.digests(target, published.checksum)
    if found.agree is False:
        raise ExportError(
            f"{target} is not {published.name} as published: expected {published.checksum}, got sha256 {found.sha256}\n"
            f"Remove it to have {published.url} downloaded, or give its path in place of the name to use it as it is"
        )
    _note(published, target, found)


def _note(published: Published, target: Path, found: cache.Digests) -> None:
    cache.record(target, found.sha256)
    word = f"as published ({published.checksum})" if found.agree else "not compared: its publisher gives no checksum"
    say(f"{published.name}: sha256 {found.sha256}, {word}")


def _by_hand(published: Published, target: Path) -> str:
    then = f"is checked once ({published.checksum}) and used" if published.checksum else "is used"
    return f"Without a connection here, fetch that file elsewhere and put it at {target}: it {then} from then on"


def _not_stored(published: Published, target: Path, error: OSError) -> str:
    why = "the disk is full" if error.errno in _FULL else error.strerror or str(error)
    return (
        f"cannot keep {published.url} in {target.parent}: {why}\nMASKRCNN_CACHE chooses another folder. "
        f"{_by_hand(published, target)}"
    )


def _unknown(checkpoint: str) -> str:
    kind = "is a folder, not a file" if Path(checkpoint).is_dir() else "does not exist"
    near = f" Did you mean {', '.join(names)}?" if (names := zoo.near_names(checkpoint)) else ""
    return f"checkpoint {checkpoint!r} {kind}, and no published model has that name.{near}\n{LIST} lists the names"
