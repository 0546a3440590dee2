"""Runs code at each instruction set that the CPU kernels are compiled for (``ops/csrc/cpu/multiversion.h``).

The library picks its level once a process, so each level gets a process of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

LEVELS = ("baseline", "avx2", "avx512")
ROOT = Path(__file__).resolve().parents[2]


def run_at_level(code: str, level: str) -> bytes:
    """Run Python code in a fresh process whose kernels use at most one instruction set.

    Args:
        code: Runs from the repository's root; what is compared, it writes to ``sys.stdout.buffer``.
        level: One of ``LEVELS``; a processor without it uses the best below it.

    Returns:
        What the code wrote to its standard output.

    Raises:
        RuntimeError: The code failed; the text holds its standard error.
    """
    environment = os.environ | {"MASKRCNN_CPU_LEVEL": level}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"code failed at level {level}:\n{done.stderr.decode(errors='replace')}")
    return done.stdout


def outputs_at_all_levels(code: str) -> set[bytes]:
    """The different outputs of the code over all levels: exactly one where every level computes the same bits."""
    return {run_at_level(code, level) for level in LEVELS}
