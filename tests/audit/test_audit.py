"""``make audit``: what is installed, what the table says of it, what the index adds."""

import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.audit import __main__ as command
from tests.audit.advisories import Advisory, said_by_index, table, unknown_to
from tests.audit.inventory import UNTOLD, Component, bundled_jars, installed_packages, libraries_of

ADVISORY = Advisory("CVE-0000-1", "thing", "4.1.59", "about", "why", "https://example.com")


@pytest.mark.parametrize(
    ("version", "verdict"),
    [
        ("4.1.53.Final", "held off"),
        ("4.1.59.Final", "fixed"),
        ("4.1.100.Final", "fixed"),  # not compared as text
        ("4.1.58+cpu", "held off"),
        (UNTOLD, "held off"),
    ],
)
def test_versions_are_compared_as_versions(version: str, verdict: str) -> None:
    assert ADVISORY.verdict(version) == verdict
    if verdict != "fixed":
        assert replace(ADVISORY, exposed=True).verdict(version) == "applies"


def test_the_table_judges_what_is_there() -> None:
    _, advisories = table()
    present = {each.name: each.version for each in [*installed_packages(), *bundled_jars()]}
    assert {each.component for each in advisories} <= present.keys()
    assert len({(each.id, each.component) for each in advisories}) == len(advisories)
    for each in advisories:
        assert each.source.startswith("https://")
        if each.verdict(present[each.component]) != "fixed":
            assert each.why, each.id
    exposed = [each for each in advisories if each.verdict(present[each.component]) == "applies"]
    assert {each.component for each in exposed} == {"netty"}  # a new one wants a decision


def test_the_jars_of_torchserve_tell_their_versions() -> None:
    jars = {each.name: each.version for each in bundled_jars()}
    assert jars["netty"] == "4.1.53.Final"
    assert jars["log4j-core"] == "2.17.1"
    assert jars["gson"] == "2.10.1"


def test_a_jar_that_tells_nothing_is_listed_as_such(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.jar", "w") as jar:
        jar.writestr("org/yaml/snakeyaml/Yaml.class", b"")
        jar.writestr("META-INF/io.netty.versions.properties", "netty-codec-http.version=4.2.1.Final\n")
    assert libraries_of(tmp_path / "a.jar") == [
        Component("netty", "4.2.1.Final", "jar"),
        Component("snakeyaml", UNTOLD, "jar"),
    ]


@pytest.fixture
def index() -> Iterator[tuple[str, dict[str, Any]]]:
    """An index of our own: its address, and what it answers by path."""
    answers: dict[str, Any] = {}

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 (the name is http.server's)
            body = json.dumps(answers.get(self.path)).encode()
            self.send_response(200 if self.path in answers else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", answers
        server.shutdown()


def test_what_the_index_knows_is_asked_for_the_version(index: tuple[str, dict[str, Any]]) -> None:
    address, answers = index
    known = [{"id": "PYSEC-1", "aliases": ["GHSA-x", "CVE-0000-1"]}, {"id": "PYSEC-2", "aliases": []}]
    answers["/thing/1.0/json"] = {"vulnerabilities": [*known, {"id": "PYSEC-3", "withdrawn": "2026-01-01"}]}
    answers["/none/1.0/json"] = {"vulnerabilities": []}
    answers["/silent/1.0/json"] = {"info": {}}
    said = {name: said_by_index(Component(name, "1.0+cpu", "package"), address) for name in ("thing", "none", "silent")}
    assert said == {"thing": ["CVE-0000-1", "PYSEC-2"], "none": [], "silent": None}
    assert said_by_index(Component("unknown", "1.0", "package"), address) is None
    assert unknown_to([ADVISORY], said["thing"] or []) == ["PYSEC-2"]


@pytest.mark.parametrize(("known", "code"), [([], 0), (["CVE-9999-1"], 1)])
def test_what_the_table_does_not_judge_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], known: list[str], code: int
) -> None:
    monkeypatch.setattr("sys.argv", ["audit"])
    monkeypatch.setattr(command, "installed_packages", lambda: [Component("pillow", "13.0.0", "package")])
    monkeypatch.setattr(command, "said_by_index", lambda _: known)
    assert command.main() == code
    said = capsys.readouterr().out
    assert "the package index answered for 1 of 1 packages" in said
    assert ("not in the table: pillow 13.0.0: CVE-9999-1" in said) == bool(code)


def test_offline_nobody_is_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["audit", "--offline"])
    monkeypatch.setattr(command, "said_by_index", lambda _: pytest.fail("asked"))
    assert command.main() == 0
    assert "netty" in capsys.readouterr().out
