"""The trace of the demo model, prepared in every way that the CPU can run."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from handler import loading, onednn
from handler.convolutions import Convolution, obey_switches
from handler.detector import Detector
from handler.gpu.fusion import works_joined
from handler.gpu.settings import FUSIONS, Dtype, Fusion
from handler.loading import METHODS, load_trace, prepare_for_cudnn
from handler.onednn import join_layers
from handler.settings import Settings
from tests.demo_model import export_demo_model
from tests.handler.cards import CARD
from tests.handler.made_up_model import save_made_up_model

CPU = torch.device("cpu")
SIZES = torch.tensor([[120, 96], [128, 60]])


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_demo_model(tmp_path_factory.mktemp("demo"))


def canvas(dtype: torch.dtype = torch.float32) -> Tensor:
    pixels = torch.rand(2, 3, 128, 96, generator=torch.Generator().manual_seed(1))
    return pixels.to(dtype, memory_format=torch.channels_last)


def kinds(model: torch.jit.ScriptModule, method: str) -> Counter[str]:
    graph = getattr(model, method).inlined_graph
    return Counter(node.kind() for node in graph.nodes())


@torch.inference_mode()
def outputs(model: torch.jit.ScriptModule, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    boxes, scores, labels, _, counts, *levels = model.detect(canvas(dtype), SIZES)
    rows = boxes[:, :3].flatten(0, 1)
    masks = model.segment(rows, labels[:, :3].flatten(), torch.full((2,), 3), *levels)
    return [boxes, scores, labels, counts, masks, *model.explain(canvas(dtype), SIZES)[:8]]


def for_cudnn(demo: Path, dtype: Dtype = "float32") -> torch.jit.ScriptModule:
    """Prepared as on a GPU."""
    model = load_trace(demo / "model.pt", Settings(fusion="frozen", dtype=dtype), CPU)
    prepare_for_cudnn(model, "optimized")
    return model


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion_gives_the_same_numbers(demo: Path, fusion: Fusion) -> None:
    plain = outputs(load_trace(demo / "model.pt", Settings(fusion="none"), CPU))
    for expected, found in zip(
        plain, outputs(load_trace(demo / "model.pt", Settings(fusion=fusion), CPU)), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_an_archive_from_before_explanations_loads(fusion: Fusion, tmp_path: Path) -> None:
    older = load_trace(save_made_up_model(tmp_path, CARD) / "model.pt", Settings(fusion=fusion), CPU)
    assert not hasattr(older, "explain")
    assert len(older.detect(canvas(), SIZES)) == 6


def test_on_the_cpu_every_layer_is_oneDNNs_unless_told_otherwise(demo: Path) -> None:  # noqa: N802 - its name
    joined, untouched = (load_trace(demo / "model.pt", Settings(fusion=each), CPU) for each in (None, "none"))
    assert next(untouched.parameters()).dtype == torch.float32
    for method in METHODS:
        found, traced = kinds(joined, method), kinds(untouched, method)
        assert found["mkldnn::_convolution_pointwise"] == traced["aten::_convolution"] >= 4
        assert found["mkldnn::_linear_pointwise"] == traced["aten::linear"] >= 1
        # within the layers: the activations, and the sums of the body's blocks and of the pyramid
        assert not found.keys() & {"aten::_convolution", "aten::conv2d", "aten::linear", "aten::relu"}
        assert found["aten::add"] == traced["aten::add"] - (8 + 3 if method != "segment" else 0)


def test_what_oneDNN_does_not_compute_stays_as_it_is(  # noqa: N802 - its name
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = outputs(load_trace(demo / "model.pt", Settings(fusion="none"), CPU))

    def refuse(*arguments: object) -> Tensor:
        raise RuntimeError("not on this processor")

    monkeypatch.setattr(onednn, "_PRODUCT", refuse)
    model = load_trace(demo / "model.pt", Settings(), CPU)
    assert kinds(model, "segment")["aten::linear"] == 1
    assert kinds(model, "segment")["mkldnn::_convolution_pointwise"] == 4
    for one, other in zip(outputs(model), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_what_gives_other_numbers_stays_as_it_is(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = torch.ops.mkldnn._convolution_pointwise
    monkeypatch.setattr(onednn, "_CONVOLUTION", Either(right, lambda *given: 2 * right.binary(*given)))
    found = kinds(load_trace(demo / "model.pt", Settings(), CPU), "detect")
    assert found["aten::add"] == 8 + 3
    assert found["aten::conv2d"] == 8 + 3 + 4  # of four sums both terms are convolutions
    assert found["mkldnn::_convolution_pointwise"] > 25


class Either:
    """An operator whose one form is another."""

    def __init__(self, plain: Any, binary: Any) -> None:
        self._plain, self.binary = plain, binary

    def __call__(self, *given: Any) -> Tensor:
        result: Tensor = self._plain(*given)
        return result


def test_the_joined_model_finds_nothing_in_a_blank_picture(demo: Path) -> None:
    model = load_trace(demo / "model.pt", Settings(), CPU)
    boxes, scores, _, masks, counts = model(torch.zeros(1, 3, 64, 64), torch.tensor([[1, 1]]))
    assert (boxes.shape, scores.shape, masks.shape, counts.tolist()) == ((0, 4), (0,), (0, 28, 28), [0])


def test_a_sum_that_somebody_else_reads_is_not_taken_in() -> None:
    class Shared(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(4, 4, 3, padding=1)
            self.twice = torch.nn.Conv2d(4, 4, 1)

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            first = self.conv(images)
            summed = first + images
            itself = self.twice(images)
            return first, summed.relu(), summed, itself + itself, self.conv(summed).relu() + 1, self.twice(first) + 1

    layers, images = Shared().eval(), canvas()[:, :1].repeat(1, 4, 1, 1)
    with torch.no_grad():
        frozen = torch.jit.freeze(torch.jit.trace(layers, images))
        obey_switches(frozen.graph)
        assert join_layers(frozen.graph) == 4
        assert "aten::relu" in str(frozen.graph)
        for one, other in zip(frozen(images), layers(images), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_weights_are_cast_before_they_are_frozen(demo: Path, fusion: Fusion, dtype: Dtype) -> None:
    model = load_trace(demo / "model.pt", Settings(fusion=fusion, dtype=dtype), CPU)
    wanted = getattr(torch, dtype)
    *_, levels = model.detect(canvas(wanted), SIZES)
    assert levels.dtype == wanted
    boxes, scores, _, _, masks, *_ = outputs(model, wanted)
    assert {each.dtype for each in (boxes, scores, masks)} == {torch.float32}
    # 2 ** -8 a layer, over some dozen: scores of the same rank are near those of float32
    expected = outputs(load_trace(demo / "model.pt", Settings(), CPU))[1]
    assert (scores[:, :5] - expected[:, :5]).abs().max() < 0.1


def test_optimized_convolutions_obey_the_switches_of_this_process(demo: Path) -> None:
    """A trace keeps TF32 and the search for algorithms as they were set where it was made."""
    model = for_cudnn(demo)
    for method in METHODS:
        assert kinds(model, method)["aten::_convolution"] == 0
        assert kinds(model, method)["aten::conv2d"] >= 4


def test_the_same_holds_for_a_trace_that_is_not_frozen(demo: Path) -> None:
    model = load_trace(demo / "model.pt", Settings(fusion="none"), CPU)
    expected = outputs(load_trace(demo / "model.pt", Settings(fusion="none"), CPU))
    prepare_for_cudnn(model, "none")
    assert kinds(model, "detect")["aten::_convolution"] == 0
    for one, other in zip(outputs(model), expected, strict=True):
        assert torch.equal(one, other)


@pytest.fixture
def cudnn_on_the_cpu() -> Iterator[list[str]]:
    """cuDNN's joined convolutions, from the separate layers that they stand for; which were called."""
    called: list[str] = []

    def conv_relu(images: Tensor, weight: Tensor, bias: Tensor, *places: object) -> Tensor:
        called.append("relu")
        return F.conv2d(images, weight, bias, *places).relu()

    def conv_add_relu(
        images: Tensor, weight: Tensor, added: Tensor, factor: float, bias: Tensor, *places: object
    ) -> Tensor:
        called.append("add")
        return (F.conv2d(images, weight, bias, *places) + factor * added).relu()

    library = torch.library.Library("aten", "IMPL")
    library.impl("cudnn_convolution_relu", conv_relu, "CPU")
    library.impl("cudnn_convolution_add_relu", conv_add_relu, "CPU")
    yield called
    library._destroy()


