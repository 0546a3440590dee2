"""A connection that breaks off: gone on from where it is safe, begun anew where not."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from export.download import named, transfer
from export.download.transfer import Patience
from export.errors import ExportError
from tests.export.download.file_server import Shelf
from tests.export.download.pets import CONTENT, Publish, fetch, left_beside


def test_goes_on_where_the_connection_broke_off(
    shelf: Shelf, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.cuts = [300_000, 250_000, 100_000]
    publish(shelf.url)
    one_wait = Patience(waits=(0.0,))  # after each try that came further
    assert named.resolve("family/pets", one_wait).path.read_bytes() == CONTENT
    assert shelf.ranges() == [None, "bytes=300000-", "bytes=550000-", "bytes=650000-"]
    assert shelf.requests[1][1]["If-Range"] == '"first"'
    assert "the connection broke off after 300000 of 700000 bytes; trying again in 0 s" in capsys.readouterr().err


def test_goes_on_in_the_next_call(shelf: Shelf, publish: Publish) -> None:
    shelf.cuts = [300_000]
    target = publish(shelf.url)
    with pytest.raises(ExportError, match="broke off after 300000 of 700000 bytes"):
        named.resolve("family/pets", Patience(waits=()))
    assert left_beside(target) == {".partial", ".partial.version", ".lock"}
    assert fetch().read_bytes() == CONTENT
    assert shelf.ranges() == [None, "bytes=300000-"]


def test_a_killed_process_leaves_what_the_next_goes_on_from(shelf: Shelf, publish: Publish, tmp_path: Path) -> None:
    shelf.cuts = [300_000]
    target = publish(shelf.url)
    # Its connection is cut, and it dies while it waits for its next try.
    source = (
        "import os; from export.download import transfer as t; from pathlib import Path; t.time.sleep = os._exit;"
        f"t.transfer({shelf.url!r}, t.Partial(Path({str(target)!r} + '.partial')), t.Patience(), print, print)"
    )
    target.parent.mkdir(parents=True)
    assert subprocess.run([sys.executable, "-c", source], stdout=subprocess.DEVNULL, check=False).returncode == 1
    assert fetch().read_bytes() == CONTENT
    assert shelf.ranges() == [None, "bytes=300000-"]


def test_gives_up_where_no_try_brings_more(shelf: Shelf, publish: Publish) -> None:
    shelf.cuts, shelf.ignores_range = [300_000] * 9, True
    publish(shelf.url)
    with pytest.raises(ExportError, match="broke off after 300000 of 700000 bytes"):
        fetch()
    assert len(shelf.requests) == 3  # one, and two tries that came no further


def test_begins_anew_where_the_server_ignores_ranges(shelf: Shelf, publish: Publish) -> None:
    shelf.cuts, shelf.ignores_range = [300_000], True
    publish(shelf.url)
    assert fetch().read_bytes() == CONTENT
    assert shelf.ranges() == [None, "bytes=300000-"]


@pytest.mark.parametrize("part", ["bytes 0-699999/700000", "bytes 300000-699998/700000", "items 3-4/5"])
def test_begins_anew_where_another_part_comes(shelf: Shelf, publish: Publish, part: str) -> None:
    shelf.cuts, shelf.content_range = [300_000], part
    publish(shelf.url, None)
    assert fetch().read_bytes() == CONTENT
    assert shelf.ranges() == [None, "bytes=300000-", None]


@pytest.mark.parametrize("ignores_if_range", [False, True])
@pytest.mark.parametrize("header", ["ETag", "Last-Modified"])
def test_begins_anew_where_the_file_has_changed(
    shelf: Shelf, publish: Publish, header: str, ignores_if_range: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.cuts, shelf.headers, shelf.ignores_if_range = [300_000], {header: '"first"'}, ignores_if_range
    publish(shelf.url, None)

    def change(seconds: float) -> None:
        shelf.content, shelf.headers = CONTENT[::-1], {header: '"second"'}

    monkeypatch.setattr(transfer.time, "sleep", change)
    assert fetch().read_bytes() == CONTENT[::-1]
    assert shelf.ranges() == [None, "bytes=300000-", None][: 3 if ignores_if_range else 2]


def test_waits_for_a_network_that_was_just_there(
    shelf: Shelf, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.cuts = [300_000]
    publish(shelf.url)
    with monkeypatch.context() as without_network:

        def sleep(seconds: float) -> None:
            if seconds == 2.0:
                without_network.undo()
            else:
                without_network.setattr(socket, "create_connection", refuse)

        def refuse(*_: object, **__: object) -> None:
            raise ConnectionRefusedError

        without_network.setattr(transfer.time, "sleep", sleep)
        path = named.resolve("family/pets", Patience(waits=(1.0, 2.0))).path
    assert path.read_bytes() == CONTENT
    assert len(shelf.requests) == 2


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"weak"'}])
def test_does_not_mix_what_may_be_two_versions(shelf: Shelf, publish: Publish, headers: dict[str, str]) -> None:
    shelf.cuts, shelf.headers = [300_000], headers
    publish(shelf.url)
    assert fetch().read_bytes() == CONTENT
    assert shelf.ranges() == [None, None]


def test_begins_anew_where_there_is_no_more_to_come(shelf: Shelf, publish: Publish) -> None:
    shelf.statuses = [416]
    target = publish(shelf.url)
    target.parent.mkdir(parents=True)
    target.with_name(target.name + ".partial").write_bytes(CONTENT + b"more")
    target.with_name(target.name + ".partial.version").write_text('"first"')
    assert fetch().read_bytes() == CONTENT
    assert shelf.ranges() == ["bytes=700004-", None]
