"""What the management commands make of TorchServe's answers, without a server."""

import json
from pathlib import Path
from typing import Any

import pytest

from server.addresses import Addresses
from server.management import MOST_TRIES, Management
from server.torchserve import ServerError, TorchServe

STUMBLED = 500, b'{"code": 500, "type": "ConcurrentModificationException"}'
FOUND = 200, json.dumps([{"modelVersion": "1.0", "modelUrl": "demo.mar", "workers": []}]).encode()


class Stumbling(TorchServe):
    """A server that meets its own list of workers as it changes, the first times."""

    def stumble(self, times: int) -> "Stumbling":
        self.__dict__["answers"] = [STUMBLED] * times
        return self

    def request(self, *_: Any, **__: Any) -> tuple[int, bytes]:
        answers: list[tuple[int, bytes]] = self.__dict__["answers"]
        return answers.pop() if answers else FOUND


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stumbling:
    monkeypatch.setattr("server.management.time.sleep", lambda _: None)
    return Stumbling(tmp_path, tmp_path, 0, "", Addresses())


def test_a_server_that_stumbles_over_its_workers_is_asked_again(server: Stumbling) -> None:
    (version,) = Management(server.stumble(MOST_TRIES - 1), "demo").versions()
    assert (version.number, version.default) == ("1.0", True)


def test_one_that_stumbles_for_ever_is_an_error(server: Stumbling) -> None:
    with pytest.raises(ServerError, match="ConcurrentModificationException"):
        Management(server.stumble(MOST_TRIES), "demo").versions()


def test_an_archive_is_registered_once(server: Stumbling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Management, "_numbers", lambda _: set())
    with pytest.raises(ServerError, match="ConcurrentModificationException"):
        Management(server.stumble(1), "demo").register("demo.mar")