def test_joined_convolutions_give_the_same_numbers(
    demo: Path, monkeypatch: pytest.MonkeyPatch, cudnn_on_the_cpu: list[str]
) -> None:
    expected = outputs(load_trace(demo / "model.pt", Settings(), CPU))
    asked: list[tuple[Convolution, bool]] = []

    def works(conv: Convolution, adds: bool) -> bool:
        asked.append((conv, adds))
        return conv.weight.shape[1] != 3  # as where cuDNN has none for the three channels of a picture

    monkeypatch.setattr(loading, "works_joined", works)
    model = for_cudnn(demo)
    found = outputs(model)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    counted = kinds(model, "detect")
    # The demo's body: stem, 8 blocks with 2 + 1 joined each; the proposals' convolution on 5 levels; 4 of the masks.
    assert counted["aten::cudnn_convolution_add_relu"] == 8
    assert counted["aten::cudnn_convolution_relu"] == 16 + 5
    assert kinds(model, "segment")["aten::cudnn_convolution_relu"] == 4
    assert counted["aten::relu"] == 1 + 2  # the stem and the two layers of the box head
    assert kinds(model, "explain")["aten::cudnn_convolution_relu"] == 16 + 5
    assert Counter(cudnn_on_the_cpu) == {"add": 2 * 8, "relu": 2 * (16 + 5) + 4}  # outputs() detects and explains
    assert any(conv.weight.shape[1] == 3 for conv, _ in asked)


