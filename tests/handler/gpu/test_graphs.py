"""Which sizes get a graph. The graphs are made up."""

from collections import Counter

import pytest

from handler.gpu.graphs import RECENT, GraphSet, Key
from handler.gpu.settings import Graphs
from handler.metrics import METRICS
from tests.handler.gpu.fake_gpu import FakeCapture, FakeGraph


def keys(count: int) -> list[Key]:
    return [Key(1, 32 * (count - number), 32) for number in range(count)]  # the largest first


class Made:
    """A set and what it did."""

    def __init__(self, most: int = 4, after: int = 3) -> None:
        self.capture = FakeCapture(lambda *_: pytest.fail("nothing is computed here"))
        self.graphs: GraphSet[FakeGraph] = GraphSet(Graphs(most, after), self.capture)
        self.seen: Counter[str] = Counter()

    def of(self, key: Key, times: int = 1, wanted: bool = False) -> FakeGraph | None:
        for _ in range(times):
            graph = self.graphs.of(key, lambda name, value: self.seen.update({name: 1}), wanted)
        return graph


def test_a_size_gets_a_graph_once_it_was_seen_often_enough() -> None:
    made, (key,) = Made(), keys(1)
    assert made.of(key, 2) is None
    graph = made.of(key)
    assert graph is not None
    assert made.of(key, 5) is graph
    assert made.capture.made == [key]
    assert made.seen["maskrcnn_eager_passes_total"] == 2
    assert made.seen["maskrcnn_graph_replays_total"] == 6
    assert made.seen["maskrcnn_graph_capture_seconds"] == 1
    assert set(made.seen) <= set(METRICS)


def test_an_expected_size_gets_one_at_once() -> None:
    assert Made().of(keys(1)[0], wanted=True) is not None


def test_none_are_made_where_they_are_off() -> None:
    made = Made(most=0)
    assert made.of(keys(1)[0], 50, wanted=True) is None


def test_the_least_recently_used_one_makes_room() -> None:
    made, (one, two, three) = Made(most=2), keys(3)
    first, second = made.of(one, 3), made.of(two, 3)
    made.of(one)
    third = made.of(three, 6)  # twice as often as the second
    assert first is not None
    assert second is not None
    assert third is not None
    assert (first.alive, second.alive, third.alive) == (True, False, True)
    assert len(made.graphs) == 2


def test_a_crowd_of_sizes_does_not_push_each_other_out() -> None:
    made, crowd = Made(most=8), keys(40)
    for _ in range(100):
        for key in crowd:
            made.of(key)
    assert len(made.graphs) == 8
    assert len(made.capture.made) <= 16
    assert made.seen["maskrcnn_graph_replays_total"] >= 700


def test_a_new_favourite_gets_in_after_the_old_one_was_left() -> None:
    made, (old, new) = Made(most=1), keys(2)
    made.of(old, 10 * RECENT)
    assert made.of(new, 2 * RECENT) is not None


def test_a_larger_size_starts_over_because_it_lays_out_the_memory() -> None:
    made, (large, small) = Made(), keys(2)
    first = made.of(small, 3)
    assert first is not None
    assert made.of(large, 3) is not None
    assert not first.alive
    assert made.capture.largest == large
    again = made.of(small)  # it was seen often enough long ago
    assert again is not None
    assert made.capture.made == [small, large, small]
    assert len(made.graphs) == 2


def test_what_cannot_be_captured_is_computed_without_and_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    made, (good, bad, other) = Made(), keys(3)
    kept = made.of(good, 3)
    made.capture.refuse[bad] = "operation not permitted when stream is capturing\nand more"
    assert made.of(bad, 20) is None
    assert made.seen["maskrcnn_graph_fallbacks_total"] == 1
    assert len(caplog.messages) == 1
    assert "not permitted" in caplog.text
    assert kept is not None
    assert kept.alive
    assert made.of(good) is kept
    assert made.of(other, 20) is None  # nor is any other: PyTorch may not be able to begin another capture


def test_a_refusal_without_a_word_is_one_too(caplog: pytest.LogCaptureFixture) -> None:
    made, (key,) = Made(), keys(1)
    made.capture.refuse[key] = ""
    assert made.of(key, 3) is None
    assert "RuntimeError" in caplog.text


def test_out_of_memory_gives_up_all_graphs() -> None:
    made, (one, two, three) = Made(), keys(3)
    kept = [made.of(one, 3), made.of(two, 3)]
    made.capture.refuse[three] = "CUDA out of memory. Tried to allocate"
    assert made.of(three, 3) is None
    assert [graph is not None and graph.alive for graph in kept] == [False, False]
    assert len(made.graphs) == 0
    assert made.of(one) is not None  # the others come back
    assert made.of(three, 5) is None


def test_our_own_faults_are_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(after=1)
    monkeypatch.setattr(made.capture, "make", lambda _: {}["nothing"])
    with pytest.raises(KeyError):
        made.of(keys(1)[0])


def test_clear_resets_all() -> None:
    made, (one, two) = Made(), keys(2)
    graphs = [made.of(one, 3), made.of(two, 3)]
    made.graphs.clear()
    assert len(made.graphs) == 0
    assert not any(graph.alive for graph in graphs if graph)
    assert made.of(one, 2) is None  # memory ran out: only what keeps coming gets a graph again
    assert made.of(one) is not None
