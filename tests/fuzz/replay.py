"""Gives inputs to a program of the ops once: ``python -m tests.fuzz.replay PROGRAM [FILE ...]``; without one, all kept.

To a Python target: ``python -m tests.fuzz.replay pictures FILE``.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.archive import corpus_of
from tests.fuzz.places import FINDINGS, PYTHON

# What the sanitizers are told, of the ops and of PyTorch under them, which is not built with any; whatever else the
# environment of a shell or of CI tells them.
SANITIZERS = {
    "OMP_NUM_THREADS": "1",
    "ASAN_OPTIONS": "max_allocation_size_mb=64:allocator_may_return_null=1:detect_leaks=0:alloc_dealloc_mismatch=0",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1:max_allocation_size_mb=1024:allocator_may_return_null=1",
}


def replay(program: Path, inputs: list[Path]) -> subprocess.CompletedProcess[str]:
    """Run a program of the ops on files, or on the committed corpus and all findings of the past.

    Returns:
        What it printed: the names as it came to them, what a sanitizer said, the number of inputs, and of each op how
        many calls it accepted.
    """
    with tempfile.TemporaryDirectory() as folder:
        if not inputs:
            corpus_of("ops").unpack(Path(folder))
            inputs = [Path(folder), FINDINGS / "ops"]
        command = [program.absolute(), *inputs]
        return subprocess.run(command, env=os.environ | SANITIZERS, capture_output=True, text=True, check=False)


def main() -> int:
    program, *files = sys.argv[1:]
    if program in PYTHON:
        from tests.fuzz.targets import run

        for file in files:
            run(program, Path(file).read_bytes())
        return 0
    done = replay(Path(program), [Path(file) for file in files])
    print(done.stderr[-5000:] if done.returncode else done.stdout, end="")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
