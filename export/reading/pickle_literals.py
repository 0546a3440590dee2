"""The instructions of a pickle that stand for a value: how many bytes follow each, and what they become."""

import codecs
import pickle
import struct
from collections.abc import Callable
from typing import Any


def _integer(line: bytes) -> int | bool:
    return line == b"01" if line in (b"00", b"01") else int(line)


def _quoted(line: bytes) -> str:
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b"'\"":
        raise ValueError("a string without quotes")
    return codecs.escape_decode(line[1:-1])[0].decode("latin1")


def utf8(data: bytes) -> str:
    """Text as Python 3 writes it, lone surrogates included."""
    return data.decode("utf-8", "surrogatepass")


def _latin1(data: bytes) -> str:
    """Python 2's strings, which hold text and array values alike."""
    return data.decode("latin1")


def _unpacked(layout: str) -> Callable[[bytes], Any]:
    return lambda data: struct.unpack(layout, data)[0]


# Instruction to the number of bytes that follow, and what they become.
FIXED: dict[bytes, tuple[int, Callable[[bytes], Any]]] = {
    pickle.NONE: (0, lambda _: None),
    pickle.NEWTRUE: (0, lambda _: True),
    pickle.NEWFALSE: (0, lambda _: False),
    pickle.EMPTY_TUPLE: (0, lambda _: ()),
    pickle.EMPTY_LIST: (0, lambda _: []),
    pickle.EMPTY_DICT: (0, lambda _: {}),
    pickle.BININT: (4, _unpacked("<i")),
    pickle.BININT1: (1, _unpacked("<B")),
    pickle.BININT2: (2, _unpacked("<H")),
    pickle.BINFLOAT: (8, _unpacked(">d")),
}
# Instruction to the width of the length that follows it, and what the bytes after that become.
COUNTED: dict[bytes, tuple[int, Callable[[bytes], Any]]] = {
    pickle.LONG1: (1, pickle.decode_long),
    pickle.SHORT_BINSTRING: (1, _latin1),
    pickle.BINSTRING: (4, _latin1),
    pickle.SHORT_BINBYTES: (1, bytes),
    pickle.BINBYTES: (4, bytes),
    pickle.BINBYTES8: (8, bytes),
    pickle.BYTEARRAY8: (8, bytes),
    pickle.SHORT_BINUNICODE: (1, utf8),
    pickle.BINUNICODE: (4, utf8),
    pickle.BINUNICODE8: (8, utf8),
}
# Instruction to what the rest of its line becomes.
LINES: dict[bytes, Callable[[bytes], Any]] = {
    pickle.INT: _integer,
    pickle.LONG: lambda line: int(line.removesuffix(b"L")),
    pickle.FLOAT: float,
    pickle.STRING: _quoted,
    pickle.UNICODE: lambda line: line.decode("raw-unicode-escape"),
}
