"""The whole way of a picture over a GPU against the way over the CPU, with graphs and without, and when memory ends."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco
from torch import Tensor

from handler.detections import Detections
from handler.detector import Detector
from handler.errors import RequestError
from handler.gpu.lane import CudaLane
from handler.gpu.settings import FUSIONS, Fusion, Graphs
from handler.images import Picture, decode_image
from handler.metrics import ignore
from handler.model_card import FILE_NAME, ModelCard
from handler.settings import Settings
from handler.splitting import detect_or_split
from tests.demo_model import DEMO, export_demo_model

SURE = 0.3  # a score from which on a detection hangs on no rounding


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_demo_model(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model for pictures of up to 240 x 1333, which have many canvases."""
    folder = export_demo_model(tmp_path_factory.mktemp("wide"))
    card = ModelCard.load(folder / FILE_NAME)
    changed = replace(card, preprocessing=replace(card.preprocessing, max_size=1333))
    (folder / FILE_NAME).write_text(changed.to_json())
    return folder


@pytest.fixture(scope="module")
def pictures() -> list[Tensor]:
    return [decode_image(path.read_bytes(), 10**6) for path in sorted((DEMO / "pictures").glob("*.jpg"))]


@pytest.fixture(scope="module")
def on_the_cpu(demo: Path, pictures: list[Tensor]) -> list[Detections]:
    return Detector.load(demo).detect(pictures)


def forty_sizes() -> list[Tensor]:
    """Forty pictures with a canvas each."""
    generator = torch.Generator().manual_seed(0)
    sides = [(60, 64 + 8 * step) for step in range(20)]
    sizes = [*sides, *((width, height) for height, width in sides)]
    return [torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=generator) for size in sizes]


def lane_of(detector: Detector) -> CudaLane:
    assert isinstance(detector.lane, CudaLane)
    return detector.lane


def plane(found: Detections, number: int) -> np.ndarray:
    return coco.decode({"size": [found.height, found.width], "counts": found.masks[number]}).astype(bool)


def assert_alike(found: Detections, expected: Detections, boxes: float, masks: float) -> None:
    """Sure detections come in the same order wherever their scores are apart."""
    count = int((expected.scores > SURE).sum())
    assert abs(len(found) - len(expected)) <= 1
    torch.testing.assert_close(found.scores[:count], expected.scores[:count], rtol=0, atol=1e-3)
    for number in range(count):
        near = (found.labels == expected.labels[number]) & ((found.scores - expected.scores[number]).abs() < 1e-3)
        distances = (found.boxes - expected.boxes[number]).abs().amax(1).where(near, torch.inf)
        twin = int(distances.argmin())
        assert distances[twin] <= boxes
        one, other = plane(found, twin), plane(expected, number)
        assert (one & other).sum() >= masks * (one | other).sum() or other.sum() < 100  # few pixels, all border


def assert_equal(found: Sequence[Detections], expected: Sequence[Detections]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.boxes, other.boxes)
        assert torch.equal(one.scores, other.scores)
        assert torch.equal(one.labels, other.labels)
        assert one.masks == other.masks


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("graphs", [Graphs(0), Graphs(after=1)], ids=["eager", "graphs"])
def test_answers_are_those_of_the_cpu(
    fusion: Fusion,
    graphs: Graphs,
    demo: Path,
    pictures: list[Tensor],
    on_the_cpu: list[Detections],
    cuda: torch.device,
) -> None:
    detector = Detector.load(demo, Settings(fusion=fusion, graphs=graphs), cuda)
    for _ in range(2):
        for found, expected in zip(detector.detect(pictures), on_the_cpu, strict=True):
            assert_alike(found, expected, boxes=1e-2, masks=0.98)


def test_each_picture_is_answered_by_its_own_selection(
    demo: Path, pictures: list[Tensor], on_the_cpu: list[Detections], cuda: torch.device
) -> None:
    """One graph a size, whatever is wanted of its pictures."""
    detector = Detector.load(demo, Settings(graphs=Graphs(after=1)), cuda)
    boxes_only, few = replace(detector.selection, masks=False), replace(detector.selection, max_detections=2)
    wanted = [(boxes_only, few, detector.selection)[number % 3] for number in range(len(pictures))]
    detector.detect(pictures)
    made = len(lane_of(detector).graphs)
    for number, found in enumerate(detector.detect(pictures, selections=wanted)):
        expected = on_the_cpu[number]
        if number % 3 == 0:
            assert found.masks is None
            torch.testing.assert_close(found.scores[:3], expected.scores[:3], rtol=0, atol=1e-3)
        elif number % 3 == 1:
            assert len(found) == len(found.masks or ()) == min(2, len(expected))
        else:
            assert_alike(found, expected, boxes=1e-2, masks=0.98)
    assert len(lane_of(detector).graphs) == made


