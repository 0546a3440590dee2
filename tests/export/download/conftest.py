"""A cache folder and a table of models for each test alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.export.download.file_server import Shelf, serving
from tests.export.download.pets import CONTENT, Publish


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("MASKRCNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with serving(Shelf(CONTENT)) as serving_it:
        yield serving_it


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> "Publish":
    return Publish(monkeypatch)
