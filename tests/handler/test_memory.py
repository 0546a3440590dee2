"""Page faults of a large tensor and what is given back, in processes of their own: the process's memory is measured."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from handler.memory import SECONDS_BETWEEN_TRIMS, Trimming

PROGRAM = """
import resource
from handler.worker import Worker  # all that a worker imports, PyTorch included, comes first
from handler.memory import use_huge_pages
import torch

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

use_huge_pages()
before = faults()
torch.ones(64 * 2**18)  # 64 MiB: 16384 small pages, 32 huge ones
print(faults() - before)
"""
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(
    not HUGE_PAGES.is_file() or "[madvise]" not in HUGE_PAGES.read_text(), reason="the kernel gives none on request"
)
@pytest.mark.parametrize(("already_set", "low", "high"), [(None, 0, 8_000), ("0", 16_000, 20_000)])
def test_large_tensors_take_few_page_faults(already_set: str | None, low: int, high: int) -> None:
    inherited = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    chosen = {} if already_set is None else {"THP_MEM_ALLOC_ENABLE": already_set}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=inherited | chosen, capture_output=True, text=True, check=True)
    assert low <= int(done.stdout) <= high


HOLES = """
from pathlib import Path
from handler.memory import SECONDS_BETWEEN_TRIMS, Trimming

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1000

moments = iter([0.0, SECONDS_BETWEEN_TRIMS])
trimming = Trimming(lambda: next(moments))
before = resident()
pieces = [bytes(100_000) for _ in range(2000)]
kept = pieces[::20]  # between those that stay are holes
held = pieces[-1]
del pieces
full = resident()
trimming.after_batch()
print(full - before, resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back on request")
def test_holes_in_the_heap_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    full, left = map(int, done.stdout.split())
    assert full > 100 > 60 > left


def test_memory_is_given_back_now_and_then() -> None:
    now, trimmed = [0.0], list[float]()
    trimming = Trimming(lambda: now[0], lambda: trimmed.append(now[0]))
    for moment in (1.0, SECONDS_BETWEEN_TRIMS, SECONDS_BETWEEN_TRIMS + 1, 2 * SECONDS_BETWEEN_TRIMS + 1):
        now[0] = moment
        trimming.after_batch()
    assert trimmed == [SECONDS_BETWEEN_TRIMS, 2 * SECONDS_BETWEEN_TRIMS + 1]