@pytest.mark.parametrize("fusion", FUSIONS)
def test_explains_as_on_the_cpu(fusion: Fusion, demo: Path, pictures: list[Tensor], cuda: torch.device) -> None:
    host = Detector.load(demo, Settings(warm_up_sizes=((64, 64),)))
    detector = Detector.load(demo, Settings(fusion=fusion), cuda)
    for picture in pictures[:3]:
        found, expected = detector.explain(picture), host.explain(picture)
        count = int((expected.detections.scores > SURE).sum())
        pairs = [
            (found.detections.boxes, expected.detections.boxes, 1e-2),
            (found.proposals, expected.proposals, 1e-2),
            (found.objectness, expected.objectness, 1e-3),
            (found.class_scores, expected.class_scores, 1e-3),
            (found.mask_probabilities, expected.mask_probabilities, 1e-2),
        ]
        for ours, theirs, tolerance in pairs:
            assert ours is not None
            assert theirs is not None
            torch.testing.assert_close(ours[:count], theirs[:count], rtol=0, atol=tolerance)


def test_float16_answers_much_the_same(
    demo: Path, pictures: list[Tensor], on_the_cpu: list[Detections], cuda: torch.device
) -> None:
    detector = Detector.load(demo, Settings(dtype="float16", fusion="optimized"), cuda)
    sure = [int((each.scores > 0.7).sum()) for each in on_the_cpu]
    found = [int((each.scores > 0.65).sum()) for each in detector.detect(pictures)]
    assert sum(count >= least for count, least in zip(found, sure, strict=True)) >= 0.9 * len(sure)


def test_a_graph_gives_what_the_calls_give(demo: Path, pictures: list[Tensor], cuda: torch.device) -> None:
    """With the same padding, so that nothing differs but how the kernels are started."""
    settings = Settings(max_pass_size=4)
    eager = Detector.load(demo, replace(settings, graphs=Graphs(32, after=10**6), warm_up_sizes=((64, 400),)), cuda)
    graphed = Detector.load(demo, replace(settings, graphs=Graphs(32, after=1)), cuda)
    seen: Counter[str] = Counter()
    expected = eager.detect(pictures, lambda name, _: seen.update([name]))
    assert seen["maskrcnn_eager_passes_total"] > 0
    for _ in range(3):
        seen.clear()
        found = graphed.detect(pictures, lambda name, _: seen.update([name]))
        assert seen["maskrcnn_graph_replays_total"] == seen["maskrcnn_pass_size"]
        assert seen["maskrcnn_graph_fallbacks_total"] == 0
        assert_equal(found, expected)


def test_an_answer_does_not_depend_on_what_came_before(wide: Path, pictures: list[Tensor], cuda: torch.device) -> None:
    """Passes share the memory of their graphs, and overlap: none may read what another one wrote."""
    detector = Detector.load(wide, Settings(max_pass_size=2, graphs=Graphs(64, after=1)), cuda)
    mixed = [*forty_sizes(), *pictures]
    alone = [detector.detect([picture])[0] for picture in mixed]
    order = torch.randperm(len(mixed), generator=torch.Generator().manual_seed(1)).tolist()
    for _ in range(3):
        for number, found in zip(order, detector.detect([mixed[number] for number in order]), strict=True):
            assert_alike(found, alone[number], boxes=2e-2, masks=0.97)


def test_forty_sizes_stay_within_the_bound_and_in_the_same_memory(wide: Path, cuda: torch.device) -> None:
    detector = Detector.load(wide, Settings(graphs=Graphs(8, after=2)), cuda)
    crowd = forty_sizes()
    generator = torch.Generator().manual_seed(2)

    def rounds(count: int) -> int:
        for _ in range(count):
            chosen = torch.randint(0, len(crowd), (16,), generator=generator).tolist()
            detector.detect([crowd[number] for number in chosen])
            assert len(lane_of(detector).graphs) <= 8
        return torch.cuda.memory_reserved(cuda)

    settled = rounds(60)
    assert len(lane_of(detector).graphs) == 8
    assert rounds(120) <= 1.1 * settled


