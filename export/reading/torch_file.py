"""Reads what ``torch.save`` wrote: the zip of today, and the layout from before PyTorch 1.6.

First an outline is read and every size in it compared with the file; only then is the file given to ``torch.load``.
"""

import argparse
import io
import struct
import zipfile
from collections import Counter
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import torch

from export.reading.byte_reader import ByteReader, UnreadableError, damaged, shown
from export.reading.numpy_pickle import HOMES, NUMBERS
from export.reading.pickle_machine import PickleMachine
from export.reading.torch_pickle import TORCH_NAMES, Storages

PROTOCOL = 2  # torch.save's own, and the only one that weights_only=True reads
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001
ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OSError, struct.error)
# The name of a file in a zip that tells what the zip is, where it is no checkpoint.
OTHER_ARCHIVES = {
    "constants.pkl": "is a traced or scripted module (torch.jit.save), not weights: pass the checkpoint behind it",
    "MANIFEST.json": "is a model archive (.mar), the result of an export: pass the checkpoint it was made from",
}


def outline_of_zip(file: BinaryIO, size: int) -> Any:
    """What a zip of ``torch.save`` holds, with records in the place of tensors.

    Args:
        file: Open on the disk.
        size: Of the file, in bytes.

    Returns:
        The object that was saved.

    Raises:
        UnreadableError: It is damaged, holds more than tensors, or asks for more room than it has values for.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            records = _records(archive, size)
            program = archive.read(_program(records))
            if spoiled := archive.testzip():
                raise damaged(f"the checksum of {shown(spoiled)} is wrong")
    except ZIP_ERRORS as error:
        raise damaged(f"a zip that does not open: {error}") from error
    storages = Storages()
    outline = _run(ByteReader(io.BytesIO(program), len(program)), storages)
    root = _program(records).removesuffix("data.pkl")
    for storage in storages.found.values():
        held = records.get(f"{root}data/{storage.key}")
        if held != storage.count * storage.item_size:
            needed = storage.count * storage.item_size
            raise damaged(f"storage {shown(storage.key)} should have {needed} bytes, has {held or 0}")
    return outline


def outline_of_legacy(file: BinaryIO, size: int) -> Any:
    """What a file from before PyTorch 1.6 holds; arguments and errors as for ``outline_of_zip``."""
    file.seek(0)
    source, storages = ByteReader(file, size), Storages()
    if _run(source) != LEGACY_MAGIC or _run(source) != LEGACY_VERSION:
        raise damaged("not PyTorch's magic number and version")
    _run(source)  # sizes of numbers on the machine that wrote it
    outline = _run(source, storages)
    keys = _run(source)
    if type(keys) is not list or not all(isinstance(key, str) for key in keys):
        raise damaged("no list of storages")
    # A storage without values would show what the memory held before.
    if sorted(keys) != sorted(storages.found):
        raise damaged("the storages are not those that the tensors point at")
    for key in keys:
        _skip_storage(source, storages.found[key].count, storages.found[key].item_size)
    return outline


def load(file: BinaryIO) -> Any:
    """Read a file whose outline has been checked.

    Args:
        file: Open on the disk.

    Returns:
        The object that was saved, its tensors on the CPU.

    Raises:
        UnreadableError: PyTorch finds it damaged all the same.
    """
    file.seek(0)
    try:
        with torch.serialization.safe_globals(_safe_globals()):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the bytes make PyTorch trip over, it is the file's fault
        raise damaged(f"torch.load(weights_only=True): {type(error).__name__}: {error}") from error


def _safe_globals() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """What the outline may hold beside tensors: a script's options, NumPy's numbers under old and new names."""
    multiarray: Any = np.zeros(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    numpy = [
        (function, f"{home}.multiarray.{name}")
        for home in HOMES
        for name, function in zip(("_reconstruct", "scalar"), multiarray, strict=True)
    ]
    return [argparse.Namespace, np.ndarray, np.dtype, *{type(np.dtype(code)) for code in NUMBERS}, *numpy]


def _records(archive: zipfile.ZipFile, size: int) -> dict[str, int]:
    """Name to size; each once, none compressed, and together no larger than the file."""
    entries = archive.infolist()
    for name, times in Counter(entry.filename.casefold() for entry in entries).items():
        if times > 1:
            raise UnreadableError(f"is a zip that holds {shown(name)} {times} times: which one is meant?")
    for entry in entries:
        if entry.filename.rpartition("/")[2] in OTHER_ARCHIVES:
            raise UnreadableError(OTHER_ARCHIVES[entry.filename.rpartition("/")[2]])
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size for entry in entries):
        raise UnreadableError(
            "is a compressed zip, and torch.save never compresses: unpack it, the checkpoint is inside"
        )
    if sum(entry.file_size for entry in entries) > size or archive.comment:
        raise damaged("its parts overlap")
    return {entry.filename: entry.file_size for entry in entries}


def _program(records: dict[str, int]) -> str:
    """Name of the pickle: data.pkl in the one folder of the zip."""
    root = next(iter(records), "").partition("/")[0]
    if f"{root}/data.pkl" not in records:
        raise UnreadableError("is a zip without data.pkl, so torch.save did not write it; is the checkpoint inside?")
    return f"{root}/data.pkl"


def _run(source: ByteReader, storages: Storages | None = None) -> Any:
    machine = PickleMachine(source, TORCH_NAMES, storages)
    outline = machine.run()
    if machine.protocol != PROTOCOL:
        raise UnreadableError(
            f"was saved with pickle protocol {machine.protocol}, which cannot be read safely: save it again with "
            "torch.save and its own protocol, 2"
        )
    return outline


def _skip_storage(source: ByteReader, count: int, item_size: int) -> None:
    if int.from_bytes(source.take(8), "little", signed=True) != count:
        raise damaged(f"byte {source.position}: a storage of another length than its tensors say")
    source.skip(count * item_size)
