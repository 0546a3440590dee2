"""Pictures that share a pass, of each of which something else is wanted; over the CPU and over a GPU's lane."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from handler.detections import Detections
from handler.detector import Detector
from handler.gpu.lane import CudaLane
from handler.gpu.settings import Graphs
from handler.network import Found, Network
from handler.selection import Selection
from handler.settings import Settings
from tests.handler.gpu.fake_gpu import FakeCapture, FakeEvent
from tests.handler.test_detector import load, plain, planes

ALL = Selection(0.05, 4, 0.5)
# Of one canvas; scores 0.9, 0.6 and 0.3 with the labels 10, 11 and 12 of the first picture, 20, 21 and 22 of the next.
PICTURES = [plain(56, 56, red=10 * number, blue=50) for number in range(1, 9)]
SELECTIONS = [
    ALL,
    replace(ALL, score_threshold=0.5),
    replace(ALL, max_detections=1),
    replace(ALL, labels=frozenset({41, 42, 10})),
    replace(ALL, masks=False),
    replace(ALL, mask_threshold=1.0),
    replace(ALL, score_threshold=1.0),
    replace(ALL, labels=frozenset({81, 82}), max_detections=1, mask_threshold=0.01),
]
LABELS = [[10, 11, 12], [20, 21], [30], [41, 42], [50, 51, 52], [60, 61, 62], [], [81]]
WITH_MASKS = [3, 2, 1, 2, 0, 3, 0, 1]

Load = Callable[..., Detector]


@pytest.fixture(params=["cpu", "gpu"])
def made(request: pytest.FixtureRequest, tmp_path: Path, fake_gpu: None) -> Load:
    """Loads the made-up model onto one of the two lanes."""

    def on_lane(**settings: object) -> Detector:
        detector = load(tmp_path, Settings(**settings))  # type: ignore[arg-type]
        if request.param == "cpu":
            return detector
        cpu, network = torch.device("cpu"), detector._steps._network
        return Detector(detector.card, detector.settings, cpu, network, CudaLane(network, detector.settings, cpu))

    return on_lane


@dataclass
class Seen:
    """What reached the mask head and the encoder."""

    rows: list[int] = field(default_factory=list)
    counts: list[list[int]] = field(default_factory=list)
    thresholds: list[float] = field(default_factory=list)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    noted, segment, encode = Seen(), Network.segment, Network.encode

    def segmenting(network: Network, found: Found, rows: Tensor, counts: Tensor) -> Tensor:
        noted.rows.append(len(rows))
        noted.counts.append(counts.tolist())
        return segment(network, found, rows, counts)

    def encoding(network: Network, *arguments: Tensor) -> tuple[Tensor, Tensor]:
        noted.thresholds += arguments[3].tolist()
        return encode(network, *arguments)

    monkeypatch.setattr(Network, "segment", segmenting)
    monkeypatch.setattr(Network, "encode", encoding)
    return noted


def assert_same(one: Sequence[Detections], other: Sequence[Detections]) -> None:
    for ours, theirs in zip(one, other, strict=True):
        assert torch.equal(ours.boxes, theirs.boxes)
        assert torch.equal(ours.scores, theirs.scores)
        assert torch.equal(ours.labels, theirs.labels)
        assert ours.masks == theirs.masks


@pytest.mark.parametrize("max_pass_size", [1, 3, 8])
def test_each_gets_what_it_gets_alone(made: Load, max_pass_size: int) -> None:
    detector = made(max_pass_size=max_pass_size)
    together = detector.detect(PICTURES, selections=SELECTIONS)
    alone = [detector.detect([one], selections=[each])[0] for one, each in zip(PICTURES, SELECTIONS, strict=True)]
    assert_same(together, alone)
    assert [found.labels.tolist() for found in together] == LABELS
    assert [None if found.masks is None else len(found.masks) for found in together] == [3, 2, 1, 2, None, 3, 0, 1]


def test_the_order_of_the_wishes_does_not_matter(made: Load) -> None:
    """Every picture with every selection, in passes where its neighbours have others."""
    detector = made()
    for shift in range(8):
        wanted = SELECTIONS[shift:] + SELECTIONS[:shift]
        alone = [detector.detect([one], selections=[each])[0] for one, each in zip(PICTURES, wanted, strict=True)]
        assert_same(detector.detect(PICTURES, selections=wanted), alone)


def test_the_mask_head_sees_the_rows_that_are_answered_with_masks(made: Load, seen: Seen) -> None:
    detector = made(max_pass_size=8)
    del seen.rows[:], seen.counts[:], seen.thresholds[:]  # of the warm-up
    detector.detect(PICTURES, selections=SELECTIONS)
    assert seen.counts == [WITH_MASKS]
    assert seen.rows == [detector.lane.rows(sum(WITH_MASKS))]  # padded on a GPU, exact on the CPU
    assert seen.thresholds == pytest.approx([0.5] * 8 + [1.0] * 3 + [0.01])


@pytest.mark.parametrize("nothing", [replace(ALL, masks=False), replace(ALL, score_threshold=1.0)])
def test_without_masks_there_is_no_mask_head(made: Load, seen: Seen, nothing: Selection) -> None:
    detector = made(max_pass_size=8)
    del seen.rows[:], seen.thresholds[:]
    detector.detect(PICTURES, selections=[nothing] * 8)
    assert (seen.rows, seen.thresholds) == ([], [])


def test_mask_thresholds_are_each_pictures_own(made: Load) -> None:
    pictures = [plain(56, 56, red=1)] * 3  # masks are the left half of each box
    wanted = [replace(ALL, mask_threshold=threshold) for threshold in (1.0, 0.5, 0.01)]
    areas = [planes(found)[0].sum() for found in made().detect(pictures, selections=wanted)]
    assert areas[0] < areas[1] < areas[2]


def test_more_detections_than_there_are(made: Load) -> None:
    wanted = [replace(ALL, max_detections=10**9, labels=frozenset(range(300)))]
    assert len(made().detect(PICTURES[:1], selections=wanted)[0]) == 3


def test_a_selection_too_few_is_an_error(made: Load) -> None:
    with pytest.raises(IndexError):
        made().detect(PICTURES, selections=SELECTIONS[:7])


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what went over the bus, and of the waits for the whole device."""
    noted: list[str] = []
    for name in ("upload", "download"):
        function = getattr(__import__("handler.gpu.lane", fromlist=[name]), name)

        def copying(*arguments: object, _name: str = name, _function: Callable[..., object] = function) -> object:
            noted.append(_name)
            return _function(*arguments)

        monkeypatch.setattr(f"handler.gpu.lane.{name}", copying)
    return noted


