"""Files of torch.save, zip and legacy, that want more than they hold. Written by hand around a pickle of ours."""

import io
import pickle
import struct
import tarfile
import warnings
import zipfile

import torch

from tests.export.hostile.pickles import (
    PROTO2,
    call,
    entry,
    long,
    named,
    small,
    text,
    whole,
)

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
HOOKS = call(named("collections", "OrderedDict"))


def storage(count: bytes, kind: str = "FloatStorage", key: str = "0", legacy: bool = False) -> bytes:
    fields = text("storage") + named("torch", kind) + text(key) + text("cpu") + count
    return pickle.MARK + fields + (pickle.NONE if legacy else b"") + pickle.TUPLE + pickle.BINPERSID


def tensor(stored: bytes, size: bytes, stride: bytes, offset: bytes = small(0), hooks: bytes = HOOKS) -> bytes:
    rebuild = named("torch._utils", "_rebuild_tensor_v2")
    return call(rebuild, stored, offset, size + pickle.TUPLE1, stride + pickle.TUPLE1, pickle.NEWFALSE, hooks)


def archive(program: bytes, compression: int = zipfile.ZIP_STORED, **values: bytes) -> bytes:
    """A zip as torch.save lays it out; ``values`` are the storages, named s0 and so on."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as zipped:
        zipped.writestr("archive/data.pkl", program)
        zipped.writestr("archive/byteorder", "little")
        for key, value in values.items():
            zipped.writestr(f"archive/data/{key[1:]}", value)
        zipped.writestr("archive/version", "3\n")
    return file.getvalue()


def legacy(program: bytes, keys: list[str], *values: tuple[int, bytes]) -> bytes:
    """The layout before PyTorch 1.6: five pickles, then each storage behind its length."""
    start = b"".join(pickle.dumps(item, 2) for item in (LEGACY_MAGIC, 1001, {"little_endian": True}))
    lengths = b"".join(struct.pack("<q", count) + data for count, data in values)
    return start + program + pickle.dumps(keys, 2) + lengths


def running(folder: str) -> dict[str, bytes]:
    """Torch files that make ``folder`` when ``torch.load(weights_only=False)`` reads them."""
    program = whole(entry(call(named("os", "mkdir"), text(folder))))
    return {"in a zip": archive(program), "in a legacy file": legacy(program, [])}


def greedy() -> dict[str, tuple[bytes, str]]:
    """Small torch files that ask for much memory; each with what is said of it."""
    four, one = struct.pack("<f", 1.0), small(1)
    good = whole(entry(tensor(storage(one), one, one)))
    tera = long(10**12)
    large = whole(entry(tensor(storage(one), tera, one)))
    large_legacy = whole(entry(tensor(storage(one, legacy=True), tera, one)))
    declared = whole(entry(tensor(storage(tera), one, one)))
    declared_legacy = whole(entry(tensor(storage(tera, legacy=True), one, one)))
    good_legacy = whole(entry(tensor(storage(one, legacy=True), one, one)))
    bytearray_ = whole(entry(call(named("builtins", "bytearray"), tera)))
    double = tensor(storage(one, "DoubleStorage"), one, one)
    two_kinds = entry(tensor(storage(one), one, one)) + text("b") + double + pickle.SETITEM
    return {
        "a storage larger than its record": (archive(declared, s0=four), "should have 4000000000000 bytes, has 4"),
        "a storage without a record": (archive(good), "should have 4 bytes, has 0"),
        "a storage of two kinds": (archive(whole(two_kinds)), "two descriptions of storage 0"),
        "a storage of no kind": (
            archive(whole(entry(tensor(storage(one, "float32"), one, one)))),
            "torch.float32 is no storage",
        ),
        "a tensor larger than its storage": (archive(large, s0=four), "a tensor of 1000000000000 values"),
        "a tensor past the end": (
            archive(whole(entry(tensor(storage(one), one, one, offset=one))), s0=four),
            "number 2 of a storage that holds 1",
        ),
        "an expanded tensor": (
            archive(whole(entry(tensor(storage(one), tera, small(0)))), s0=four),
            "1000000000000 values up to number 1 of a storage that holds 1",
        ),
        "a negative stride": (archive(whole(entry(tensor(storage(one), one, long(-1)))), s0=four), "do not fit"),
        "hooks": (archive(whole(entry(tensor(storage(one), one, one, hooks=entry(one)))), s0=four), "with hooks"),
        "a bytearray of a size": (archive(bytearray_), "holds a builtins.bytearray"),
        "a tensor by its class": (
            archive(whole(entry(call(named("torch", "FloatTensor"), tera)))),
            "torch.FloatTensor",
        ),
        "a storage by its class": (
            archive(whole(entry(call(named("torch", "FloatStorage"), tera)))),
            "calls what is no function",
        ),
        "a quantised tensor": (
            archive(whole(entry(named("torch._utils", "_rebuild_qtensor")))),
            "holds a torch._utils._rebuild_qtensor",
        ),
        "a bomb": (archive(good, zipfile.ZIP_DEFLATED, s0=bytes(10**7)), "is a compressed zip"),
        "a name twice": (_twice(good, four), "holds archive/data/0 2 times"),
        "overlapping parts": (_overlapping(good, four), "its parts overlap"),
        "protocol 4": (archive(b"\x80\x04" + good[2:], s0=four), "pickle protocol 4"),
        "legacy: a storage larger than the file": (
            legacy(declared_legacy, ["0"], (10**12, four)),
            "announces 4000000000000 bytes",
        ),
        "legacy: a storage of another length": (legacy(declared_legacy, ["0"], (1, four)), "of another length"),
        "legacy: a tensor larger than its storage": (
            legacy(large_legacy, ["0"], (1, four)),
            "a tensor of 1000000000000",
        ),
        "legacy: a storage without values": (legacy(good_legacy, []), "not those that the tensors point at"),
        "legacy: values twice": (legacy(good_legacy, ["0", "0"], (1, four), (1, four)), "not those that the tensors"),
        "legacy: also a tar": (_also_tar(legacy(good_legacy, ["0"], (1, four))), "is a tar archive"),
    }


def _twice(program: bytes, values: bytes) -> bytes:
    file = io.BytesIO(archive(program, s0=values))
    with warnings.catch_warnings(), zipfile.ZipFile(file, "a") as zipped:
        warnings.simplefilter("ignore", UserWarning)  # zipfile says that the name is there already
        zipped.writestr("archive/data/0", values)
    return file.getvalue()


def _overlapping(program: bytes, values: bytes) -> bytes:
    """A directory with 20 names for one part."""
    file = io.BytesIO(archive(program, s0=values, s1=bytes(1000)))
    with zipfile.ZipFile(file, "a") as zipped:
        part = zipped.getinfo("archive/data/1")
        for number in range(2, 20):
            zipped.filelist.append(_renamed(part, f"archive/data/{number}"))
        zipped.writestr("archive/end", "")
    return file.getvalue()


def _renamed(part: zipfile.ZipInfo, name: str) -> zipfile.ZipInfo:
    copy = zipfile.ZipInfo(name)
    copy.file_size, copy.compress_size = part.file_size, part.compress_size
    copy.header_offset, copy.CRC = part.header_offset, part.CRC
    return copy


def _also_tar(content: bytes) -> bytes:
    """The legacy file as the name of a tar's first member, which claims an extended header of 8 GB."""
    header = tarfile.TarInfo()
    header.type, header.size = tarfile.XHDTYPE, 8**11 - 1
    block = bytearray(header.tobuf(tarfile.USTAR_FORMAT))
    block[: len(PROTO2) + 13] = content[: len(PROTO2) + 13]
    block[148:156] = b"        "
    block[148:156] = b"%06o\x00 " % sum(block)
    return bytes(block) + content[512:]


def pickled_module() -> bytes:
    file = io.BytesIO()
    torch.save(torch.nn.Linear(2, 2), file)
    return file.getvalue()
