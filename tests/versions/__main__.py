"""One build of the ops and one ``.mar`` under several versions of PyTorch.

Run ``make pytorch-versions``. For each version: a virtual environment of its own in ``build/pytorch`` (several GB,
kept), the answers of the archive to the demo pictures beside those of this PyTorch, and all tests of the ops, with the
library that lies in ``ops/lib``. Exit code 1: an answer differs by more than rounding, or a test fails.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe
from benchmarks.report import Report, Row
from tests.differences import Differences, largest
from tests.served import PICTURES, ROOT

ENVIRONMENTS = ROOT / "build" / "pytorch"
ALSO = ("jsonschema", "numpy", "pillow", "pycocotools", "pytest")  # what the handler and the tests of the ops import
MOST = Differences(score=1e-4, box=0.01, mask=0.01)  # another version's oneDNN may round otherwise


def environment(version: str) -> Path:
    """The Python of a virtual environment with that PyTorch."""
    folder = ENVIRONMENTS / version
    python = folder / "bin" / "python"
    if not (folder / ".installed").is_file():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        wanted = [f"torch=={version}", *(line for line in pinned() if line.partition("==")[0] in ALSO)]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
        (folder / ".installed").touch()
    return python


def pinned() -> list[str]:
    """``name==version`` of all requirements."""
    texts = [(ROOT / name).read_text() for name in ("requirements.txt", "requirements-dev.txt")]
    return re.findall(r"(?m)^[\w-]+==\S+", "\n".join(texts))


def answers(python: Path, folder: Path) -> list[Any]:
    """Parsed replies to the demo pictures."""
    command = [python, "-m", "tests.versions.answers", folder, *PICTURES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{python} does not answer: {done.stderr.strip()}")
    replies: list[Any] = json.loads(done.stdout)
    return replies


def op_tests(python: Path) -> tuple[bool, str]:
    """Whether they pass, and pytest's last line."""
    command = [python, "-m", "pytest", "tests/ops", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if " passed" in line or " failed" in line]
    return done.returncode == 0, lines[-1] if lines else done.stdout[-300:] + done.stderr[-300:]


def row(version: str, folder: Path, expected: list[Any]) -> tuple[bool, Row]:
    """What one version shows."""
    python = environment(version)
    worst = largest(answers(python, folder), expected)
    passed, said = op_tests(python)
    good = passed and worst.within(MOST)
    shown = {f"largest difference, {name}": value for name, value in asdict(worst).items()}
    return good, {"PyTorch": version, "tests of the ops": said, **shown, "holds": good}


def main() -> None:
    """Prove and print; the exit code says whether all holds."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.versions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("versions", nargs="+", help="of PyTorch, as the package index names them")
    parser.add_argument("--archive", type=Path, default=ROOT / "model_store" / "demo.mar")
    parser.add_argument("--out", type=Path, help="FILE.json; Markdown beside it")
    arguments = parser.parse_args()
    report = Report(f"One build of the ops and one .mar, made with PyTorch {torch.__version__}", describe())
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(arguments.archive) as packed:
            packed.extractall(folder)
        expected = answers(Path(sys.executable), Path(folder))
        rows = [row(version, Path(folder), expected) for version in arguments.versions]
    detections = sum(len(reply["detections"]) for reply in expected)
    report.notes.append(f"{len(expected)} pictures, {detections} detections.")
    report.add("Versions", [each for _, each in rows], arguments.out)
    print(report.markdown())
    sys.exit(not all(good for good, _ in rows))


if __name__ == "__main__":
    main()
