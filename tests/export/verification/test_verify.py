from pathlib import Path

import pytest
import torch
from torch import Tensor

from export import trace
from export.conventions import Conventions
from export.errors import ExportError
from export.model import MaskRCNN
from export.verification.answers import check_elsewhere
from export.verification.comparison import Differences
from export.verification.proof_cases import CANVASES, Case, proof_cases
from export.verification.verify import run_in_fresh_process, verify
from tests.export import tiny
from tests.export.test_trace import pictures, tiny_model

CASES = proof_cases(tiny.BOTTLENECK, Conventions())


def saved(model: MaskRCNN, folder: Path) -> Path:
    trace.save(trace.trace(model), folder / "model.pt")
    return folder / "model.pt"


def test_the_cases_are_not_what_was_traced() -> None:
    assert sorted({batch for batch, _, _ in CANVASES}) == list(range(1, 9))
    traced = trace.EXAMPLE_CANVAS
    assert (traced[0], *traced[2:]) not in CANVASES
    assert {case.method for case in CASES} == {"forward", "detect", "explain", "segment"}


def test_the_cases_are_the_same_each_time() -> None:
    again = proof_cases(tiny.BOTTLENECK, Conventions())
    assert all(
        torch.equal(a, b) for x, y in zip(CASES, again, strict=True) for a, b in zip(x.inputs, y.inputs, strict=True)
    )


def test_proves_a_trace(tmp_path: Path) -> None:
    model = tiny_model()
    proof = verify(model, saved(model, tmp_path), CASES)
    assert proof.detections > 100
    assert proof.largest_differences.beyond(proof.tolerance) == []
    assert proof.also_ran == ("bfloat16", "float16")
    assert proof.devices[0] == "cpu"


# The second device stands for a GPU: what is compared on one does not depend on which it is.
def test_proves_a_trace_on_another_device(tmp_path: Path) -> None:
    model = tiny_model()
    assert verify(model, saved(model, tmp_path), CASES, also_on=("cpu",)).devices == ("cpu", "cpu")


@pytest.mark.parametrize(
    ("case", "part"),
    [
        ("detect", "pyramid.outputs.0.bias"),
        ("explain", "pyramid.outputs.0.bias"),
        ("masks of boxes and padding", "mask_head.logit_bias"),
    ],
)
def test_refuses_a_trace_that_computes_otherwise_on_another_device(case: str, part: str, tmp_path: Path) -> None:
    model = tiny_model()
    path = saved(model, tmp_path)
    (asked,) = (each for each in CASES if each.name == case)
    expected = getattr(model, asked.method)(*asked.inputs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    check_elsewhere(asked, run_in_fresh_process(path, [asked])[0], expected, Differences())
    model.get_parameter(part).add_(1)
    with pytest.raises(ExportError, match="the export differs from the model in"):
        check_elsewhere(asked, run_in_fresh_process(saved(model, tmp_path), [asked])[0], expected, Differences())


@pytest.mark.parametrize("part", ["mask_head.logit_bias", "box_head.deltas.bias", "box_head.scores.bias"])
def test_refuses_a_trace_that_answers_otherwise(part: str, tmp_path: Path) -> None:
    model = tiny_model()
    path = saved(model, tmp_path)
    model.get_parameter(part).add_(torch.linspace(0, 1, model.get_parameter(part).numel()))
    with pytest.raises(ExportError, match="the export differs from the model in"):
        verify(model, path, CASES[5:7])


class ExplainsOtherwise(MaskRCNN):
    """Wrong in one part of its explanations."""

    part = 0

    def explain(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        right = super().explain(images, sizes)
        return (*right[: self.part], right[self.part] * 1.1, *right[self.part + 1 :])


@pytest.mark.parametrize(("part", "said"), [(5, "boxes"), (6, "scores"), (7, "scores")])
def test_refuses_a_trace_that_explains_otherwise(part: int, said: str, tmp_path: Path) -> None:
    model = tiny_model()
    cases = [each for each in CASES if each.method == "explain"] + CASES[5:6]
    path = saved(model, tmp_path)
    assert verify(model, path, cases).cases[0] == "explain"
    other = tiny_model()
    other.__class__, other.part = ExplainsOtherwise, part  # type: ignore[assignment]
    with pytest.raises(ExportError, match=f"the export differs from the model in explain: {said}"):
        verify(model, saved(other, tmp_path), cases)


def test_tells_networks_apart_that_detect_nothing(tmp_path: Path) -> None:
    model = tiny_model()
    model.box_head.get_parameter("scores.bias")[1:] = -100.0
    path = saved(model, tmp_path)
    detect = [case for case in CASES if case.method == "detect"]
    assert verify(model, path, [CASES[0], *detect]).detections == 0
    next(weights for name, weights in model.named_parameters() if "pyramid" in name and weights.dim() == 4).mul_(1.1)
    with pytest.raises(ExportError, match="the export differs from the model in detect: the features differ"):
        verify(model, path, [CASES[0], *detect])


def test_refuses_a_model_whose_features_overflow(tmp_path: Path) -> None:
    model = tiny_model()
    for weights in model.parameters():
        weights.mul_(1e9)
    detect = [case for case in CASES if case.method == "detect"]
    with pytest.raises(ExportError, match="^the model's own features are not finite"):
        verify(model, saved(model, tmp_path), [CASES[0], *detect])


def test_says_why_a_trace_does_not_run(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"no trace")
    with pytest.raises(ExportError, match="does not run in a fresh process"):
        run_in_fresh_process(path, [Case("any", "forward", pictures(1, 32, 32))])
