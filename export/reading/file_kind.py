"""Tells by its first bytes what a file is, and what to do with one that is no checkpoint."""

import re
import tarfile
from typing import Literal

from export.reading.byte_reader import UnreadableError

FileKind = Literal["zip", "legacy", "pickle"]
# What is asked for of a file: more than the header of a tar.
HEAD_BYTES = 1024

ZIP_MAGIC = b"PK\x03\x04"
# A pickle of protocol 2 that holds PyTorch's magic number and nothing else.
LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
# Protocols 0 and 1 have no magic; these are the ways in which a dictionary or a named class begins.
OLD_PICKLE = re.compile(rb"\(d|\(i|\(lp|\}(q|\(|\.)|\](q|\(|\.)|c[\w.]+\n[\w.]+\n")

OTHER_STARTS = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the checkpoint: run `git lfs pull` where you cloned it",
    b"\x1f\x8b": "is compressed with gzip: unpack it first",
    b"BZh": "is compressed with bzip2: unpack it first",
    b"\xfd7zXZ\x00": "is compressed with xz: unpack it first",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd: unpack it first",
    b"7z\xbc\xaf\x27\x1c": "is compressed with 7-Zip: unpack it first",
    b"PK\x05\x06": "is an empty zip: copy or download it again",
    b"\x89HDF\r\n": "is an HDF5 file, as Keras writes them: only PyTorch's and Caffe2's checkpoints are read",
    b"\x93NUMPY": "is a single NumPy array: pass the checkpoint, which holds all of them under their names",
}
_WEB_PAGE = re.compile(rb"\s*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_XML = re.compile(rb"\s*<(\?xml|error)\b", re.IGNORECASE)


def recognise(head: bytes, size: int) -> FileKind:
    """Say how a file must be read.

    Args:
        head: The first ``HEAD_BYTES`` of the file, or all of it.
        size: Of the file, in bytes.

    Returns:
        "zip" and "legacy" for what ``torch.save`` wrote since and before 1.6, "pickle" for any other pickle.

    Raises:
        UnreadableError: It is none of these; the text says what it is.
    """
    if not head:
        raise UnreadableError("is empty: copy or download it again")
    _refuse_others(head, size)
    if head.startswith(ZIP_MAGIC):
        return "zip"
    if head.startswith(LEGACY_START):
        return "legacy"
    if (head[:1] == b"\x80" and head[1:2] <= b"\x05") or OLD_PICKLE.match(head):
        return "pickle"
    raise UnreadableError(
        "is a text file, not a checkpoint: is it the right one?"
        if _is_text(head)
        else "is of no known kind: neither torch.save nor pickle.dump wrote it, or its start is damaged"
    )


def _refuse_others(head: bytes, size: int) -> None:
    for start, reason in OTHER_STARTS.items():
        if head.startswith(start):
            raise UnreadableError(reason)
    if _WEB_PAGE.match(head):
        raise UnreadableError("is an HTML page: the download failed. Open the address in a browser to see why")
    if _XML.match(head):
        raise UnreadableError("is an XML page: the download failed; its text says why")
    if _is_tar(head):
        raise UnreadableError("is a tar archive: unpack it, and pass the checkpoint that is inside")
    if _is_safetensors(head, size):
        raise UnreadableError(
            "is a safetensors file, which is not read; "
            "convert it: torch.save(safetensors.torch.load_file(name), 'weights.pth')"
        )
    if _is_onnx(head):
        raise UnreadableError("is an ONNX model, a graph without the names of a checkpoint: pass what it was made from")


def _is_tar(head: bytes) -> bool:
    """By the checksum of the header, for the magic is missing in old ones."""
    try:
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _is_safetensors(head: bytes, size: int) -> bool:
    """The length of a JSON object, then the object."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8


def _is_onnx(head: bytes) -> bool:
    """A protocol buffer whose first field is the version, a small number, and the next the producer or the graph."""
    return len(head) > 2 and head[0] == 0x08 and 0 < head[1] < 32 and head[2] in (0x12, 0x1A, 0x3A, 0x42)


def _is_text(head: bytes) -> bool:
    try:
        return head.decode("utf-8", "strict").replace("\n", "").replace("\r", "").replace("\t", "").isprintable()
    except UnicodeDecodeError as error:
        return error.start > HEAD_BYTES - 4  # the last character is cut
