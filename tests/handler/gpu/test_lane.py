"""The way of a pass over a GPU, with everything but CUDA itself, against the way over the CPU."""

import weakref
from pathlib import Path

import pytest
import torch
from torch import Tensor

from handler.detections import Detections
from handler.detector import Detector
from handler.gpu.graphs import Key
from handler.gpu.lane import CudaLane
from handler.gpu.settings import Graphs
from handler.lane import Lane
from handler.network import Found, Network
from handler.settings import Settings
from handler.steps import Steps
from tests.demo_model import export_demo_model
from tests.handler.gpu.fake_gpu import FakeCapture, FakeEvent
from tests.handler.made_up_model import save_made_up_model
from tests.handler.test_detector import CARD, MIXED

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_demo_model(tmp_path_factory.mktemp("demo"))


def over_a_gpu(detector: Detector) -> Detector:
    """The same detector, with a GPU's lane."""
    network = detector._steps._network
    lane = CudaLane(network, detector.settings, CPU)
    return Detector(detector.card, detector.settings, CPU, network, lane)


def both(folder: Path, settings: Settings) -> tuple[Detector, Detector]:
    detector = Detector.load(folder, settings)
    return detector, over_a_gpu(detector)


def captured(detector: Detector) -> list[Key]:
    assert isinstance(detector.lane, CudaLane)
    capture = detector.lane.graphs._capture
    assert isinstance(capture, FakeCapture)
    return capture.made


def assert_same(one: Detections, other: Detections) -> None:
    """Equal to float noise, since a padded batch is computed in another order."""
    assert (one.height, one.width) == (other.height, other.width)
    assert one.labels.tolist() == other.labels.tolist()
    torch.testing.assert_close(one.scores, other.scores, rtol=0, atol=1e-5)
    torch.testing.assert_close(one.boxes, other.boxes, rtol=0, atol=1e-2)


@pytest.mark.usefixtures("fake_gpu")
@pytest.mark.parametrize("graphs", [Graphs(0), Graphs(1, after=1), Graphs(3, after=1), Graphs(32, after=2)])
@pytest.mark.parametrize("max_pass_size", [1, 3, 8])
def test_answers_are_those_of_the_cpu(tmp_path: Path, graphs: Graphs, max_pass_size: int) -> None:
    settings = Settings(max_pass_size=max_pass_size, graphs=graphs)
    host, gpu = both(save_made_up_model(tmp_path, CARD), settings)
    for _ in range(3):  # the second round replays what the first one captured
        for expected, found in zip(host.detect(MIXED), gpu.detect(MIXED), strict=True):
            assert_same(expected, found)
            assert expected.masks == found.masks


@pytest.mark.usefixtures("fake_gpu")
def test_the_demo_model_answers_the_same(demo: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    sizes = [(80, 100)] * 5 + [(100, 80)] * 3 + [(60, 60)]
    pictures = [torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=generator) for size in sizes]
    host, gpu = both(demo, Settings(score_threshold=0.05, graphs=Graphs(8, after=1)))
    for expected, found in zip(host.detect(pictures), gpu.detect(pictures), strict=True):
        assert_same(expected, found)
    assert {key.batch for key in captured(gpu)} == {1, 4}  # 5 are 4 and 1, 3 are padded to 4


@pytest.mark.usefixtures("fake_gpu")
def test_without_graphs_nothing_is_padded_or_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, gpu = both(save_made_up_model(tmp_path, CARD), Settings(graphs=Graphs(0)))
    batches: list[int] = []
    find = Network.find

    def noted(network: Network, canvas: Tensor, tables: Tensor) -> object:
        batches.append(len(canvas))
        return find(network, canvas, tables)

    monkeypatch.setattr(Network, "find", noted)
    gpu.detect(MIXED)
    assert batches == [5, 2, 1, 1]


