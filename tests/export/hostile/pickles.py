"""Pickles that want to run code, to take all memory or never to end. Written by hand: pickle.dumps is too polite."""

import copyreg
import os
import pickle
import struct
from collections.abc import Callable

import numpy as np

PROTO2 = b"\x80\x02"


class Runs:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.folder,)


def text(value: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()


def small(number: int) -> bytes:
    return pickle.BININT1 + bytes([number])


def long(number: int) -> bytes:
    digits = pickle.encode_long(number)
    return pickle.LONG1 + bytes([len(digits)]) + digits


def named(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def entry(value: bytes, key: str = "a") -> bytes:
    """A dictionary with one entry."""
    return pickle.EMPTY_DICT + text(key) + value + pickle.SETITEM


def whole(program: bytes) -> bytes:
    return PROTO2 + program + pickle.STOP


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + pickle.MARK + b"".join(arguments) + pickle.TUPLE + pickle.REDUCE


DTYPE = named("numpy", "dtype")
FLOAT32 = call(DTYPE, text("f4"), pickle.NEWFALSE, pickle.NEWTRUE)
FLOAT64 = call(DTYPE, text("f8"), pickle.NEWFALSE, pickle.NEWTRUE)
NDARRAY = named("numpy", "ndarray")
RECONSTRUCT = named("numpy.core.multiarray", "_reconstruct")
EMPTY_ARRAY = call(RECONSTRUCT, NDARRAY, pickle.MARK + small(0) + pickle.TUPLE, text("b"))


def array(shape: bytes, dtype: bytes, values: bytes) -> bytes:
    state = small(1) + shape + dtype + pickle.NEWFALSE + values
    return EMPTY_ARRAY + pickle.MARK + state + pickle.TUPLE + pickle.BUILD


def raw(values: bytes) -> bytes:
    return pickle.SHORT_BINBYTES + bytes([len(values)]) + values


ONE = array(small(1) + pickle.TUPLE1, FLOAT32, raw(struct.pack("<f", 1.0)))


def running(folder: str) -> dict[str, bytes]:
    """Pickles that make ``folder`` when ``pickle.loads`` reads them."""
    runs, path = Runs(folder), text(folder)
    objects = np.array([runs, None], dtype=object)
    cases = {f"at the top, protocol {number}": pickle.dumps(runs, number) for number in range(6)}
    for number in (0, 2, 4, 5):
        cases[f"as a weight, protocol {number}"] = pickle.dumps({"model": {"a": runs}}, number)
        cases[f"in an array of objects, protocol {number}"] = pickle.dumps({"model": {"a": objects}}, number)
    lookup = call(named("builtins", "getattr"), named("os", "path"), text("os"))
    make = call(named("builtins", "getattr"), lookup, text("mkdir"))
    return cases | {
        "as a name": whole(pickle.EMPTY_DICT + call(named("os", "mkdir"), path) + small(1) + pickle.SETITEM),
        "beside the weights": whole(entry(call(named("os", "mkdir"), path), "matching_heuristics")),
        "and thrown away": whole(call(named("os", "mkdir"), path) + pickle.POP + entry(ONE)),
        "by INST": f"(dS'a'\n(S'{folder}'\nios\nmkdir\ns.".encode(),
        "by OBJ": whole(entry(pickle.MARK + named("os", "mkdir") + path + pickle.OBJ)),
        "by getattr": whole(entry(call(make, path))),
        "by eval": whole(entry(call(named("builtins", "eval"), text(f"__import__('os').mkdir({folder!r})")))),
        "by a registered extension": _extension(folder),
        "by NumPy": whole(entry(call(named("numpy.testing._private.utils", "runstring"), _mkdir(folder), entry(ONE)))),
    }


def _mkdir(folder: str) -> bytes:
    return text(f"__import__('os').mkdir({folder!r})")


def _extension(folder: str) -> bytes:
    """Names os.mkdir by a number of the registry that a program may have filled."""
    if ("posix", "mkdir") not in copyreg._extension_registry:  # type: ignore[attr-defined]
        copyreg.add_extension("posix", "mkdir", 240)  # type: ignore[arg-type]
    return whole(entry(call(pickle.EXT1 + b"\xf0", text(folder))))


def _doubling(pair: bytes, levels: int) -> bytes:
    """Each level holds the one below twice: few bytes, 2 ** levels paths."""
    program = pickle.EMPTY_LIST if pair == pickle.LIST else pickle.EMPTY_TUPLE
    for _ in range(levels):
        program += pickle.BINPUT + b"\x00" + pickle.POP + pickle.MARK + 2 * (pickle.BINGET + b"\x00") + pair
    return program


def _same_hash(count: int) -> bytes:
    """Integers that all hash alike: each insertion compares with all before it."""
    return pickle.EMPTY_DICT + b"".join(long(i * (2**61 - 1)) + pickle.NONE + pickle.SETITEM for i in range(1, count))


def greedy() -> dict[str, tuple[bytes, str]]:
    """Small pickles that ask for much memory or time, or hold what is no weight; each with what is said of it."""
    tera = long(10**12)
    thousand_tera = pickle.MARK + tera + long(10**3) + pickle.TUPLE
    dtype_state = pickle.MARK + small(3) + text("|") + pickle.NONE
    plain_state = pickle.MARK + small(3) + text("<") + 3 * pickle.NONE + 2 * (pickle.BININT + struct.pack("<i", -1))
    second_state = ONE[len(EMPTY_ARRAY) :]
    return {
        "an array without values": (
            whole(entry(call(RECONSTRUCT, NDARRAY, tera + pickle.TUPLE1, text("b")))),
            "NumPy never",
        ),
        "an array of a subclass": (
            whole(entry(call(RECONSTRUCT, DTYPE, small(0) + pickle.TUPLE1, text("b")))),
            "class",
        ),
        "ndarray itself": (whole(entry(call(NDARRAY, thousand_tera))), "as NumPy never writes it"),
        "a shape without values": (
            whole(entry(array(thousand_tera, FLOAT32, raw(b"1234")))),
            "needs 4000000000000000 b",
        ),
        "a negative shape": (whole(entry(array(long(-1) + pickle.TUPLE1, FLOAT32, raw(b"")))), "tuple of lengths"),
        "a nested shape": (whole(entry(array(_doubling(pickle.TUPLE, 80), FLOAT32, raw(b"")))), "tuple of lengths"),
        "100 dimensions": (
            whole(entry(array(pickle.MARK + 100 * small(1) + pickle.TUPLE, FLOAT32, raw(b"1234")))),
            "short",
        ),
        "an array of objects": (pickle.dumps({"a": np.array([None])}, 2), "dtype O8, whose values may run code"),
        "an array of text": (pickle.dumps({"a": np.array(["x"])}, 2), "dtype U1, whose values are no weights"),
        "an array of records": (pickle.dumps({"a": np.zeros(1, "i4,f4")}, 2), "dtype V8, whose values are no weights"),
        "an array of complex": (pickle.dumps({"a": np.zeros(1, "c8")}, 2), "dtype c8"),
        "an array of dates": (pickle.dumps({"a": np.zeros(1, "M8[s]")}, 2), "dtype M8"),
        "a dtype by description": (whole(entry(call(DTYPE, text("(1000000,1000000)f8")))), "are no weights"),
        "a dtype by list": (whole(entry(call(DTYPE, pickle.EMPTY_LIST))), "dtype a list"),
        "a dtype with fields": (
            whole(entry(FLOAT32 + dtype_state + text("x") + pickle.NONE + pickle.TUPLE + pickle.BUILD)),
            "not that of plain numbers",
        ),
        "a dtype that takes numbers for pointers": (
            whole(entry(FLOAT32 + plain_state + small(0x3F) + pickle.TUPLE + pickle.BUILD)),
            "not that of plain numbers",
        ),
        "a dtype that all arrays share": (whole(entry(call(DTYPE, text("f4")))), "as NumPy never makes it"),
        "an array with two states": (whole(entry(ONE + second_state)), "not NumPy's"),
        "a scalar of 8 bytes in 4": (
            whole(entry(call(named("numpy.core.multiarray", "scalar"), FLOAT64, raw(b"1234")))),
            r"shape \(\) and dtype float64 needs 8 bytes",
        ),
        "another codec": (whole(entry(call(named("_codecs", "encode"), text("x"), text("zlib")))), "codec zlib"),
        "bytes of a size": (whole(entry(call(named("builtins", "bytes"), tera))), "wrong arguments"),
        "a bytearray of a size": (
            whole(entry(call(named("builtins", "bytearray"), tera))),
            "holds a builtins.bytearray",
        ),
        "long bytes": (
            whole(pickle.BINBYTES8 + struct.pack("<Q", 2**60) + b"1234"),
            "announces 1152921504606846976 bytes",
        ),
        "long text": (
            whole(pickle.BINUNICODE8 + struct.pack("<Q", 2**63) + b"1234"),
            "announces 9223372036854775808 b",
        ),
        "a long bytearray": (whole(pickle.BYTEARRAY8 + struct.pack("<Q", 2**38)), "announces 274877906944 bytes"),
        "a long string": (whole(pickle.BINSTRING + struct.pack("<i", -1)), "announces 4294967295 bytes"),
        "a number with many digits": (b"(dS'a'\nI" + 10**5 * b"9" + b"\ns.", "byte 100009: Exceeds the limit"),
        "a doubling key": (whole(entry(_doubling(pickle.TUPLE, 80)) + pickle.EMPTY_TUPLE), "must hold a state dict"),
        "a doubling tuple as a name": (
            whole(pickle.EMPTY_DICT + _doubling(pickle.TUPLE, 80) + pickle.NONE + pickle.SETITEM),
            "has a tuple as a key",
        ),
        "names with the same hash": (whole(_same_hash(10**4)), "has a int as a key"),
        "a doubling list as a weight": (
            whole(entry(_doubling(pickle.LIST, 80))),
            "'a', which must be a tensor, got list",
        ),
        "deep tuples": (whole(entry(pickle.EMPTY_TUPLE + 10**5 * pickle.TUPLE1)), "must be a tensor, got tuple"),
        "deep lists": (whole(entry(pickle.EMPTY_LIST + 10**5 * pickle.EMPTY_LIST + 10**5 * pickle.APPEND)), "got list"),
        "deep marks": (whole(10**5 * pickle.MARK), "stack is empty"),
        "a list in itself": (
            whole(entry(pickle.EMPTY_LIST + pickle.BINPUT + b"\x00" + pickle.BINGET + b"\x00" + pickle.APPEND)),
            "got list",
        ),
        "a name twice": (whole(entry(ONE) + text("a") + ONE + pickle.SETITEM), "holds the key 'a' twice"),
        "a number as a name": (whole(pickle.EMPTY_DICT + small(1) + ONE + pickle.SETITEM), "has 1 where the name"),
        "a function as a weight": (whole(entry(NDARRAY)), "must be a tensor, got class"),
        "an unfinished array": (whole(entry(EMPTY_ARRAY)), "an array without values"),
        "a persistent id": (whole(entry(text("x") + pickle.BINPERSID)), "points at values outside"),
        "a text persistent id": (b"(dS'a'\nPx\ns.", "instruction PERSID"),
        "an out-of-band buffer": (whole(entry(pickle.NEXT_BUFFER)), "instruction NEXT_BUFFER"),
        "a call of no function": (whole(text("os.mkdir") + pickle.EMPTY_TUPLE + pickle.REDUCE), "calls a str"),
        "a state for a list": (whole(pickle.EMPTY_LIST + pickle.EMPTY_DICT + pickle.BUILD), "a state for a list"),
        "escapes for a terminal": (whole(named("\x1b[31mos", "mkdir")), r"holds a \?\[31mos.mkdir"),
    }


def harmless() -> dict[str, bytes]:
    """Pickles with one weight "a" that would hurt Python's unpickler, or a reader who looks at all of them."""
    far = pickle.LONG_BINPUT + struct.pack("<I", 2**32 - 1)
    return {
        "a far place to remember": whole(entry(ONE) + far),
        "a doubling list beside the weights": whole(
            pickle.EMPTY_DICT
            + (text("model") + entry(ONE) + pickle.SETITEM)
            + (text("extra") + _doubling(pickle.LIST, 80) + pickle.SETITEM)
        ),
    }
