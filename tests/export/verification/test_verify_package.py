"""What is compared of a package where it is not in float32 on the CPU (that is compared with a real one, slowly)."""

import pytest
import torch
from torch import Tensor

from export.errors import ExportError
from export.verification.comparison import NONE, Differences
from export.verification.proof_cases import Case
from export.verification.verify_package import HALF_FEATURES, HALF_MASKS, _compared, _on_multiples

LEVEL = torch.linspace(-4, 4, 96).reshape(1, 2, 6, 8)
MASKS = torch.full((3, 4, 4), 0.5)


def detected(level: Tensor) -> tuple[Tensor, ...]:
    """What ``detect`` gives, with one level; of the rest only its count is looked at."""
    rows = torch.zeros(1, 5)
    return torch.zeros(1, 5, 4), rows, rows.long(), rows.long(), torch.tensor([5]), level


def forwarded(count: int, masks: Tensor) -> tuple[Tensor, ...]:
    return torch.zeros(count, 4), torch.zeros(count), torch.zeros(count).long(), masks, torch.tensor([3])


def case(method: str, dtype: str = "bfloat16", device: str = "cpu") -> Case:
    return Case(f"a case of {method}", method, (), dtype, device)


@pytest.mark.parametrize(("share", "holds"), [(0.5, True), (1.5, False)])
def test_half_precision_may_be_off_by_its_rounding_only(share: float, holds: bool) -> None:
    pairs = {
        "detect": (detected(LEVEL + share * HALF_FEATURES * 4), detected(LEVEL)),
        "segment": ((MASKS + share * HALF_MASKS,), (MASKS,)),
    }
    for method, (found, expected) in pairs.items():
        if holds:
            assert _compared(case(method), found, expected, Differences()) == NONE
            continue
        with pytest.raises(ExportError, match=f"differs from the model in a case of {method}, in bfloat16: by"):
            _compared(case(method), found, expected, Differences())


@pytest.mark.parametrize("method", ["detect", "segment"])
def test_nan_is_never_close(method: str) -> None:
    found = detected(LEVEL * float("nan")) if method == "detect" else (MASKS * float("nan"),)
    with pytest.raises(ExportError, match="differs from the model"):
        _compared(case(method), found, detected(LEVEL) if method == "detect" else (MASKS,), Differences())


@pytest.mark.parametrize("given", [case("forward"), case("forward", "float32", "cuda")], ids=["half", "gpu"])
def test_the_whole_network_must_give_whole_answers(given: Case) -> None:
    expected = forwarded(3, MASKS)
    assert _compared(given, forwarded(3, MASKS + 0.4), expected, Differences()) == NONE
    for broken in (forwarded(3, MASKS[:2]), forwarded(3, MASKS * float("inf")), forwarded(3, MASKS[:, :2])):
        with pytest.raises(ExportError, match="broken answers in a case of forward"):
            _compared(given, broken, expected, Differences())


def test_on_a_gpu_float32_is_compared_as_closely_as_on_the_cpu() -> None:
    given = case("detect", "float32", "cuda")
    assert _compared(given, detected(LEVEL * 1.0001), detected(LEVEL), Differences()) == NONE
    with pytest.raises(ExportError, match="the features differ by"):
        _compared(given, detected(LEVEL * 1.01), detected(LEVEL), Differences())


def test_a_canvas_is_padded_right_and_below() -> None:
    images, sizes = torch.ones(2, 3, 50, 64), torch.tensor([[50, 64], [20, 30]])
    padded = _on_multiples(Case("odd", "forward", (images, sizes)), 32)
    assert padded.inputs[0].shape == (2, 3, 64, 64)
    assert torch.equal(padded.inputs[0][:, :, :50], images)
    assert padded.inputs[0][:, :, 50:].abs().max() == 0
    assert torch.equal(padded.inputs[1], sizes)
    assert _on_multiples(Case("any", "forward", (images, sizes)), 1).inputs[0].shape == images.shape
