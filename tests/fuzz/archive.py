"""The corpus of a target as it is kept: one zip of inputs, each named by its digest."""

import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.places import CORPUS


@dataclass(frozen=True)
class Corpus:
    """A zip of inputs; none where it does not exist."""

    path: Path

    def inputs(self) -> Iterator[tuple[str, bytes]]:
        if self.path.is_file():
            with zipfile.ZipFile(self.path) as archive:
                for name in archive.namelist():
                    yield name, archive.read(name)

    def unpack(self, folder: Path) -> None:
        for name, data in self.inputs():
            (folder / name).write_bytes(data)

    def write(self, inputs: Iterable[bytes]) -> None:
        """Replace the zip; the same inputs give the same bytes."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(self.path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name, data in sorted((hashlib.sha256(data).hexdigest()[:16], data) for data in {*inputs}):
                archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)


def corpus_of(target: str) -> Corpus:
    """The committed corpus of a target."""
    return Corpus(CORPUS / f"{target}.zip")
