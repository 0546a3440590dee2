"""The demo model compiled by AOTInductor: proved, the trace's own answers, on any batch, size, thread and processor.

Compiling takes a minute, once for all of them.
"""

import json
import os
import signal
import subprocess
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from export.compile import Target, tied_to
from export.errors import ExportError
from export.presets import preset
from export.verification.proof_cases import CANVASES, proof_cases
from export.verification.verify_package import verify_package
from handler.compiled import PACKAGE_FILE, CompiledModel
from handler.detector import Detector
from handler.device import CPU
from handler.model_card import Compiled, ModelCard
from server.torchserve import TorchServe
from tests.demo_model import demo_weights, eager_demo_model, export_demo_model
from tests.served import MODEL, PICTURES, ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(compiled_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive as TorchServe unpacks it."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(compiled_archive) as file:
        file.extractall(unpacked)
    return unpacked


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return Detector.load(export_demo_model(tmp_path_factory.mktemp("traced")))


@pytest.fixture(scope="module")
def pictures() -> list[Tensor]:
    found = [torch.from_numpy(np.array(Image.open(path).convert("RGB"))) for path in PICTURES]
    tall, one_pixel = torch.full((400, 3, 3), 90, dtype=torch.uint8), torch.zeros(1, 1, 3, dtype=torch.uint8)
    return [*found, tall, one_pixel]


def compiled(folder: Path) -> Compiled:
    card = ModelCard.load(folder / "model_card.json")
    assert card.compiled
    return card.compiled


def test_the_card_says_what_it_is_tied_to_and_what_was_proved(folder: Path) -> None:
    card = ModelCard.load(folder / "model_card.json")
    assert compiled(folder) == tied_to_here()
    assert len(card.proof["cases"]) == len(proof_cases(demo_weights().architecture, preset("demo", "fpn"))) == 15
    assert card.proof["detections"] > 100
    assert card.proof["largest_differences"]["boxes"] <= card.proof["tolerance"]["boxes"]
    assert "deviceType: cpu" in (folder / "model-config.yaml").read_text()


def tied_to_here() -> Compiled:
    return tied_to(Target("float32", "cpu", 32))


def test_it_is_one_file_without_sources_and_every_weight_is_in_it_once(folder: Path) -> None:
    with zipfile.ZipFile(folder / PACKAGE_FILE) as parts:
        names = parts.namelist()
    assert not (folder / "model.pt").exists()
    assert [name for name in names if name.endswith((".cpp", ".h", ".pt", ".cubin"))] == []
    assert sum(name.endswith(".so") for name in names) == 2
    weights = sum(parameter.numel() * 4 for parameter in eager_demo_model().parameters())
    code = (folder / PACKAGE_FILE).stat().st_size - weights
    masks = sum(parameter.numel() * 4 for parameter in eager_demo_model().mask_head.parameters())
    assert 0 < code < masks  # which is what is least to be stored twice


@pytest.mark.parametrize("threads", [1, 2])
def test_the_answers_are_the_traces(threads: int, folder: Path, traced: Detector, pictures: list[Tensor]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found, expected = (each.detect(pictures) for each in (Detector.load(folder), traced))
    finally:
        torch.set_num_threads(before)
    assert sum(len(each) for each in expected) > 300
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.labels.tolist() == theirs.labels.tolist()
        torch.testing.assert_close(ours.boxes, theirs.boxes, atol=1e-3, rtol=0)
        torch.testing.assert_close(ours.scores, theirs.scores, atol=1e-5, rtol=0)
        assert ours.masks is not None
        assert theirs.masks is not None
        other = sum(one != another for one, another in zip(ours.masks, theirs.masks, strict=True))
        assert other <= 0.01 * len(theirs)  # a pixel may lie on the threshold


def test_the_explanations_are_the_traces(folder: Path, traced: Detector, pictures: list[Tensor]) -> None:
    ours, theirs = (each.explain(pictures[2]) for each in (Detector.load(folder), traced))
    assert len(theirs.detections) > 3
    for name in ("proposals", "objectness", "class_scores"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), atol=1e-3, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 64, 160), (5, 96, 32)], ids=str)
def test_the_layout_of_the_memory_does_not_matter(shape: tuple[int, int, int], folder: Path) -> None:
    """The programs read whatever they get as if it were of the layout that they were compiled with."""
    batch, height, width = shape
    model, eager = CompiledModel(folder / PACKAGE_FILE, CPU, masks=True), eager_demo_model()
    images = torch.rand(batch, 3, height, width)
    sizes = torch.tensor([[height, width]] * batch)
    strided = torch.stack([sizes, sizes], dim=2)[..., 0]
    expected = eager.detect(images, sizes)
    for given in (images, images.contiguous(memory_format=torch.channels_last)):
        for ours, theirs in zip(model.detect(given, strided), expected, strict=True):
            torch.testing.assert_close(ours.float(), theirs.float(), atol=1e-3, rtol=1e-3)
    boxes, labels = expected[0].flatten(0, 1)[:4], expected[2].flatten()[:4]
    counts = torch.tensor([4] + [0] * (batch - 1))
    levels = [level.contiguous() for level in expected[5:]]
    masks = eager.segment(boxes, labels, counts, *levels)
    torch.testing.assert_close(model.segment(boxes, labels, counts, *levels), masks, atol=1e-3, rtol=0)


