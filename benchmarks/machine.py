"""Where figures come from: the machine, as a benchmark's report names it."""

import os
import platform
import shutil
import subprocess
from datetime import date
from pathlib import Path

import torch

Facts = dict[str, str | int | float | None]
# As found: nothing here ever changes a setting of the card.
_ASKED = ("driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit", "temperature.gpu", "memory.used")


def describe(device: torch.device | None = None) -> Facts:
    """The machine.

    Args:
        device: Where the work ran; a GPU is described, too.
    """
    facts: Facts = {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "load_before": round(os.getloadavg()[0], 1),  # of a minute: above 0, something else ran, too
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    return facts | _gpu(device) if device is not None and device.type == "cuda" else facts


def as_line(facts: Facts) -> str:
    """All that is known, on one line."""
    return ", ".join(f"{key} {value}" for key, value in facts.items() if value is not None)


def gpu_memory_mb() -> float | None:
    """Memory of the first GPU that is taken by all processes together; None where nobody can say."""
    answer = _said(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"], line=0)
    return float(answer) if answer and answer.strip().isdigit() else None


def _gpu(device: torch.device) -> Facts:
    properties = torch.cuda.get_device_properties(device)
    return {
        "gpu": properties.name,
        "gpus": torch.cuda.device_count(),
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_mb": properties.total_memory // 10**6,
        "l2_mb": properties.L2_cache_size // 10**6,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "nvcc": _said(["nvcc", "--version"], line=-2),
    } | _state()


def _state() -> Facts:
    answer = _said(["nvidia-smi", f"--query-gpu={','.join(_ASKED)}", "--format=csv,noheader"], line=0)
    return dict(zip(_ASKED, answer.split(", "), strict=False)) if answer else {}


def _said(command: list[str], line: int) -> str | None:
    """One line of what a command prints; None where it cannot be asked."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    lines = done.stdout.splitlines()
    return lines[line].strip() if done.returncode == 0 and lines[line:] else None


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def main() -> None:
    """One fact a line."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for key, value in describe(device).items():
        print(f"{key} {value}")


if __name__ == "__main__":
    main()
