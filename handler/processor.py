"""What this machine's processor can do."""

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_BFLOAT16 = {"amx_bf16", "avx512_bf16", "bf16"}  # two of x86, one of Arm


def instruction_sets(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """The extensions that Linux lists of the processors (x86: ``flags``, Arm: ``Features``).

    Args:
        cpuinfo: Its description of them; where there is none, none are known.
    """
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(
        name for line in lines if line.startswith(("flags", "Features")) for name in line.partition(":")[2].split()
    )


def has_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether it multiplies matrices of bfloat16 itself: AMX, AVX512-BF16 or Arm's extension.

    Args:
        cpuinfo: As in ``instruction_sets``; where there is none, the answer is no.
    """
    return not instruction_sets(cpuinfo).isdisjoint(_BFLOAT16)