def test_nothing_is_joined_where_it_was_not_tried(demo: Path) -> None:
    model = for_cudnn(demo, "bfloat16")
    assert not [kind for kind in kinds(model, "detect") if "cudnn" in kind]
    weight = torch.zeros(8, 8, 1, 1, dtype=torch.bfloat16)
    assert not works_joined(Convolution(weight, weight[:, 0, 0, 0], [1, 1], [0, 0], [1, 1], 1), adds=False)


def test_bfloat16_serves_on_the_cpu(demo: Path) -> None:
    (found,) = Detector.load(demo, Settings(dtype="bfloat16", score_threshold=0.05)).detect(
        [torch.full((80, 90, 3), 200, dtype=torch.uint8)]
    )
    assert found.boxes.dtype == torch.float32


PROGRAM = """
import sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
import torch
from handler.loading import load_trace
from handler.settings import Settings
if sys.argv[2] == "simple":
    torch._C._jit_set_profiling_mode(False)  # as handler/device.py does
model = load_trace(Path(sys.argv[1]), Settings(fusion="frozen"), torch.device("cpu"))
for side in (96, 128):
    model.detect(torch.rand(1, 3, side, side), torch.tensor([[side, side]]))
    print(str(torch.jit.last_executed_optimized_graph()).count("prim::profile"))
"""


@pytest.mark.parametrize(("executor", "profiles"), [("simple", False), ("profiling", True)])
def test_the_simple_executor_profiles_nothing(demo: Path, executor: str, profiles: bool) -> None:
    """In processes of their own, because each method keeps the executor that it began with."""
    command = [sys.executable, "-c", PROGRAM, str(demo / "model.pt"), executor]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    first, second = map(int, run.stdout.split())
    assert (first > 0) is profiles
    assert second == 0 or profiles
