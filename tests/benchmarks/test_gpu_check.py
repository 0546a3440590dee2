import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch

from benchmarks.gpu_check import PACKAGES, ROOT, all_steps, chosen, parse_arguments


def test_a_missing_gpu_fails_at_once(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    command = [sys.executable, "-m", "benchmarks.gpu_check", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: no GPU: PyTorch {torch.__version__}, built for ")
    assert not (tmp_path / "out").exists()


def test_the_steps_that_are_asked_for_come_with_what_they_need(tmp_path: Path) -> None:
    steps = all_steps(tmp_path, [], serve=False)
    assert [step.name for step in chosen(steps, "kernels,ops-tests")] == ["machine", "build", "ops-tests", "kernels"]
    assert chosen(steps, None) == steps
    with pytest.raises(SystemExit, match="no step nonsense; there are machine, build, ops-tests"):
        chosen(steps, "nonsense")


def test_wheels_serve_and_help_the_tests(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "lacking-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("lacking_here.py", "")
    given = parse_arguments(["out", "--wheels", str(tmp_path), "--serve"])
    steps = {step.name: step for step in all_steps(tmp_path, given.wheels, given.serve)}
    try:
        assert steps["ops-tests"].environment["PYTHONPATH"].startswith(str(PACKAGES))
        assert (PACKAGES / "lacking_here.py").is_file()
    finally:
        (PACKAGES / "lacking_here.py").unlink()
    assert (steps["serve"].missing, str(tmp_path) in steps["serve"].command) == (None, True)
    without = parse_arguments(["out"])
    assert "not asked for" in str(all_steps(tmp_path, without.wheels, without.serve)[-1].missing)


def test_names_only_what_is_there(tmp_path: Path) -> None:
    """A step that begins with a name that nobody has is noticed here, not on a machine that is paid by the minute."""
    for step in all_steps(tmp_path, [tmp_path], serve=True):
        words = list(step.command)
        if "-m" in words and (module := words[words.index("-m") + 1]).startswith("benchmarks."):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
        for word in words:
            assert not word.startswith("tests/") or (ROOT / word).is_dir()
