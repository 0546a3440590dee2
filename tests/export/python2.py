"""Pickles as Python 2 wrote them, which no Python of today does: Caffe2's files are such."""

import numpy as np
from numpy.typing import NDArray


def pickled(value: object, protocol: int) -> bytes:
    """What Python 2's cPickle makes of dictionaries, strings and arrays, at protocol 0 or 2; without its memo."""
    return (b"\x80\x02" if protocol == 2 else b"") + _program(value, protocol == 2) + b"."


def _program(value: object, is_binary: bool) -> bytes:
    if isinstance(value, dict):
        items = b"".join(_program(key, is_binary) + _program(held, is_binary) + b"s" for key, held in value.items())
        return (b"}" if is_binary else b"(d") + items
    if isinstance(value, str):
        return _string(value.encode("latin1"), is_binary)
    if isinstance(value, np.ndarray):
        return _array(value, is_binary)
    assert isinstance(value, int)
    return b"I%d\n" % value


def _string(value: bytes, is_binary: bool) -> bytes:
    if not is_binary:
        return b"S" + repr(value)[1:].encode() + b"\n"
    if len(value) < 256:
        return b"U" + bytes([len(value)]) + value
    return b"T" + len(value).to_bytes(4, "little") + value


def _array(array: NDArray[np.generic], is_binary: bool) -> bytes:
    string = lambda value: _string(value, is_binary)  # noqa: E731
    dtype = b"cnumpy\ndtype\n(" + string(array.dtype.str[1:].encode()) + b"I0\nI1\ntR"
    dtype += b"(I3\n" + string(b"<") + b"NNNI-1\nI-1\nI0\ntb"
    shape = b"(" + b"".join(b"I%d\n" % length for length in array.shape) + b"t"
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\nt" + string(b"b") + b"tR"
    return made + b"(I1\n" + shape + dtype + b"I00\n" + string(array.tobytes()) + b"tb"