def test_memory_does_not_grow_with_passes(demo: Path, pictures: list[Tensor], cuda: torch.device) -> None:
    detector = Detector.load(demo, Settings(graphs=Graphs(after=1)), cuda)
    for _ in range(3):
        detector.detect(pictures)
    torch.cuda.synchronize()
    allocated, reserved = torch.cuda.memory_allocated(cuda), torch.cuda.memory_reserved(cuda)
    for _ in range(30):
        detector.detect(pictures)
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated(cuda) <= allocated
    assert torch.cuda.memory_reserved(cuda) <= reserved


@pytest.mark.parametrize("graphs", [Graphs(0), Graphs(after=1)], ids=["eager", "graphs"])
@torch.inference_mode()
def test_a_pass_is_started_without_waiting(
    graphs: Graphs, demo: Path, pictures: list[Tensor], cuda: torch.device
) -> None:
    detector = Detector.load(demo, Settings(graphs=graphs), cuda)
    detector.detect(pictures)
    sizes = [(picture.shape[0], picture.shape[1]) for picture in pictures]
    passes, selections = detector._passes(sizes), [detector.selection] * len(sizes)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for prepared in detector._prepared(pictures, sizes, selections, passes, ignore):
            started = detector._steps.start(prepared, ignore)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(started.host()) == 4


def test_nothing_found_is_an_answer(demo: Path, cuda: torch.device) -> None:
    detector = Detector.load(demo, Settings(score_threshold=1.0), cuda)
    (found,) = detector.detect([torch.zeros(100, 120, 3, dtype=torch.uint8)])
    assert (len(found), found.height, found.width) == (0, 100, 120)
    assert detector.detect([]) == []


@pytest.fixture
def limited_memory(cuda: torch.device) -> Iterator[None]:
    yield
    torch.cuda.set_per_process_memory_fraction(1.0, cuda)


@pytest.mark.usefixtures("limited_memory")
def test_a_batch_that_memory_is_too_small_for_is_split(demo: Path, cuda: torch.device) -> None:
    card = ModelCard.load(demo / FILE_NAME)
    large = torch.randint(
        0, 256, (3 * card.preprocessing.min_size, 3 * card.preprocessing.max_size, 3), dtype=torch.uint8
    )
    images = [Picture(large.numpy(), *large.shape[:2])] * 8
    detector = Detector.load(demo, Settings(graphs=Graphs(0)), cuda)
    (_, alone), (together, _) = (peaks(detector, large, count, cuda) for count in (1, 8))
    assert together > 1.2 * alone
    (expected,) = detector.detect([large])
    limit = (alone + together) / 2
    torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(cuda).total_memory, cuda)
    seen: Counter[str] = Counter()
    found = detect_or_split(detector, images, [detector.selection] * len(images), lambda name, _: seen.update([name]))
    assert seen["maskrcnn_splits_total"] == 1
    assert_equal([each for each in found if isinstance(each, Detections)], [expected] * 8)


@pytest.mark.usefixtures("limited_memory")
def test_a_picture_that_memory_is_too_small_for_is_refused_and_the_worker_goes_on(
    demo: Path, pictures: list[Tensor], cuda: torch.device
) -> None:
    detector = Detector.load(demo, Settings(), cuda)
    asked = [Picture(pictures[0].numpy(), *pictures[0].shape[:2])]
    (expected,) = detector.detect([pictures[0]])
    detector.free_memory()
    held = torch.cuda.memory_allocated(cuda)
    torch.cuda.set_per_process_memory_fraction(
        (held + 2**20) / torch.cuda.get_device_properties(cuda).total_memory, cuda
    )
    (refused,) = detect_or_split(detector, asked, [detector.selection], ignore)
    assert isinstance(refused, RequestError)
    assert refused.status == 503
    torch.cuda.set_per_process_memory_fraction(1.0, cuda)
    (answered,) = detect_or_split(detector, asked, [detector.selection], ignore)
    assert isinstance(answered, Detections)
    assert_alike(answered, expected, boxes=1e-2, masks=0.98)


def peaks(detector: Detector, picture: Tensor, count: int, device: torch.device) -> tuple[int, int]:
    """Bytes that a batch needs, and those that the allocator takes for it, from empty caches."""
    detector.free_memory()
    torch.cuda.reset_peak_memory_stats(device)
    detector.detect([picture] * count)
    return torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