@pytest.mark.parametrize("made", ["gpu"], indirect=True)
def test_a_gpu_is_waited_for_no_more_often_than_without_selections(
    made: Load, copies: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = made(max_pass_size=8)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: pytest.fail("the whole device was waited for"))
    ways = []
    for wanted in (None, SELECTIONS):
        del copies[:]
        FakeEvent.waited = 0
        detector.detect(PICTURES, selections=wanted)
        ways.append([*copies, str(FakeEvent.waited)])
    # Pictures up, boxes down, rows and rules up, run lengths down; one wait a download.
    assert ways == [["upload", "download", "upload", "download", "2"]] * 2


@pytest.mark.parametrize("made", ["gpu"], indirect=True)
def test_a_graph_knows_no_threshold(made: Load) -> None:
    """One graph, captured with one selection, serves all others."""
    detector = made(max_pass_size=8, graphs=Graphs(8, after=1))
    strict = [replace(ALL, score_threshold=1.0, masks=False)] * 8
    assert [len(found) for found in detector.detect(PICTURES, selections=strict)] == [0] * 8
    assert isinstance(detector.lane, CudaLane)
    capture = detector.lane.graphs._capture
    assert isinstance(capture, FakeCapture)
    for wanted in (SELECTIONS, strict, SELECTIONS[::-1]):
        metrics: list[str] = []
        found = detector.detect(PICTURES, lambda name, _: metrics.append(name), selections=wanted)  # noqa: B023
        assert "maskrcnn_graph_replays_total" in metrics
        alone = [made().detect([one], selections=[each])[0] for one, each in zip(PICTURES, wanted, strict=True)]
        assert_same(found, alone)
    assert len(capture.made) == 1