@pytest.mark.usefixtures("fake_gpu")
def test_warm_up_makes_the_graphs_of_its_sizes_and_all_counts_of_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(warm_up_sizes=((48, 64), (64, 64)), max_pass_size=8)
    _, gpu = both(save_made_up_model(tmp_path, CARD), settings)
    rows: set[int] = set()
    segment = Network.segment

    def noted(network: Network, found: object, numbers: Tensor, counts: Tensor) -> Tensor:
        rows.add(len(numbers))
        return segment(network, found, numbers, counts)  # type: ignore[arg-type]

    monkeypatch.setattr(Network, "segment", noted)
    gpu.warm_up()
    canvases = [(64, 96), (64, 64)]  # 48 x 64 is resized to 64 x 85
    assert set(captured(gpu)) == {Key(batch, *canvas) for batch in (1, 2, 4, 8) for canvas in canvases}
    assert captured(gpu)[0] == max(captured(gpu), key=Key.pixels)
    assert rows == {8, 16, 24, 32}  # 8 pictures of 4 detections
    seen: list[str] = []
    gpu.detect([torch.zeros(48, 64, 3, dtype=torch.uint8)] * 7, lambda name, _: seen.append(name))
    assert "maskrcnn_graph_replays_total" in seen
    assert "maskrcnn_eager_passes_total" not in seen


@pytest.mark.usefixtures("fake_gpu")
def test_the_host_prepares_and_reads_while_the_device_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, gpu = both(save_made_up_model(tmp_path, CARD), Settings(max_pass_size=1))
    order: list[str] = []
    for name in ("prepare", "start", "segment", "finish"):
        step = getattr(Steps, name)

        def noted(*arguments: object, _name: str = name, _step: object = step) -> object:
            order.append(_name)
            return _step(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(Steps, name, noted)
    gpu.detect(MIXED[:3])
    assert order == [
        *("prepare", "start", "prepare", "segment"),
        *("start", "prepare", "finish", "segment"),
        *("start", "finish", "segment", "finish"),
    ]


@pytest.mark.usefixtures("fake_gpu")
def test_what_found_nothing_costs_no_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, gpu = both(save_made_up_model(tmp_path, CARD), Settings())
    monkeypatch.setattr(Network, "segment", lambda *_: pytest.fail("nothing was found"))
    (found,) = gpu.detect([MIXED[3]])
    assert len(found) == 0


@pytest.mark.usefixtures("fake_gpu")
def test_freed_memory_is_the_graphs_too(tmp_path: Path) -> None:
    _, gpu = both(save_made_up_model(tmp_path, CARD), Settings(graphs=Graphs(after=1)))
    gpu.detect(MIXED)
    assert isinstance(gpu.lane, CudaLane)
    assert len(gpu.lane.graphs) > 0
    gpu.free_memory()
    assert len(gpu.lane.graphs) == 0
    assert [len(found) for found in gpu.detect(MIXED)] == [3, 3, 3, 0, 3, 3, 0, 3, 3]


@pytest.mark.usefixtures("fake_gpu")
def test_no_graph_is_made_for_a_batch_that_memory_was_too_small_for(tmp_path: Path) -> None:
    _, gpu = both(save_made_up_model(tmp_path, CARD), Settings(graphs=Graphs(after=2)))
    for _ in range(4):
        gpu.detect(MIXED[:1])
    before = len(captured(gpu))
    for _ in range(4):  # as handler/splitting.py does it
        gpu.free_memory()
        gpu.detect(MIXED[:1])
    assert (before, len(captured(gpu))) == (1, 1)
    gpu.detect(MIXED[:1])
    assert len(captured(gpu)) == 2


@pytest.mark.usefixtures("fake_gpu")
def test_a_thread_of_a_caller_uses_the_gpu_of_the_detector(tmp_path: Path) -> None:
    _, gpu = both(save_made_up_model(tmp_path, CARD), Settings())
    gpu.warm_up()
    gpu.detect(MIXED)
    assert FakeEvent.recorded > 0
    assert FakeEvent.astray == 0


@pytest.mark.usefixtures("fake_gpu")
def test_a_pass_is_let_go_before_the_next_one_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, gpu = both(save_made_up_model(tmp_path, CARD), Settings(max_pass_size=1, graphs=Graphs(0)))
    levels: list[weakref.ref[Tensor]] = []
    alive: list[int] = []
    find = Network.find

    def noted(network: Network, canvas: Tensor, tables: Tensor) -> Found:
        alive.append(sum(each() is not None for each in levels))
        found = find(network, canvas, tables)
        levels.append(weakref.ref(found.levels[0]))
        return found

    monkeypatch.setattr(Network, "find", noted)
    gpu.detect(MIXED[:3])
    assert alive == [0, 0, 0]


def test_the_cpu_copies_nothing() -> None:
    lane = Lane(None)  # type: ignore[arg-type]
    tensors = [torch.zeros(3), torch.ones(2)]
    assert all(one is other for one, other in zip(lane.upload(tensors), tensors, strict=True))
    assert all(one is other for one, other in zip(lane.download(tensors)(), tensors, strict=True))
