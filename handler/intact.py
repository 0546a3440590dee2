"""Whether the weights of an archive are those that were exported."""

from pathlib import Path
from zipfile import BadZipFile, ZipFile
from zlib import error as ZlibError  # noqa: N812


def check_intact(trace: Path) -> None:
    """Read a trace once and compare its checksums: PyTorch does not, and would serve other weights without a word.

    Args:
        trace: As ``torch.jit.save`` wrote it, a zip file.

    Raises:
        ValueError: It is damaged; the text names the part.
        FileNotFoundError: It is not there.
    """
    try:
        with ZipFile(trace) as parts:
            damaged = parts.testzip()
    except (BadZipFile, ZlibError, EOFError, NotImplementedError) as error:
        raise ValueError(f"{trace} is damaged or cut off: {error}") from error
    if damaged is not None:
        raise ValueError(f"{trace} is damaged: the checksum of {damaged} is another")
