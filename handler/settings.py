"""What a deployment chooses: the section ``detection:`` of ``model-config.yaml``."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

SECTION = "detection"
MOST_BYTES_OF_A_BATCH = 33_000_000  # a little below max_response_size of our config.properties


@dataclass(frozen=True)
class Settings:
    """Settings of one model in one deployment.

    Attributes:
        score_threshold: Only detections above it are answered; None: the model card's, below which the trace gives
            none anyway.
        mask_threshold: Probability that makes a pixel part of an instance; None: the model card's.
        max_pixels: Pictures with more pixels are refused.
        max_pass_size: Most pictures that share one run of the network; more run one pass after the other.
        max_reply_bytes: Longer replies are refused, each for itself. The replies of a batch travel together and
            TorchServe kills a worker that sends more than ``max_response_size`` of ``config.properties``, so
            ``batchSize`` times this must stay below ``MOST_BYTES_OF_A_BATCH``.
        threads: Threads of the worker; None: ``auto``, its share of the cores.
        workers: Workers that share the machine, from ``maxWorkers`` or ``minWorkers``; not part of the section.
        warm_up_sizes: (height, width) of the pictures that are computed once before the worker is ready;
            empty: one square of the model's own size.
    """

    score_threshold: float | None = None
    mask_threshold: float | None = None
    max_pixels: int = 50_000_000
    max_pass_size: int = 8
    max_reply_bytes: int = 4_000_000
    threads: int | None = None
    workers: int = 1
    warm_up_sizes: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        for name in ("score_threshold", "mask_threshold"):
            value = getattr(self, name)
            _check(value is None or _is_probability(value), name, "a number from 0 to 1", value)
        for name in ("max_pixels", "max_pass_size", "max_reply_bytes", "workers"):
            value = getattr(self, name)
            _check(_is_count(value), name, "an integer of at least 1", value)
        _check(self.threads is None or _is_count(self.threads), "threads", "auto or at least 1", self.threads)
        _check(_are_sizes(self.warm_up_sizes), "warm_up_sizes", "a list of [height, width]", self.warm_up_sizes)

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None) -> "Settings":
        """Read the settings out of a whole ``model-config.yaml``.

        Args:
            config: The parsed file; keys outside the section are TorchServe's own.

        Raises:
            ValueError: A key is unknown or a value does not fit; the text names both.
        """
        config = config or {}
        section = config.get(SECTION) or {}
        _check(isinstance(section, Mapping), SECTION, "keys and values", section)
        known = {field.name for field in fields(cls)} - {"workers"}
        for name in section:
            _check(name in known, f"a key of {SECTION}", f"one of {', '.join(sorted(known))}", name)
        values = dict(section)
        if values.get("threads") == "auto":
            values["threads"] = None
        if _are_sizes(values.get("warm_up_sizes")):
            values["warm_up_sizes"] = tuple((height, width) for height, width in values["warm_up_sizes"])
        most = MOST_BYTES_OF_A_BATCH // max(1, config.get("batchSize") or 1)
        values.setdefault("max_reply_bytes", min(cls.max_reply_bytes, most))
        made = cls(**values, workers=_workers(config))
        _check(
            made.max_reply_bytes <= most, "max_reply_bytes", f"at most {most} at this batchSize", made.max_reply_bytes
        )
        return made

    def thread_count(self) -> int:
        """Threads of this worker: as set, or its share of the cores that the process may use.

        Two pools on the same cores wait for each other at every barrier; a step of 1.4 s became 16 s.
        """
        return self.threads or max(1, available_cores() // self.workers)


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


def _workers(config: Mapping[str, Any]) -> int:
    """Number of workers that TorchServe starts; without a word from the file it is one a core."""
    stated = config.get("maxWorkers") or config.get("minWorkers")
    return available_cores() if stated is None else stated


def _check(holds: bool, name: str, expected: str, value: object) -> None:
    if not holds:
        raise ValueError(f"model-config.yaml: {name} must be {expected}, got {value!r}")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_probability(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _are_sizes(value: object) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(size, list | tuple) and len(size) == 2 and all(map(_is_count, size)) for size in value
    )
