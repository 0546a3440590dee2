"""Page faults of a large tensor, in processes of their own, because PyTorch reads the variable once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
