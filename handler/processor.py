"""What this machine's processor can do."""

from pathlib import Path

_BFLOAT16 = {"amx_bf16", "avx512_bf16", "bf16"}  # two of x86, one of Arm


def has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether it multiplies matrices of bfloat16 itself: AMX, AVX512-BF16 or Arm's extension.

    Args:
        cpuinfo: Linux's description of the processors; where there is none, the answer is no.
    """
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return False
    flags = {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()}
    return not flags.isdisjoint(_BFLOAT16)
