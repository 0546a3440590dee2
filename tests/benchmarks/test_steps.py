"""What the GPU check says of steps that pass, fail, hang, refuse or cannot begin."""

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.steps import Outcome, Step, run_all, table


def python(code: str, name: str = "step", limit: float = 60, **options: Any) -> Step:
    return Step(name, (sys.executable, "-c", code), limit, **options)


def outcome(step: Step, folder: Path, seconds: float = 100) -> Outcome:
    (only,) = run_all([step], folder, folder, seconds)
    return only


def test_a_step_passes_with_its_last_words(tmp_path: Path) -> None:
    found = outcome(python("print('begun'); print('3 passed')", must_say=r"\d+ passed"), tmp_path)
    assert (found.status, found.note) == ("passed", "3 passed")
    assert (tmp_path / "step.log").read_text() == "begun\n3 passed\n"


@pytest.mark.parametrize(
    ("step", "note"),
    [
        (python("import sys; print('broken'); sys.exit(3)"), "exit status 3; broken"),
        (python("print('done')", must_say="0 errors"), "exit status 0; done"),  # it says nothing of what it looked at
        (Step("step", ("no-such-program",), 60), "exit status 127; [Errno 2] No such file or directory"),
        (python("import sys; print('refused'); sys.exit(1)", refusal="never said"), "exit status 1; refused"),
    ],
)
def test_a_step_fails(step: Step, note: str, tmp_path: Path) -> None:
    found = outcome(step, tmp_path)
    assert found.status == "failed"
    assert found.note.startswith(note)


def test_a_step_that_cannot_work_here_is_skipped_with_the_reason(tmp_path: Path) -> None:
    assert outcome(python("raise SystemExit(1)", missing="no tool"), tmp_path) == Outcome(
        "step", "skipped", 0, "no tool"
    )
    refused = outcome(python("print('Device not supported'); raise SystemExit(1)", refusal="Device not.*"), tmp_path)
    assert refused.status == "skipped"
    assert refused.note.endswith("cannot work on this machine: Device not supported")


def test_a_step_that_hangs_is_stopped_with_its_children(tmp_path: Path) -> None:
    child = "import time; time.sleep(2); open('late', 'w')"
    code = f"import subprocess, sys; print('waiting', flush=True); subprocess.run([sys.executable, '-c', {child!r}])"
    found = outcome(python(code, limit=0.7), tmp_path)
    assert (found.status, found.note) == ("failed", "stopped after 1 s; waiting")
    time.sleep(2)
    assert not (tmp_path / "late").exists()


def test_no_step_begins_without_time(tmp_path: Path) -> None:
    found = outcome(python("print('never')"), tmp_path, seconds=1)
    assert (found.status, found.note) == ("failed", "not run: the time was up; run it with --only step")
    assert not (tmp_path / "step.log").exists()


def test_what_needs_a_failed_step_fails_unrun(tmp_path: Path) -> None:
    build = python("raise SystemExit(1)", "build", required=True)
    first, second = run_all([build, python("print('never')", "tests")], tmp_path, tmp_path, 100)
    assert (first.status, second.status, second.note) == ("failed", "failed", "not run: build failed")


def test_the_table_has_a_row_a_step() -> None:
    rows = table([Outcome("build", "passed", 61.4, "link"), Outcome("memcheck", "skipped", 0, "no tool")]).splitlines()
    assert rows[2:] == ["| build | passed | 61 | link |", "| memcheck | skipped | 0 | no tool |"]
