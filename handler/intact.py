"""Whether the weights of an archive are those that were exported."""

from pathlib import Path
from zipfile import ZipFile


def check_intact(model: Path) -> None:
    """Read a model once and compare its checksums: PyTorch does not, and would serve other weights without a word.

    Args:
        model: A trace as ``torch.jit.save`` wrote it, or a package of AOTInductor: both are zip files.

    Raises:
        ValueError: It is damaged; the text names the part.
        OSError: It is not there, or cannot be read.
    """
    try:
        with ZipFile(model) as parts:
            damaged = parts.testzip()
    except (OSError, MemoryError):  # no fault of the file
        raise
    except Exception as error:  # a damaged file makes the reader raise almost anything
        raise ValueError(f"{model} is damaged or cut off: {error}") from error
    if damaged is not None:
        raise ValueError(f"{model} is damaged: the checksum of {damaged} is another")
