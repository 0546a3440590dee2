"""The traced network on the GPU against the eager float32 network on the CPU."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ops
from benchmarks.made_up import R50, network, photo
from benchmarks.op_cases import MEAN, STD
from export import trace
from export.checkpoint import load_checkpoint
from export.network.weights import import_weights
from export.presets import preset
from export.verification.proof_cases import proof_cases
from handler.gpu.settings import FUSIONS, Dtype, Fusion
from handler.images import decode_image
from handler.loading import load_trace
from handler.settings import Settings
from tests.demo_model import DEMO, eager_demo_model, export_demo_model

Answer = tuple[Tensor, ...]
# Rounding of 50 layers in another order: boxes in pixels of the canvas; scores and masks of 1.
EXACT = {"boxes": 0.05, "scores": 2e-3, "masks": 1e-2}
# Below this score a detection may hang on a rounding: of being above the threshold, or of being suppressed.
FAINT = 0.1
# Half precision: the share of the certain detections that come back with a box and a score as near as this. On a CPU
# it is 270 of 270 in float16, and 260 of 270 in bfloat16, of the demo pictures.
ROUGH: dict[Dtype, dict[str, float]] = {
    "float16": {"certain": 0.5, "share": 0.99, "boxes": 0.5, "scores": 0.01},
    "bfloat16": {"certain": 0.5, "share": 0.93, "boxes": 2.0, "scores": 0.03},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_demo_model(tmp_path_factory.mktemp("demo"))


def demo_batches() -> Iterator[tuple[Tensor, Tensor]]:
    """The demo pictures, six to a canvas."""
    pictures = [decode_image(path.read_bytes(), 10**6) for path in sorted((DEMO / "pictures").glob("*.jpg"))]
    for shape in sorted({tuple(picture.shape) for picture in pictures}):
        same = [picture for picture in pictures if tuple(picture.shape) == shape]
        height, width = shape[:2]
        sizes = torch.tensor([[height, width]] * len(same))
        canvas = -(-height // 32) * 32, -(-width // 32) * 32
        yield ops.resize_normalize(same, sizes, *canvas, mean=MEAN, std=STD), sizes


@pytest.fixture(scope="module")
def cases() -> list[tuple[tuple[Tensor, Tensor], Answer]]:
    """Pictures, and what the eager model says of them: batches of 1 to 8, many canvases, nothing to be found too."""
    architecture = import_weights(load_checkpoint(DEMO / "shapes.pth").tensors).architecture
    proofs = [case for case in proof_cases(architecture, preset("demo", "fpn")) if case.method == "forward"]
    given = [*demo_batches(), *((case.inputs[0], case.inputs[1]) for case in proofs)]
    model = eager_demo_model()
    with torch.inference_mode():
        return [(inputs, model(*inputs)) for inputs in given]


def run(model: Any, inputs: tuple[Tensor, Tensor], device: torch.device) -> Answer:
    return tuple(part.cpu() for part in model(*(each.to(device) for each in inputs)))


def by_picture(answer: Answer) -> list[Answer]:
    return list(zip(*(torch.split(part, answer[4].tolist()) for part in answer[:4]), strict=True))


def twins(ours: Answer, theirs: Answer, least: float, tolerance: dict[str, float]) -> tuple[int, int]:
    """How many of our detections of at least some score have a twin among theirs, and how many there are."""
    found = total = 0
    for box, score, label, mask in zip(*ours, strict=True):
        if score < least:
            continue
        total += 1
        near = (theirs[2] == label) & ((theirs[1] - score).abs() <= tolerance["scores"])
        near &= ((theirs[0] - box).abs() <= tolerance["boxes"]).all(1)
        if "masks" in tolerance:
            near &= ((theirs[3] - mask).abs() <= tolerance["masks"]).all((1, 2))
        found += bool(near.any())
    return found, total


def shares(found: Answer, expected: Answer, least: float, tolerance: dict[str, float]) -> Iterator[tuple[int, int]]:
    """Twins of each picture, both ways."""
    for ours, theirs in zip(by_picture(found), by_picture(expected), strict=True):
        yield twins(ours, theirs, least, tolerance)
        yield twins(theirs, ours, least, tolerance)


@pytest.mark.parametrize("fusion", FUSIONS)
@torch.inference_mode()
def test_finds_what_the_eager_model_finds(fusion: Fusion, folder: Path, cuda: torch.device, cases: Any) -> None:
    model = load_trace(folder / "model.pt", Settings(fusion=fusion), cuda)
    counted = 0
    for inputs, expected in cases:
        for found, total in shares(run(model, inputs, cuda), expected, FAINT, EXACT):
            assert found == total
            counted += total
    assert counted > 300


@pytest.mark.parametrize("dtype", ROUGH)
@pytest.mark.parametrize("fusion", FUSIONS)
@torch.inference_mode()
def test_finds_nearly_the_same_in_half_precision(
    dtype: Dtype, fusion: Fusion, folder: Path, cuda: torch.device, cases: Any
) -> None:
    model, tolerance = load_trace(folder / "model.pt", Settings(dtype=dtype, fusion=fusion), cuda), ROUGH[dtype]
    pairs = [
        pair
        for inputs, expected in cases
        for pair in shares(run(model, inputs, cuda), expected, tolerance["certain"], tolerance)
    ]
    found, total = (sum(column) for column in zip(*pairs, strict=True))
    assert total > 100
    assert found >= tolerance["share"] * total


@torch.inference_mode()
def test_the_features_of_a_real_network_are_the_eager_ones(cuda: torch.device, tmp_path: Path) -> None:
    """R50-FPN at the size that the figures are of; detections of made-up weights would hang on rounding."""
    given = network(R50, 800, 1333).model()
    trace.save(trace.trace(given), tmp_path / "model.pt")
    sizes = torch.tensor([[800, 1333]])
    canvas = ops.resize_normalize([photo(800, 1333, 1)], sizes, 800, 1344, mean=MEAN, std=STD)
    expected = given.detect(canvas, sizes)[5:]
    found = load_trace(tmp_path / "model.pt", Settings(), cuda).detect(canvas.to(cuda), sizes.to(cuda))[5:]
    for ours, theirs in zip(found, expected, strict=True):
        assert float((ours.cpu() - theirs).abs().max()) <= 1e-3 * float(theirs.abs().max())
