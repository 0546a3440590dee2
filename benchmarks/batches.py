"""Batches that a server really formed: what its histograms counted between two looks at them."""

import re
import time
from dataclasses import dataclass
from math import inf

from server.torchserve import TorchServe

REQUESTS, PICTURES = "maskrcnn_batch_size", "maskrcnn_pass_size"
# TorchServe's buckets are fixed (see README.md); these are the whole numbers in those that tell sizes apart.
_SIZES = {1.0: "1", 2.5: "2", 5.0: "3-5", 7.5: "6-7", 10.0: "8-10", inf: "more"}


@dataclass(frozen=True)
class Counted:
    """One histogram, added up over workers and models.

    Attributes:
        total: Sum of all sizes.
        count: How many there were.
        up_to: By the upper edge of a bucket, how many were no larger.
    """

    total: float
    count: float
    up_to: dict[float, float]

    @classmethod
    def read(cls, metrics: str, name: str) -> "Counted":
        """Out of what a Prometheus scrape gets; zeros where nothing was counted yet."""
        found: dict[str, float] = {}
        edges: dict[float, float] = {}
        for kind, labels, value in re.findall(rf"(?m)^{name}_(sum|count|bucket)(\{{.*\}})? (\S+)$", metrics):
            found[kind] = found.get(kind, 0.0) + float(value)
            if kind == "bucket" and (edge := re.search(r'le="([^"]+)"', labels)):
                upper = float(edge[1])
                edges[upper] = edges.get(upper, 0.0) + float(value)
        return cls(found.get("sum", 0.0), found.get("count", 0.0), edges)

    def since(self, before: "Counted") -> "Counted":
        """What came on top."""
        edges = {edge: count - before.up_to.get(edge, 0.0) for edge, count in self.up_to.items()}
        return Counted(self.total - before.total, self.count - before.count, edges)

    @property
    def mean(self) -> float | None:
        """Exact, unlike the buckets."""
        return self.total / self.count if self.count else None

    def sizes(self) -> dict[str, int]:
        """How many of each size, as far as the buckets tell."""
        below, counted = 0.0, {}
        for edge, size in _SIZES.items():
            up_to = self.up_to.get(edge, below)
            counted[size] = round(up_to - below)
            below = up_to
        return {size: count for size, count in counted.items() if count}


@dataclass(frozen=True)
class Batches:
    """Both histograms at one moment, or between two."""

    requests: Counted
    pictures: Counted

    @classmethod
    def now(cls, server: TorchServe) -> "Batches":
        """What the server has counted; workers report through a log, so the numbers are waited for until they rest."""
        last, text = "", server.metrics()
        while (seen := "".join(re.findall(r"(?m)^maskrcnn_\w+_count.*$", text))) != last:
            last = seen
            time.sleep(0.3)
            text = server.metrics()
        return cls(Counted.read(text, REQUESTS), Counted.read(text, PICTURES))

    def since(self, before: "Batches") -> dict[str, object]:
        """Columns of a row: means for the table, sizes for the JSON."""
        requests, pictures = self.requests.since(before.requests), self.pictures.since(before.pictures)
        means = {"batch_size": requests.mean, "pass_size": pictures.mean}
        return means | {"batch_sizes": requests.sizes(), "pass_sizes": pictures.sizes()}
