"""Which pictures there are and their bytes, on this machine or in an object store: what pyarrow or fsspec can open."""

from pathlib import Path

import fsspec
from pyarrow import ArrowInvalid
from pyarrow.fs import FileSelector, FileSystem, FileType, FSSpecHandler, LocalFileSystem, PyFileSystem

MOST_BYTES = 500_000_000  # of one picture's file: what claims to be one may be anything

Named = dict[str, str]
"""A picture: its ``name`` in the answers, and its ``place``, a path or a URL."""


def opened(place: str) -> tuple[FileSystem, str]:
    """The file system of a path or URL, and the path in it.

    Raises:
        OSError: It cannot be reached.
        ValueError: It is of no kind that is known or installed.
    """
    if "://" not in place:
        return LocalFileSystem(), str(Path(place).absolute())
    try:
        return FileSystem.from_uri(place)
    except ArrowInvalid:  # none of Arrow's own
        system, path = fsspec.core.url_to_fs(place)
        return PyFileSystem(FSSpecHandler(system)), path


def listed(pictures: str) -> tuple[FileSystem | None, list[Named]]:
    """The pictures of a folder and of the folders in it, or those of a listing, each once, by their names.

    Args:
        pictures: A folder, or a text file with a path (from the file's own folder) or a URL a line.

    Returns:
        The file system of the places; None: each says it by itself.

    Raises:
        OSError: There is no such folder or file.
    """
    from handler.asking.inputs import ENDINGS  # here: where pictures are read, the handler is that of the archive

    system, path = opened(pictures)
    kind = system.get_file_info(path).type
    if kind == FileType.NotFound:
        raise FileNotFoundError(2, "No such folder or listing", pictures)
    if kind == FileType.File:
        with system.open_input_stream(path) as file:
            lines = [line.strip() for line in file.read().decode().splitlines()]
        parent = pictures.rpartition("/")[0]
        return None, [{"name": line, "place": _from(parent, line)} for line in sorted({*lines} - {""})]
    files = system.get_file_info(FileSelector(path, recursive=True))
    found = sorted(each.path for each in files if each.is_file and f".{each.extension.lower()}" in ENDINGS)
    return system, [{"name": str(Path(each).relative_to(path)), "place": each} for each in found]


def _from(parent: str, line: str) -> str:
    return line if "://" in line or line.startswith("/") or not parent else f"{parent}/{line}"


def read(system: FileSystem | None, place: str) -> bytes | Exception:
    """The bytes of a picture, or why there are none; such a picture must not take others along.

    Args:
        system: Of ``place``, see ``listed``.
        place: The picture's.
    """
    try:
        system, path = (system, place) if system else opened(place)
        with system.open_input_stream(path) as file:
            data = file.read(MOST_BYTES + 1)
        return data if len(data) <= MOST_BYTES else ValueError(f"it has more than {MOST_BYTES:,} bytes")
    except Exception as error:  # each store's client raises its own
        return error
