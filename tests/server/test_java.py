import stat
from pathlib import Path

import pytest

from server import java

BANNERS = {
    'openjdk version "21.0.8" 2025-07-15': 21,
    'openjdk version "17.0.15" 2025-04-15': 17,
    'java version "1.8.0_402"': 8,
    'openjdk version "25" 2025-09-16': 25,
    "no version in here": 0,
}


def fake_java(home: Path, banner: str) -> Path:
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{banner}' >&2\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return home


@pytest.mark.parametrize(("banner", "version"), BANNERS.items())
def test_reads_the_version_that_java_prints(tmp_path: Path, banner: str, version: int) -> None:
    home = fake_java(tmp_path, banner)
    assert java._major_version(home / "bin" / "java") == version


def test_a_java_that_is_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = fake_java(tmp_path / "old", 'openjdk version "11.0.2"')
    new = fake_java(tmp_path / "new", 'openjdk version "17.0.1"')
    monkeypatch.setenv("JAVA_HOME", str(old))
    monkeypatch.setenv("PATH", f"{new / 'bin'}:/usr/bin:/bin")
    assert java.java_home() == new


def test_no_java_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(java, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="run `make setup`"):
        java.java_home()
