"""Versions of a model on a real TorchServe: what is registered, rolled to and taken away under load."""

import json
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.addresses import Addresses
from server.management import Management
from server.torchserve import ServerError, TorchServe, start
from tests.served import MODEL, PICTURES, ROOT

pytestmark = pytest.mark.slow
SCALED = (2, 1, 2, 1)  # workers, one after the other
SCALED_DOWN, BATCH = 2, 4  # times, and requests in the hands of each that is ended


def with_version(archive: Path, target: Path, number: str, broken: bool = False) -> None:
    """The same model as another version, as `python -m export --version` writes it."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w") as made:
        for name in source.namelist():
            content = b"not a model" if broken and name == "model.pt" else source.read(name)
            if name == "MAR-INF/MANIFEST.json":
                manifest = json.loads(content)
                manifest["model"]["modelVersion"] = number
                content = json.dumps(manifest).encode()
            made.writestr(name, content)


@pytest.fixture
def store(archive: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    with_version(archive, folder / "demo.mar", "1.0")
    with_version(archive, folder / "demo-2.0.mar", "2.0")
    with_version(archive, folder / "demo-3.0.mar", "3.0", broken=True)
    return folder


@pytest.fixture
def own_server(store: Path, tmp_path: Path) -> Iterator[TorchServe]:
    """Apart from the others' server, whose versions stay as they are."""
    running = start(tmp_path / "home", {MODEL: store / "demo.mar"}, ROOT / "config.properties", Addresses.free())
    try:
        running.wait_until_ready(MODEL)
        yield running
    finally:
        running.stop()


class Load:
    """Clients that ask all the time."""

    def __init__(self, server: TorchServe, clients: int) -> None:
        self._server, self._stop = server, threading.Event()
        self.answers: Counter[tuple[object, object]] = Counter()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        picture = PICTURES[2].read_bytes()
        while not self._stop.is_set():
            try:
                status, body = self._server.request("inference", f"/predictions/{MODEL}", picture, timeout=90)
                answer = json.loads(body)
                self.answers[status, answer.get("version", answer.get("message"))] += 1
            except OSError as error:
                self.answers["lost", repr(error)] += 1

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        time.sleep(2)
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(2)
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_rolling_from_one_version_to_the_next_loses_no_request(own_server: TorchServe) -> None:
    management = Management(own_server, MODEL)
    with Load(own_server, 4) as load:
        assert management.register("demo-2.0.mar") == "2.0"
        management.unregister("1.0")
    assert {each.number: each.default for each in management.versions()} == {"2.0": True}
    assert load.answers.keys() == {(200, "1.0"), (200, "2.0")}, load.answers


def test_versions_are_scaled_rolled_back_and_refused_in_plain_words(own_server: TorchServe) -> None:
    management = Management(own_server, MODEL)
    for call, message in (
        (lambda: management.register("gone.mar"), "must lie in the model store"),
        (lambda: management.register("../demo-2.0.mar"), "named by its file name"),
        (lambda: management.register("demo.mar"), "make register VERSION"),
        (lambda: management.unregister("1.0"), "is the default"),
        (lambda: management.unregister("9.9"), "`make versions` lists"),
        (lambda: management.make_default("9.9"), r"no version 9\.9, only 1\.0"),
        (lambda: management.scale(0), "must be from 1"),
        (lambda: management.register("demo-3.0.mar"), "model_not_loaded"),
        (lambda: Management(own_server, "nope").versions(), "Model not found: nope"),
    ):
        with pytest.raises(ServerError, match=message):
            call()
    assert [each.number for each in management.versions()] == ["1.0"]  # what does not answer was taken away
    with Load(own_server, 4) as load:
        management.register("demo-2.0.mar")
        management.make_default("1.0")
        for workers in SCALED:
            management.scale(workers)
            time.sleep(1)
    versions = {each.number: each for each in management.versions()}
    assert versions["1.0"].default
    assert versions["1.0"].workers == versions["2.0"].workers == ("READY",)
    # What an ended worker had in its hands is told so, and the command asks for it again. TorchServe can also forget
    # what it handed over at that very moment, a batch at most.
    told = {said for status, said in load.answers if isinstance(status, int) and status != 200}
    assert told <= {"Worker scaled down.", "Worker died."}, load.answers
    forgotten = {said: times for (status, said), times in load.answers.items() if status == "lost"}
    assert all("timed out" in said for said in forgotten), load.answers
    assert sum(forgotten.values()) <= SCALED_DOWN * BATCH, load.answers
