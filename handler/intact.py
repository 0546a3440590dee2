"""Whether the weights of an archive are those that were exported."""

from pathlib import Path
from zipfile import ZipFile


def check_intact(trace: Path) -> None:
    """Read a trace once and compare its checksums: PyTorch does not, and would serve other weights without a word.

    Args:
        trace: As ``torch.jit.save`` wrote it, a zip file.

    Raises:
        ValueError: It is damaged; the text names the part.
        OSError: It is not there, or cannot be read.
    """
    try:
        with ZipFile(trace) as parts:
            damaged = parts.testzip()
    except (OSError, MemoryError):  # no fault of the file
        raise
    except Exception as error:  # a damaged file makes the reader raise almost anything
        raise ValueError(f"{trace} is damaged or cut off: {error}") from error
    if damaged is not None:
        raise ValueError(f"{trace} is damaged: the checksum of {damaged} is another")
