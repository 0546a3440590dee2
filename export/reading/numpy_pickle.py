"""What stands in for NumPy's functions while a pickle is read: each checks its arguments before an array is made."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.reading.byte_reader import UnreadableError, damaged, shown
from export.reading.pickle_machine import Buildable, Names, StandIn, set_items

# NumPy's codes of the numbers that weights, counters and flags are made of.
NUMBERS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
# Version, byte order, no base, names or fields, sizes and flags left to the kind.
DTYPE_STATES = tuple((3, order, None, None, None, -1, -1, 0) for order in "<>|=")
MOST_DIMENSIONS = 32
# NumPy 2 moved the functions; a file names the module of the NumPy that wrote it.
HOMES = ("numpy.core", "numpy._core")


class DtypeRecord(Buildable):
    """An array's kind of number, as a pickle describes it."""

    def __init__(self, code: str) -> None:
        self.dtype = np.dtype(code)

    def build(self, state: Any) -> None:
        """Take over the byte order; all else must be as for plain numbers.

        Nothing else may pass: NumPy believes the flags in this state, and with one of them takes numbers for pointers.
        """
        if type(state) is not tuple or state not in DTYPE_STATES:
            raise damaged("the dtype of an array is not that of plain numbers")
        if state[1] in "<>":
            self.dtype = self.dtype.newbyteorder("<" if state[1] == "<" else ">")


class ArrayRecord(Buildable):
    """An array, empty until its state has been read."""

    def __init__(self, array: NDArray[Any] | None = None) -> None:
        self._array = array

    @property
    def array(self) -> NDArray[Any]:
        """The values; writing to them is not possible."""
        if self._array is None:
            raise damaged("an array without values")
        return self._array

    def build(self, state: Any) -> None:
        """Take over shape, dtype, order and values, once."""
        if type(state) is not tuple or len(state) != 5 or state[0] != 1 or self._array is not None:
            raise damaged("the state of an array is not NumPy's")
        _, shape, dtype, is_fortran, values = state
        if not isinstance(is_fortran, int):
            raise damaged("an array in no order")
        self._array = _array(values, dtype, shape, "F" if is_fortran else "C")


def to_tensor(array: NDArray[Any]) -> Tensor:
    """A tensor with values of its own in this machine's byte order.

    Args:
        array: Of any shape and one of the kinds in ``NUMBERS``.

    Returns:
        Same shape, same kind of number, on the CPU.
    """
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def _array(values: Any, dtype: Any, shape: Any, order: str) -> NDArray[Any]:
    if not isinstance(dtype, DtypeRecord) or not isinstance(values, (str, bytes)):
        raise damaged("an array's values are not bytes")
    if type(shape) is not tuple or len(shape) > MOST_DIMENSIONS or not all(_is_length(length) for length in shape):
        raise damaged("an array's shape is not a short tuple of lengths")
    needed = math.prod(shape) * dtype.dtype.itemsize
    if needed != len(values):
        raise damaged(f"an array of shape {shape} and dtype {dtype.dtype} needs {needed} bytes and has {len(values)}")
    raw = values.encode("latin1") if isinstance(values, str) else values
    return np.frombuffer(raw, dtype.dtype).reshape(shape, order="F" if order == "F" else "C")


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 2**48


def _make_dtype(code: Any, *flags: Any) -> DtypeRecord:
    if code not in NUMBERS:
        reason = "may run code when they are read" if shown(code).startswith("O") else "are no weights"
        raise UnreadableError(f"holds an array of dtype {shown(code)}, whose values {reason}; only numbers are read")
    if flags != (False, True):  # not aligned, and a copy: its state must not change the dtype that all others share
        raise damaged("a dtype that is made as NumPy never makes it")
    return DtypeRecord(code)


def _make_ndarray(*_: Any) -> None:
    raise damaged("an array is made directly, as NumPy never writes it")


def _reconstruct(kind: Any, shape: Any, _code: Any) -> ArrayRecord:
    if not isinstance(kind, StandIn) or kind.make is not _make_ndarray:
        raise damaged("an array of an unknown class")
    if shape != (0,):  # NumPy writes this always; the real shape comes with the values
        raise UnreadableError(
            "asks for the room of an array before it shows any values, as NumPy never does: damaged or hostile"
        )
    return ArrayRecord()


def _scalar(dtype: Any, value: Any = None) -> ArrayRecord:
    return ArrayRecord(_array(value, dtype, (), "C"))


def _frombuffer(values: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> ArrayRecord:
    """Protocol 5; order "K" is a C array seen with its axes in another order."""
    array = _array(values, dtype, shape, order)
    if order != "K":
        return ArrayRecord(array)
    if type(axes) is not tuple or sorted(axes) != list(range(array.ndim)):
        raise damaged("an array's axes are in no order")
    return ArrayRecord(array.transpose(axes))


def encode(text: Any, encoding: Any = None) -> bytes:
    """What protocols 0 to 2 write for bytes; any other codec is refused."""
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise UnreadableError(f"calls the codec {shown(encoding)}; only latin1, which stands for bytes, is read")
    return text.encode("latin1")


def make_dict(pairs: Any = ()) -> dict[Any, Any]:
    """What stands in for an OrderedDict: empty, or a list of pairs as Python 2 wrote it."""
    made: dict[Any, Any] = {}
    for key, value in pairs:
        set_items(made, [key], [value])
    return made


def _empty_bytes() -> bytes:
    return b""


NUMPY_NAMES: Names = {
    ("numpy", "ndarray"): _make_ndarray,
    ("numpy", "dtype"): _make_dtype,
    **{(f"{home}.multiarray", "_reconstruct"): _reconstruct for home in HOMES},
    **{(f"{home}.multiarray", "scalar"): _scalar for home in HOMES},
    **{(f"{home}.numeric", "_frombuffer"): _frombuffer for home in HOMES},
    ("collections", "OrderedDict"): make_dict,
    ("_codecs", "encode"): encode,
    # Protocols 0 to 2 write empty bytes, the values of an empty array, as a call without arguments.
    ("builtins", "bytes"): _empty_bytes,
    ("__builtin__", "bytes"): _empty_bytes,
}
