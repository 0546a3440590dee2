"""Which sizes of batch and canvas have a CUDA graph, and which get one.

A graph starts some hundred kernels in one go, which pays where they are short; but it holds for one size, making it
costs as much as some dozen passes, and all of them share one memory, which is laid out by the largest.
"""

import logging
from collections import Counter, OrderedDict
from typing import Generic, NamedTuple, Protocol, TypeVar

from handler.failures import first_line, is_out_of_memory
from handler.gpu.settings import Graphs
from handler.metrics import Observe, timed

logger = logging.getLogger(__name__)

RECENT = 1024  # passes after which what was seen before counts half
WORTH = 2  # how many times as often as the least used size a new one is seen before it takes its place


class Key(NamedTuple):
    """The size of one pass: pictures, and height and width of their canvas."""

    batch: int
    height: int
    width: int

    def pixels(self) -> int:
        """Of all pictures together: what the memory of a pass goes by."""
        return self.batch * self.height * self.width


class Resettable(Protocol):
    """A graph, as far as this file knows it."""

    def reset(self) -> None:
        """Give its memory back; it cannot run any more."""


Graph = TypeVar("Graph", bound=Resettable)
Made = TypeVar("Made", bound=Resettable, covariant=True)


class Capture(Protocol[Made]):
    """Makes graphs that share one memory."""

    def start_over(self, largest: Key) -> None:
        """Forget the memory that was shared so far; the next graphs are of this size or smaller."""

    def make(self, key: Key) -> Made:
        """Make the graph of one size.

        Raises:
            RuntimeError: That size cannot be captured.
        """


class GraphSet(Generic[Graph]):
    """A bounded set of graphs, of which the least recently used one makes room.

    A new size takes the place of another only if it was seen ``WORTH`` times as often: a crowd of sizes that come by
    in turn would else push each other out for ever, and make more graphs than they use.
    """

    def __init__(self, settings: Graphs, capture: Capture[Graph]) -> None:
        self._settings, self._capture = settings, capture
        self._graphs: OrderedDict[Key, Graph] = OrderedDict()
        self._seen: Counter[Key] = Counter()
        self._failed: set[Key] = set()
        self._closed = False
        self._largest = 0  # pixels that the shared memory is laid out for

    def __len__(self) -> int:
        return len(self._graphs)

    def of(self, key: Key, observe: Observe, wanted: bool = False) -> Graph | None:
        """The graph of a size, made now if it pays; None: launch the kernels one by one.

        Args:
            key: The size of the pass.
            observe: Takes the metrics.
            wanted: It is expected often, so it gets a graph at once where there is room.
        """
        self._remember(key)
        if key in self._graphs:
            self._graphs.move_to_end(key)
        elif self._pays(key, wanted):
            self._try(key, observe)
        graph = self._graphs.get(key)
        observe("maskrcnn_graph_replays_total" if graph is not None else "maskrcnn_eager_passes_total", 1)
        return graph

    def clear(self) -> None:
        """Drop all graphs and their memory; each size must be seen often again, or memory would soon be short again."""
        self._drop()
        self._seen.clear()

    def _drop(self) -> None:
        while self._graphs:
            self._graphs.popitem()[1].reset()
        self._largest = 0

    def _remember(self, key: Key) -> None:
        self._seen[key] += 1
        if self._seen.total() >= RECENT:
            self._seen = Counter({each: count // 2 for each, count in self._seen.items() if count > 1})

    def _pays(self, key: Key, wanted: bool) -> bool:
        if self._settings.most == 0 or self._closed or key in self._failed:
            return False
        if len(self._graphs) < self._settings.most:
            return wanted or self._seen[key] >= self._settings.after
        least_used = next(iter(self._graphs))
        return self._seen[key] >= max(self._settings.after, WORTH * self._seen[least_used])

    def _try(self, key: Key, observe: Observe) -> None:
        """Make a graph; where that fails, its size is computed without one from now on.

        Unless it was for memory, so are all that have none yet: what CUDA refuses to capture it refuses at any size,
        and PyTorch before 2.12 cannot begin another capture after one that CUDA broke off.
        """
        try:
            with timed(observe, "maskrcnn_graph_capture_seconds"):
                self._make(key)
        except RuntimeError as error:
            self._failed.add(key)
            observe("maskrcnn_graph_fallbacks_total", 1)
            out_of_memory = is_out_of_memory(error)
            less = "" if out_of_memory else ", and no more of other sizes"
            logger.warning("no CUDA graph for %s%s: %s", key, less, first_line(error))
        else:
            return
        if out_of_memory:  # outside of the handler, whose traceback holds tensors
            self._drop()
        else:
            self._closed = True

    def _make(self, key: Key) -> None:
        if key.pixels() > self._largest:  # smaller blocks do not fit a larger pass, and would be kept for nothing
            self._drop()
            self._capture.start_over(key)
            self._largest = key.pixels()
        elif len(self._graphs) >= self._settings.most:
            self._graphs.popitem(last=False)[1].reset()
        self._graphs[key] = self._capture.make(key)
