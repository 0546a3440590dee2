"""Proves that a compiled package answers as the model it was made of, in a process that knows only PyTorch."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from export.errors import ExportError
from export.model import MaskRCNN
from export.verification.answers import (
    Answer,
    as_tuple,
    check_elsewhere,
    check_model,
    check_whole,
    checked,
    differences_of,
    features,
    is_forward,
)
from export.verification.comparison import NONE, Differences, largest_difference
from export.verification.proof_cases import Case
from export.verification.verify import Proof, run_in_fresh_process
from handler.model_card import Compiled

# In half precision, of the largest feature of a level, and of 1. The eager model in bfloat16 is off by 0.008 and 0.003
# for the demo model, 0.013 in the features of R50-FPN, and 0.07 and 0.12 for the worst of the tests' made-up networks.
HALF_FEATURES = 0.1
HALF_MASKS = 0.25


def verify_package(
    model: MaskRCNN,
    package: Path,
    cases: Sequence[Case],
    compiled: Compiled,
    side_divisor: int,
    tolerance: Differences | None = None,
) -> Proof:
    """Compare a package with its eager model, which is in float32 and on the CPU.

    What is compiled for the CPU in float32 must give the same detections within the tolerance. On a GPU or in half
    precision rounding decides which pass a threshold, so features and masks are compared.

    Args:
        model: The eager model.
        package: What ``export.compile`` wrote.
        cases: What to run; some call ``forward``. A canvas is padded where the package takes only multiples.
        compiled: What the package is tied to.
        side_divisor: Sides of a canvas are multiples of it.
        tolerance: The largest differences allowed; the defaults of ``Differences`` without it.

    Raises:
        ExportError: The model itself gives no finite numbers, the package does not load or run elsewhere, or an answer
            is beyond the tolerance.
    """
    tolerance = tolerance or Differences()
    cases = [_on_multiples(case, side_divisor) for case in cases if model.mask_head or case.method != "segment"]
    with torch.inference_mode():
        expected = [as_tuple(getattr(model, case.method)(*case.inputs)) for case in cases]
    check_model(cases, expected)
    asked = [replace(case, dtype=compiled.dtype, device=compiled.device) for case in cases]
    worst = NONE
    for case, ours, theirs in zip(asked, run_in_fresh_process(package, asked), expected, strict=True):
        worst = worst.or_larger(_compared(case, ours, theirs, tolerance))
    detections = sum(int(answer[4].sum()) for case, answer in zip(cases, expected, strict=True) if is_forward(case))
    return Proof(tuple(case.name for case in cases), detections, worst, tolerance, (), (compiled.device,))


def _on_multiples(case: Case, divisor: int) -> Case:
    if case.method == "segment":
        return case
    images, sizes = case.inputs
    missing = [-side % divisor for side in images.shape[2:]]  # below, right
    return replace(case, inputs=(F.pad(images, (0, missing[1], 0, missing[0])), sizes))


def _compared(case: Case, found: Answer, expected: Answer, tolerance: Differences) -> Differences:
    if case.dtype != "float32":
        _check_half(case, found, expected)
        return NONE
    if case.device != "cpu":
        check_elsewhere(case, found, expected, tolerance)
        return NONE
    return checked(case, found, expected, tolerance, differences_of)


def _check_half(case: Case, found: Answer, expected: Answer) -> None:
    if is_forward(case):
        check_whole(case, found, expected)
        return
    masks = case.method == "segment"
    parts = (found, expected) if masks else (features(case, found), features(case, expected))
    for ours, theirs in zip(*parts, strict=True):
        apart = largest_difference(ours, theirs)
        allowed = HALF_MASKS if masks else HALF_FEATURES * float(theirs.abs().max())
        if not apart <= allowed:
            raise ExportError(
                f"the export differs from the model in {case.name}, in {case.dtype}: by {apart:.2g} > {allowed:.2g}"
            )
