"""Every input that fuzzing found, and its smallest corpus, once more: without clang and without atheris."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.fuzz import targets
from tests.fuzz.archive import corpus_of
from tests.fuzz.places import FINDINGS, PYTHON, ROOT
from tests.fuzz.replay import SANITIZERS, replay
from tests.fuzz.targets import run

REPLAY = "build/fuzz/ops-replay"


@pytest.mark.parametrize("target", PYTHON)
def test_what_reads_bytes_keeps_the_contract(target: str) -> None:
    corpus = [data for _, data in corpus_of(target).inputs()]
    assert corpus
    for data in [*corpus, *(path.read_bytes() for path in FINDINGS.glob(f"{target}/*"))]:
        run(target, data)


def test_a_broken_contract_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(targets.TARGETS, "lengths", lambda data: targets.must(data != b"0", "it must not be 0"))
    run("lengths", b"1")
    with pytest.raises(targets.BrokenContractError, match="it must not be 0"):
        run("lengths", b"0")


@pytest.fixture(scope="module")
def program() -> Path:
    """The ops as a program, with the sanitizers of this machine's compiler; ``make test`` has built it already."""
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    command = ["make", "-o", ".venv/.installed", REPLAY]
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return ROOT / REPLAY


def test_the_ops_keep_the_contract(program: Path) -> None:
    """Under AddressSanitizer and UndefinedBehaviorSanitizer, on every input that reached something new."""
    done = replay(program, [])
    assert done.returncode == 0, done.stderr[-3000:]
    count = len([*corpus_of("ops").inputs(), *(FINDINGS / "ops").iterdir()])
    assert done.stdout.startswith(f"{count} inputs\n")
    assert count > 100
    accepted = {op: int(calls) for op, calls in re.findall(r"(?m)^(\w+) accepted (\d+)$", done.stdout)}
    defined = re.findall(r'ops\.def\(\s*"(\w+)\(', (ROOT / "ops/csrc/library.cpp").read_text())
    assert len(defined) == 9
    assert sorted(accepted) == sorted(defined)
    assert min(accepted.values()) > 0, accepted  # a corpus that is only refused proves nothing


@pytest.mark.parametrize("name", SANITIZERS)
def test_the_environment_does_not_change_what_the_sanitizers_are_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "of the environment")
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\necho "${name}"\n')
    program.chmod(0o700)
    assert replay(program, [program]).stdout == f"{SANITIZERS[name]}\n"
