"""A model that is published on this machine only."""

import hashlib
import random
from pathlib import Path

import pytest

from export.download import cache, named, zoo
from export.download.transfer import Patience
from export.download.zoo import Checksum, Published

CONTENT = random.Random(0).randbytes(700_000)  # more than two reads
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()
HASTE = Patience(timeout=5, waits=(0.0, 0.0))


class Publish:
    """Puts a model into the table, in place of all others."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, url: str, checksum: Checksum | None = Checksum("sha256", SHA256[:8])) -> Path:  # noqa: B008
        model = Published("family/pets", url, "some-preset", checksum, also=("47",))
        self._monkeypatch.setattr(zoo, "MODELS", (model,))
        return cache.place(model)


def fetch() -> Path:
    return named.resolve("family/pets", HASTE).path


def left_beside(target: Path) -> set[str]:
    return {path.name.removeprefix(target.name) for path in target.parent.iterdir()}
