"""The numbers that a worker reports of each batch: one table for the code, the server and the README.

Seconds, because TorchServe's histograms have fixed buckets from 0.005 to 10, which suit seconds and small counts. On
a GPU the seconds of a step are the host's, which only starts it; the GPU's own show in the waits.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Literal, Protocol, get_args

from handler.errors import Code
from handler.requests.options import Format


@dataclass(frozen=True)
class Label:
    """What tells the series of one metric apart.

    Attributes:
        name: As Prometheus sees it.
        values: All that there are; none comes from a client.
    """

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Metric:
    """One number as Prometheus sees it.

    Attributes:
        kind: ``counter`` adds up, ``histogram`` keeps a distribution.
        unit: ``count`` or ``s``, as TorchServe spells them.
        meaning: One line for the README.
        label: A series for each of its values; None: one series. TorchServe keeps the labels of a metric's first
            use, so every use of it has the same.
    """

    kind: Literal["counter", "histogram"]
    unit: Literal["count", "s"]
    meaning: str
    label: Label | None = None


CODES = Label("code", get_args(Code))
EXPLANATION = "explanation"
FORMATS = Label("format", (*get_args(Format), EXPLANATION))

METRICS = {
    "maskrcnn_batch_size": Metric("histogram", "count", "requests that came in one batch"),
    "maskrcnn_pass_size": Metric("histogram", "count", "pictures that shared one run of the network"),
    "maskrcnn_batch_seconds": Metric("histogram", "s", "requests to replies, one batch: all that the worker does"),
    "maskrcnn_decode_seconds": Metric("histogram", "s", "requests to options and pixels, all of a batch"),
    "maskrcnn_upload_seconds": Metric("histogram", "s", "pixels on their way to the GPU, one pass; about 0 on the CPU"),
    "maskrcnn_place_seconds": Metric("histogram", "s", "pixels to canvas, one pass"),
    "maskrcnn_detect_seconds": Metric("histogram", "s", "canvas to boxes, one pass"),
    "maskrcnn_wait_seconds": Metric("histogram", "s", "waiting for boxes from the GPU, one pass; 0 on the CPU"),
    "maskrcnn_segment_seconds": Metric("histogram", "s", "boxes to small masks, one pass"),
    "maskrcnn_encode_seconds": Metric("histogram", "s", "small masks to run lengths, one pass"),
    "maskrcnn_explain_seconds": Metric("histogram", "s", "pixels to explanations, one picture"),
    "maskrcnn_reply_seconds": Metric("histogram", "s", "detections to bytes, all replies of a batch"),
    "maskrcnn_replies_total": Metric("counter", "count", "pictures answered, by the format of the reply", FORMATS),
    "maskrcnn_detections_total": Metric("counter", "count", "detections found in them"),
    "maskrcnn_truncated_replies_total": Metric("counter", "count", "of these replies, those with something left out"),
    "maskrcnn_errors_total": Metric("counter", "count", "pictures or requests refused, by the error's code", CODES),
    "maskrcnn_splits_total": Metric("counter", "count", "batches that ran out of memory and were computed one by one"),
    "maskrcnn_graph_replays_total": Metric("counter", "count", "passes on a GPU that a CUDA graph computed"),
    "maskrcnn_eager_passes_total": Metric("counter", "count", "passes on a GPU whose size has no CUDA graph"),
    "maskrcnn_graph_capture_seconds": Metric("histogram", "s", "making one CUDA graph"),
    "maskrcnn_graph_fallbacks_total": Metric("counter", "count", "sizes that could not be made a CUDA graph"),
}


class Observe(Protocol):
    """Takes the name of a metric, a value and, for a metric that has a label, the label's value."""

    def __call__(self, name: str, value: float, label: str = "", /) -> None:
        """Report the value."""


def ignore(name: str, value: float, label: str = "") -> None:
    """Observe nothing: what runs outside a server passes this."""


def begin(observe: Observe) -> None:
    """Report every counter once, as 0: Prometheus sees no increase in a series that begins with its first event."""
    for name, metric in METRICS.items():
        if metric.kind == "counter":
            for label in metric.label.values if metric.label else ("",):
                observe(name, 0, label)


@contextmanager
def timed(observe: Observe, name: str) -> Iterator[None]:
    """Report the seconds that a block took, unless it raised."""
    start = perf_counter()
    yield
    observe(name, perf_counter() - start)
