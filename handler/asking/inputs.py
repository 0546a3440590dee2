"""The files that are sent, and under which names their drawings go."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from handler.asking.failures import RefusedError

# By their names only: what a picture truly is, the server says. HEIC is among them so that it says so.
ENDINGS = (
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
    *(".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
)
LARGEST = 2**31 - 1  # bytes; max_request_size of TorchServe cannot be more
SHOWN = 3  # names of skipped files


def pictures_in(inputs: Iterable[Path]) -> Iterator[Path]:
    """Files as they are named, and of each folder the pictures in it, by name; not those of folders in it.

    What else is in a folder is noted on stderr.
    """
    for each in inputs:
        if each.is_dir():
            yield from _of_folder(each)
        else:
            yield each


def _of_folder(folder: Path) -> list[Path]:
    try:
        files = sorted(each for each in folder.iterdir() if not each.name.startswith("."))
    except OSError as error:
        return [folder] if _note(f"{folder}: {error.strerror}") else []
    pictures = [each for each in files if each.suffix.lower() in ENDINGS and not each.is_dir()]
    if skipped := [each.name for each in files if each not in set(pictures)]:
        more = ", ..." if len(skipped) > SHOWN else ""
        _note(
            f"{folder}: skipped {len(skipped)} that are no pictures by their names ({', '.join(skipped[:SHOWN])}{more})"
        )
    return pictures or [folder]  # a folder without any is refused where its turn comes


def _note(text: str) -> bool:
    print(f"note: {text}", file=sys.stderr)
    return True


def read_picture(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        RefusedError: It is none, cannot be read, or no server could take it.
    """
    try:
        if path.is_dir():
            raise RefusedError("the folder has no pictures in it")
        if path.exists() and not path.is_file():
            raise RefusedError("this is no file")  # reading a device or a pipe may never end
        if (size := path.stat().st_size) > LARGEST:
            raise RefusedError(f"the file has {size:,} bytes; no server takes more than {LARGEST:,}")
        return path.read_bytes()
    except OSError as error:  # its name stands before it, the number says nothing to people
        raise RefusedError(error.strerror or str(error)) from None
    except (ValueError, MemoryError) as error:
        raise RefusedError(str(error) or "the file is too large for the memory here") from None


def drawing_names(pictures: Iterable[Path]) -> Iterator[str]:
    """A file name for the drawing of each picture, none of them twice, whatever case a file system keeps."""
    taken: set[str] = set()
    for picture in pictures:
        name, number = picture.stem, 1
        while name.lower() in taken:
            number += 1
            name = f"{picture.stem}-{number}"
        taken.add(name.lower())
        yield f"{name}.png"
