"""A GPU's lane on the CPU: everything but CUDA itself is the real thing.

Streams and events do nothing, since the CPU does one thing after the other; pinned memory is plain memory full of
rubbish. A graph computes when it is replayed, and spoils what the one before gave, as graphs that share memory do.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from handler.gpu.graphs import Key
from handler.network import Found

RUBBISH = 0xA5


class FakeEvent:
    recorded = waited = 0
    current: torch.device | None = None  # GPU of this thread
    astray = 0  # recorded on whatever GPU this thread began with

    def record(self) -> None:
        FakeEvent.astray += FakeEvent.current is None
        FakeEvent.recorded += 1

    def synchronize(self) -> None:
        FakeEvent.waited += 1


class FakeStream:
    def __init__(self, device: torch.device) -> None:
        self.awaited: list[FakeEvent] = []

    def wait_event(self, event: FakeEvent) -> None:
        self.awaited.append(event)


@contextmanager
def on_stream(stream: FakeStream) -> Iterator[None]:
    assert stream.awaited, "work beside the main stream must wait for what it reads"
    yield


@contextmanager
def on_device(device: torch.device) -> Iterator[None]:
    FakeEvent.current = device
    try:
        yield
    finally:
        FakeEvent.current = None


class FakeGraph:
    shared: Found | None = None  # what the last replay of any of them gave

    def __init__(self, key: Key, find: Callable[[Tensor, Tensor], Found]) -> None:
        self.key, self._find, self.alive = key, find, True

    def replay(self, canvas: Tensor, tables: Tensor) -> Found:
        assert self.alive
        assert (canvas.shape[0], *canvas.shape[2:]) == self.key
        if FakeGraph.shared is not None:
            for output in (*FakeGraph.shared[:-1], *FakeGraph.shared.levels):
                output.fill_(RUBBISH)
        FakeGraph.shared = self._find(canvas, tables)
        return FakeGraph.shared

    def reset(self) -> None:
        self.alive = False


class FakeCapture:
    """Takes the place of ``PassCapture``."""

    def __init__(self, find: Callable[[Tensor, Tensor], Found], *_: object) -> None:
        self._find = find
        self.made: list[Key] = []
        self.refuse: dict[Key, str] = {}

    def start_over(self, largest: Key) -> None:
        self.largest = largest

    def make(self, key: Key) -> FakeGraph:
        if key in self.refuse:
            raise RuntimeError(self.refuse[key])
        assert key.pixels() <= self.largest.pixels()
        self.made.append(key)
        return FakeGraph(key, self._find)


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeEvent.recorded = FakeEvent.waited = FakeEvent.astray = 0
    FakeGraph.shared = None
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "stream", on_stream)
    monkeypatch.setattr(torch.cuda, "device", on_device)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(
        "handler.gpu.staging.pinned_bytes", lambda count: torch.full((count,), RUBBISH, dtype=torch.uint8)
    )
    monkeypatch.setattr("handler.gpu.lane.PassCapture", FakeCapture)
