"""The numbers that a worker reports of each batch: one table for the code, the server's configuration and the README.

Seconds, because TorchServe's histograms have fixed buckets from 0.005 to 10, which suit seconds and small counts. On
a GPU the seconds of a step are the host's, which only starts it; the GPU's own show in the waits.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One number as Prometheus sees it.

    Attributes:
        kind: ``counter`` adds up, ``histogram`` keeps a distribution.
        unit: ``count`` or ``s``, as TorchServe spells them.
        meaning: One line for the README.
    """

    kind: Literal["counter", "histogram"]
    unit: Literal["count", "s"]
    meaning: str


METRICS = {
    "maskrcnn_batch_size": Metric("histogram", "count", "requests that came in one batch"),
    "maskrcnn_pass_size": Metric("histogram", "count", "pictures that shared one run of the network"),
    "maskrcnn_decode_seconds": Metric("histogram", "s", "bytes to pixels, all pictures of a batch"),
    "maskrcnn_upload_seconds": Metric("histogram", "s", "pixels on their way to the GPU, one pass; about 0 on the CPU"),
    "maskrcnn_place_seconds": Metric("histogram", "s", "pixels to canvas, one pass"),
    "maskrcnn_detect_seconds": Metric("histogram", "s", "canvas to boxes, one pass"),
    "maskrcnn_wait_seconds": Metric("histogram", "s", "waiting for boxes from the GPU, one pass; 0 on the CPU"),
    "maskrcnn_segment_seconds": Metric("histogram", "s", "boxes to small masks, one pass"),
    "maskrcnn_encode_seconds": Metric("histogram", "s", "small masks to run lengths, one pass"),
    "maskrcnn_reply_seconds": Metric("histogram", "s", "detections to JSON, all replies of a batch"),
    "maskrcnn_detections_total": Metric("counter", "count", "detections answered"),
    "maskrcnn_errors_total": Metric("counter", "count", "requests answered with an error of their own"),
    "maskrcnn_splits_total": Metric("counter", "count", "batches that ran out of memory and were computed one by one"),
    "maskrcnn_graph_replays_total": Metric("counter", "count", "passes on a GPU that a CUDA graph computed"),
    "maskrcnn_eager_passes_total": Metric("counter", "count", "passes on a GPU whose size has no CUDA graph"),
    "maskrcnn_graph_capture_seconds": Metric("histogram", "s", "making one CUDA graph"),
    "maskrcnn_graph_fallbacks_total": Metric("counter", "count", "sizes that could not be made a CUDA graph"),
}

Observe = Callable[[str, float], None]
"""Takes the name of a metric and its value."""


def ignore(name: str, value: float) -> None:
    """Observe nothing: what runs outside a server passes this."""


@contextmanager
def timed(observe: Observe, name: str) -> Iterator[None]:
    """Report the seconds that a block took, unless it raised."""
    start = perf_counter()
    yield
    observe(name, perf_counter() - start)
