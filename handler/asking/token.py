"""The inference key that goes with each request."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from handler.asking.failures import UnreachableError


@dataclass(frozen=True)
class Token:
    """Where the key comes from; a file is read for each request, because a key lives only an hour.

    Attributes:
        given: The key itself.
        file: TorchServe's ``key_file.json``, or a file that holds the key alone.
    """

    given: str | None = None
    file: Path | None = None

    def header(self) -> dict[str, str]:
        """The header for a request now; none where no token was given.

        Raises:
            UnreachableError: The file holds no key.
        """
        key = self.given or (read_token(self.file) if self.file else None)
        return {"Authorization": f"Bearer {key}"} if key else {}


def read_token(path: Path) -> str:
    """Read a key; a file that is just being written is read again for up to half a second.

    Raises:
        UnreachableError: There is none.
    """
    for last in (*[False] * 10, True):
        try:
            return _key(path.read_text().strip())
        except FileNotFoundError as error:
            raise UnreachableError(f"{path} holds no inference key ({error})") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            if last:
                raise UnreachableError(f"{path} holds no inference key ({error})") from None
            time.sleep(0.05)
    raise AssertionError("unreachable")


def _key(text: str) -> str:
    key = str(json.loads(text)["inference"]["key"]) if text.startswith("{") else text
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("it is empty, or no single word")
    return key
