"""Reads bytes of a file that may lie about its lengths, and says why a file is not read."""

from typing import Any, BinaryIO

# Of a name in the file, and of a sentence with such names in it.
MOST_CHARACTERS_SHOWN = 80
LONGEST_DETAIL = 200
SAVE_AGAIN = "Where you trained, run: torch.save(model.state_dict(), 'weights.pth')"


class UnreadableError(Exception):
    """Why a file is not read; the text continues a sentence that begins with "checkpoint weights.pth"."""


def damaged(detail: str) -> UnreadableError:
    """The error for a file whose bytes contradict themselves."""
    text = shown(detail, LONGEST_DETAIL)
    return UnreadableError(f"is cut off or damaged ({text}): copy or download it again and compare the sizes")


def shown(value: Any, most: int = MOST_CHARACTERS_SHOWN) -> str:
    """A piece of the file for a message: short, and without characters that a terminal would obey."""
    if not isinstance(value, (str, int)) or (isinstance(value, int) and abs(value) >= 2**64):
        return f"a {type(value).__name__}"
    return "".join(c if c.isprintable() else "?" for c in str(value)[:most])


class ByteReader:
    """Reads from a file of known size; refuses a length before the bytes are asked for.

    Attributes:
        size: Of the file, in bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        self.require(count)
        data = self._file.read(count)
        if len(data) != count:  # the file became shorter since
            raise damaged(f"it ends at byte {self.position}")
        return data

    def line(self) -> bytes:
        """The bytes up to the next newline, without it."""
        data = self._file.readline()
        if not data.endswith(b"\n"):
            raise damaged(f"it ends at byte {self.position}")
        return data[:-1]

    def skip(self, count: int) -> None:
        """Pass over ``count`` bytes."""
        self.require(count)
        self._file.seek(count, 1)

    def require(self, count: int) -> None:
        """Refuse to go on unless ``count`` bytes are left."""
        if count > self.size - self.position:
            raise damaged(f"at byte {self.position} it announces {count} bytes and has {self.size - self.position}")

    @property
    def position(self) -> int:
        """Number of bytes read so far."""
        return self._file.tell()
