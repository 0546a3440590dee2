"""What a deployment chooses: the section ``detection:`` of ``model-config.yaml``."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args

from handler.cores import available_cores
from handler.gpu.settings import Dtype, Fusion, Graphs, check_arithmetic
from handler.replies.limits import LongReplies
from handler.setting_checks import are_sizes, check, is_count, is_probability

SECTION = "detection"
MOST_BYTES_OF_A_BATCH = 33_000_000  # a little below max_response_size of our config.properties
MOST_DECODERS = 8  # more only contend for memory: eight decode a full batch at once
_AUTO = ("threads", "fusion", "decode_threads")


@dataclass(frozen=True)
class Settings:
    """Settings of one model in one deployment.

    Attributes:
        score_threshold: Only detections above it are answered; None: the model card's, below which the trace gives
            none anyway.
        mask_threshold: Probability that makes a pixel part of an instance; None: the model card's.
        max_pixels: Pictures with more pixels are refused.
        max_pass_size: Most pictures that share one run of the network; more run one pass after the other. Where the
            section says nothing, no more than ``batchSize``: a GPU is warmed up for that many.
        max_reply_bytes: Longer replies are never sent, each for itself. The replies of a batch travel together and
            TorchServe kills a worker that sends more than ``max_response_size`` of ``config.properties``, so
            ``batchSize`` times this must stay below ``MOST_BYTES_OF_A_BATCH``.
        long_replies: What becomes of a reply that would be longer: ``boxes``, its masks are left out and it says so;
            ``refuse``, it is an error.
        threads: Threads of the worker; None: ``auto``, its share of the cores.
        workers: Workers that share the machine, from ``maxWorkers`` or ``minWorkers``; not part of the section.
        warm_up_sizes: (height, width) of the pictures that are computed once before the worker is ready;
            empty: one square of the model's own size.
        dtype: What the network computes in. float32 is exact; float16 is for GPUs only; bfloat16 is faster on a CPU
            that has it (``handler.processor``).
        tf32: On a GPU, let float32 products drop to the 10 bits of TF32.
        fusion: How the trace is prepared. ``none``: as it is; ``frozen``: weights become constants; ``optimized``: on
            the CPU, and on a GPU in half precision, also bias, sum and ReLU become part of the convolutions. None:
            ``auto``, which is frozen on a GPU and optimized on the CPU.
        graphs: CUDA graphs.
        decode_threads: Pictures that are decoded at a time; None: ``auto``, one a core of the worker, at most 8.
        fast_jpeg: Let the JPEG decoder shrink pictures that are far larger than the network wants: faster, but no
            longer pixel for pixel what training saw.
    """

    score_threshold: float | None = None
    mask_threshold: float | None = None
    max_pixels: int = 50_000_000
    max_pass_size: int = 8
    max_reply_bytes: int = 4_000_000
    long_replies: LongReplies = "boxes"
    threads: int | None = None
    workers: int = 1
    warm_up_sizes: tuple[tuple[int, int], ...] = ()
    dtype: Dtype = "float32"
    tf32: bool = False
    fusion: Fusion | None = None
    graphs: Graphs = Graphs()
    decode_threads: int | None = None
    fast_jpeg: bool = False

    def __post_init__(self) -> None:
        for name in ("score_threshold", "mask_threshold"):
            value = getattr(self, name)
            check(value is None or is_probability(value), name, "a number from 0 to 1", value)
        for name in ("max_pixels", "max_pass_size", "max_reply_bytes", "workers"):
            value = getattr(self, name)
            check(is_count(value), name, "an integer of at least 1", value)
        ways = get_args(LongReplies)
        check(self.long_replies in ways, "long_replies", f"one of {', '.join(ways)}", self.long_replies)
        for name in ("threads", "decode_threads"):
            value = getattr(self, name)
            check(value is None or is_count(value), name, "auto or at least 1", value)
        check(are_sizes(self.warm_up_sizes), "warm_up_sizes", "a list of [height, width]", self.warm_up_sizes)
        check(isinstance(self.fast_jpeg, bool), "fast_jpeg", "true or false", self.fast_jpeg)
        check_arithmetic(self.dtype, self.tf32, self.fusion)

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
        check(isinstance(section, Mapping), SECTION, "keys and values", section)
        known = {field.name for field in fields(cls)} - {"workers"}
        for name in section:
            check(name in known, f"a key of {SECTION}", f"one of {', '.join(sorted(known))}", name)
        values = _without_auto(section)
        batch = config.get("batchSize") or 0  # not in the file: whoever registers the model says it, and not to us
        check(is_count(batch, 0), "batchSize", "an integer of at least 1", batch)
        most = MOST_BYTES_OF_A_BATCH // max(1, batch)
        values.setdefault("max_reply_bytes", min(cls.max_reply_bytes, most))
        values.setdefault("max_pass_size", min(cls.max_pass_size, batch or cls.max_pass_size))
        made = cls(**values, workers=_workers(config))
        check(
            made.max_reply_bytes <= most, "max_reply_bytes", f"at most {most} at this batchSize", made.max_reply_bytes
        )
        return made

    def thread_count(self) -> int:
        """Threads of this worker: as set, or its share of the cores that the process may use.

        Two pools on the same cores wait for each other at every barrier; a step of 1.4 s became 16 s.
        """
        return self.threads or max(1, available_cores() // self.workers)

    def decode_thread_count(self) -> int:
        """Pictures that are decoded at a time: as set, or one a core of the worker, at most ``MOST_DECODERS``."""
        return self.decode_threads or min(MOST_DECODERS, self.thread_count())


def _without_auto(section: Mapping[str, Any]) -> dict[str, Any]:
    """The section as arguments: ``auto`` is None here, lists are tuples."""
    values: dict[str, Any] = {
        name: None if name in _AUTO and value == "auto" else value for name, value in section.items()
    }
    sizes: Any = values.get("warm_up_sizes")
    if are_sizes(sizes):
        values["warm_up_sizes"] = tuple((height, width) for height, width in sizes)
    if "graphs" in values:
        values["graphs"] = Graphs.from_config(values["graphs"])
    return values


def _workers(config: Mapping[str, Any]) -> int:
    """Number of workers that TorchServe starts; without a word from the file it is one a core."""
    stated = config.get("maxWorkers") or config.get("minWorkers")
    return available_cores() if stated is None else stated