@pytest.mark.parametrize("layer", ["pyramid.outputs.0.bias", "mask_head.logit_bias", "box_head.scores.bias"])
def test_a_package_of_other_weights_is_not_proved(layer: str, folder: Path) -> None:
    model, rules = eager_demo_model(), preset("demo", "fpn")
    with torch.no_grad():
        model.get_parameter(layer).add_(torch.linspace(0.1, 1, model.get_parameter(layer).numel()))
    cases = [case for case in proof_cases(demo_weights().architecture, rules) if case.inputs[0].shape[0] <= 2]
    with pytest.raises(ExportError, match="the export differs from the model in"):
        verify_package(model, folder / PACKAGE_FILE, cases, compiled(folder), 32)


def test_sides_of_the_cases_become_multiples(folder: Path) -> None:
    (odd,) = [canvas for canvas in CANVASES if canvas[1] % 32 or canvas[2] % 32]
    cases = [
        case
        for case in proof_cases(demo_weights().architecture, preset("demo", "fpn"))
        if case.inputs[0].shape[2:] == odd[1:]
    ]
    assert len(cases) == 1
    proof = verify_package(eager_demo_model(), folder / PACKAGE_FILE, cases, compiled(folder), 32)
    assert proof.detections > 0


PROGRAM = """
import os, sys
from pathlib import Path
from handler.detector import Detector
import torch
detector = Detector.load(Path(sys.argv[1]))
assert not [name for name in sys.modules if name.startswith("torch._inductor")]
found = detector.detect([torch.full((240, 240, 3), 130, dtype=torch.uint8), torch.load(sys.argv[2])])
torch.save([(each.boxes, each.scores, each.labels) for each in found], sys.argv[3])
os.kill(os.getpid(), int(sys.argv[4]))
"""


def in_a_process(folder: Path, picture: Tensor, scratch: Path, environment: dict[str, str]) -> list[list[Tensor]]:
    """The answers of a new process, which is killed after it wrote them."""
    torch.save(picture, scratch / "picture.pt")
    files = [str(scratch / name) for name in ("picture.pt", "answers.pt")]
    command = [sys.executable, "-c", PROGRAM, str(folder), *files, str(int(signal.SIGKILL))]
    run = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert run.returncode == -signal.SIGKILL, run.stderr
    answers: list[list[Tensor]] = torch.load(scratch / "answers.pt")
    return answers


def test_a_killed_worker_leaves_nothing_behind_and_serving_needs_no_compiler(
    folder: Path, pictures: list[Tensor], tmp_path: Path
) -> None:
    before = sorted(folder.iterdir())
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    nothing = {"PATH": str(temporary), "TMPDIR": str(temporary)}
    assert len(in_a_process(folder, pictures[2], tmp_path, nothing)[1][0]) > 3
    assert sorted(folder.iterdir()) == before
    assert list(temporary.iterdir()) == []


def test_it_runs_on_a_processor_without_avx512(folder: Path, pictures: list[Tensor], tmp_path: Path) -> None:
    """oneDNN laid some weights out for this processor; another's kernels must read them all the same."""
    if "avx512f" in compiled(folder).instructions:
        pytest.fail("it should not take AVX-512 for granted")
    older = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    plain, lesser = (in_a_process(folder, pictures[2], tmp_path, given)[1] for given in ({}, older))
    assert len(plain[0]) > 3
    for ours, theirs in zip(lesser, plain, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-2, rtol=1e-3)


def test_a_flipped_bit_is_noticed(folder: Path, tmp_path: Path) -> None:
    content = bytearray((folder / PACKAGE_FILE).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / PACKAGE_FILE).write_bytes(content)
    (tmp_path / "model_card.json").write_bytes((folder / "model_card.json").read_bytes())
    with pytest.raises(ValueError, match=r"model\.pt2 is damaged: the checksum of .*\.so is another"):
        Detector.load(tmp_path)


def test_torchserve_serves_it_with_the_same_answers(compiled_model: str, server: TorchServe) -> None:
    for picture in PICTURES[:6]:
        ours, theirs = (
            json.loads(server.request("inference", f"/predictions/{name}", picture.read_bytes())[1])
            for name in (compiled_model, MODEL)
        )
        assert len(theirs["detections"]) > 0
        assert [each["mask"] for each in ours["detections"]] == [each["mask"] for each in theirs["detections"]]
        for one, other in zip(ours["detections"], theirs["detections"], strict=True):
            assert (one["label"], one["box"]) == (other["label"], pytest.approx(other["box"], abs=1e-3))
    status, body = server.request("management", f"/models/{compiled_model}?customized=true")
    assert status == 200
    described = json.loads(body)[0]["customizedMetadata"]
    assert described["compiled"] == json.loads(json.dumps(asdict(tied_to_here())))
