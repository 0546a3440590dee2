"""That the command that fuzzes says so where nothing was fuzzed, with programs that stand in for a fuzzer."""

from pathlib import Path

import pytest

from tests.fuzz import __main__ as fuzzing

PROGRESS = "echo '#7 DONE cov: 3 ft: 4 corp: 2/5b' >&2\n"
# As libFuzzer leaves a finding: the option that names the folder ends in a slash.
FINDS = 'for each; do case $each in -artifact_prefix=*) echo x > "${each#*=}crash-1";; esac; done\nexit 77\n'


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of the shell in the place of the ops' fuzzer."""
    program = tmp_path / "fuzzer"
    monkeypatch.setattr(fuzzing, "BUILD", tmp_path)
    monkeypatch.setattr(fuzzing, "OPS_FUZZER", program)
    return program


def fuzz(program: Path, text: str) -> str:
    program.write_text(f"#!/bin/sh\n{text}")
    program.chmod(0o700)
    return fuzzing.fuzz("ops", 60, "python")


def test_what_was_reached_is_told(stand_in: Path) -> None:
    assert "ops: 7 executions, cov 3, features 4, corpus 2, 0 findings" in fuzz(stand_in, PROGRESS)


@pytest.mark.parametrize("before", ["", PROGRESS])
def test_a_process_that_fails_without_a_finding_ends_the_run(stand_in: Path, before: str) -> None:
    with pytest.raises(fuzzing.FuzzingError, match=r"(?s)exit code 5 without a finding.*no such library"):
        fuzz(stand_in, f"{before}echo no such library >&2\nexit 5\n")


def test_a_run_without_an_execution_is_a_failure(stand_in: Path) -> None:
    with pytest.raises(fuzzing.FuzzingError, match="nothing was executed"):
        fuzz(stand_in, "exit 0\n")


def test_after_a_finding_the_next_process_goes_on(stand_in: Path) -> None:
    once = f'[ -e "$0.ran" ] && exit 0\ntouch "$0.ran"\n{FINDS}'
    assert "ops: 14 executions, cov 3, features 4, corpus 2, 1 findings" in fuzz(stand_in, PROGRESS + once)


def test_a_finding_that_is_found_again_is_no_failure_of_the_process(stand_in: Path) -> None:
    until_the_third = f'echo x >> "$0.runs"\n[ "$(wc -l < "$0.runs")" = 3 ] && exit 0\n{FINDS}'
    assert "21 executions" in fuzz(stand_in, PROGRESS + until_the_third)


def test_the_exit_code_says_that_a_target_was_not_fuzzed(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in.write_text("#!/bin/sh\nexit 5\n")
    stand_in.chmod(0o700)
    monkeypatch.setattr("sys.argv", ["fuzz", "ops", "--seconds", "60"])
    assert fuzzing.main() == 2
    assert "error: ops: exit code 5" in capsys.readouterr().err
