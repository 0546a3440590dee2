"""How many cores a worker may count on."""

import os
from pathlib import Path


def available_cores() -> int:
    """Cores that this process may use: its affinity, and the quota of its container where there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, container_cores(Path("/sys/fs/cgroup/cpu.max")) or cores)


def container_cores(cpu_max: Path) -> int | None:
    """Cores that a container's quota amounts to, rounded up; None without a quota.

    Args:
        cpu_max: The file ``cpu.max`` of its control group (version 2).
    """
    try:
        quota, period = cpu_max.read_text().split()
        return max(1, -(-int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return None
