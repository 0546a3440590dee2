"""Proves that a saved trace answers as the model it was made of, in a process that knows nothing of this project."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

import ops
from export.errors import ExportError
from export.model import MaskRCNN
from export.prove.proof import SourceProof
from export.verification import fresh_process
from export.verification.comparison import NONE, Differences, compare_answers, largest_difference
from export.verification.proof_cases import Case

# Weights of these types must run too. How far off their answers are depends on the model: only the form is checked.
LOW_PRECISION = ("bfloat16", "float16")
FEATURE_TOLERANCE = 1e-3  # of the largest feature of a level: a hundred times the rounding of 50 layers

Answer = tuple[Tensor, ...]


@dataclass(frozen=True)
class Proof:
    """What was compared, and how close it was.

    Attributes:
        cases: Names of the calls that were compared with the eager model.
        detections: How many detections they gave, over all pictures.
        largest_differences: Over all of them.
        tolerance: What would have been an error.
        also_ran: Other dtypes of the weights that gave whole answers.
        devices: Where the trace ran. Off the CPU its features and masks were compared; which detections pass a
            threshold may differ there by rounding.
        source_framework: What the framework itself says of the same weights, where that was asked for.
    """

    cases: tuple[str, ...]
    detections: int
    largest_differences: Differences
    tolerance: Differences
    also_ran: tuple[str, ...]
    devices: tuple[str, ...]
    source_framework: SourceProof | None = None

    def as_card(self) -> dict[str, Any]:
        """The proof as plain values; a part that was not asked for is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def available_gpus() -> tuple[str, ...]:
    """The devices besides the CPU on which a trace can be proved here."""
    return ("cuda",) if torch.cuda.is_available() and ops.CUDA_LIBRARY.is_file() else ()


def verify(
    model: MaskRCNN,
    trace: Path,
    cases: Sequence[Case],
    tolerance: Differences | None = None,
    also_on: Sequence[str] | None = None,
) -> Proof:
    """Compare a saved trace with its eager model.

    Args:
        model: The eager model.
        trace: What ``export.trace.save`` wrote.
        cases: What to run; some call ``forward``.
        tolerance: The largest differences allowed; the defaults of ``Differences`` without it.
        also_on: Devices besides the CPU; ``available_gpus()`` without it.

    Raises:
        ExportError: The model itself gives no finite numbers, the trace does not load or run elsewhere, or an answer is
            beyond the tolerance.
    """
    tolerance = tolerance or Differences()
    also_on = available_gpus() if also_on is None else also_on
    with torch.inference_mode():
        expected = [_as_tuple(getattr(model, case.method)(*case.inputs)) for case in cases]
    _check_model(cases, expected)
    elsewhere = [replace(case, name=f"{case.name} on {device}", device=device) for device in also_on for case in cases]
    short, answer = _shortest(cases, expected)
    rough = [
        replace(short, name=f"{short.name} with {dtype} weights on {device}", dtype=dtype, device=device)
        for device in ("cpu", *also_on)
        for dtype in LOW_PRECISION
    ]
    found = iter(run_in_fresh_process(trace, [*cases, *elsewhere, *rough]))
    worst = NONE
    for case, theirs in zip(cases, expected, strict=True):
        worst = worst.or_larger(_checked(case, next(found), theirs, tolerance, _differences))
    for case, theirs in zip(elsewhere, expected * len(also_on), strict=True):
        _check_elsewhere(case, next(found), theirs, tolerance)
    for case in rough:
        _check_whole(case, next(found), answer)
    detections = sum(int(answer[4].sum()) for case, answer in zip(cases, expected, strict=True) if _is_forward(case))
    names = tuple(case.name for case in cases)
    return Proof(names, detections, worst, tolerance, LOW_PRECISION, ("cpu", *also_on))


def _shortest(cases: Sequence[Case], expected: Sequence[Answer]) -> tuple[Case, Answer]:
    """The whole network on the fewest pixels that show it something, if any do: a CPU is slow in half precision."""
    whole = [(case, answer) for case, answer in zip(cases, expected, strict=True) if _is_forward(case)]
    found = [(case, answer) for case, answer in whole if int(answer[4].sum())]
    return min(found or whole, key=lambda each: each[0].inputs[0].numel())


def run_in_fresh_process(trace: Path, cases: Sequence[Case]) -> list[Answer]:
    """Run cases in a new Python that imports only PyTorch.

    Args:
        trace: A saved trace.
        cases: What to run.

    Raises:
        ExportError: The process failed; the text is its last words.
    """
    with TemporaryDirectory(prefix="proof-") as folder:
        calls, answers = Path(folder, "calls.pt"), Path(folder, "answers.pt")
        asked = [(case.device, case.dtype, case.method, case.inputs) for case in cases]
        torch.save({"threads": torch.get_num_threads(), "calls": asked}, calls)
        script = str(Path(fresh_process.__file__).resolve())
        libraries = [ops.LIBRARY, *([ops.CUDA_LIBRARY] if any(case.device != "cpu" for case in cases) else [])]
        command = [sys.executable, script, str(trace.resolve()), str(calls), str(answers)]
        command += [str(library.resolve()) for library in libraries]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ExportError(f"the trace does not run in a fresh process:\n{done.stderr[-3000:]}")
        loaded: list[Answer] = torch.load(answers, weights_only=True)
        return loaded


def _as_tuple(answer: Tensor | Answer) -> Answer:
    return (answer,) if isinstance(answer, Tensor) else answer


def _is_forward(case: Case) -> bool:
    return case.method == "forward"


def _checked(
    case: Case,
    found: Answer,
    expected: Answer,
    tolerance: Differences,
    differences: Callable[[Case, Answer, Answer], Differences],
) -> Differences:
    try:
        worst = differences(case, found, expected)
    except ExportError as error:
        raise ExportError(f"the trace differs from the model in {case.name}: {error}") from error
    if beyond := worst.beyond(tolerance):
        raise ExportError(f"the trace differs from the model in {case.name}: {', '.join(beyond)}")
    return worst


def _differences(case: Case, found: Answer, expected: Answer) -> Differences:
    if case.method == "segment":
        return Differences(0.0, 0.0, largest_difference(found[0], expected[0]))
    return compare_answers(found, expected) if _is_forward(case) else _compare_first_half(case, found, expected)


def _compare_first_half(case: Case, found: Answer, expected: Answer) -> Differences:
    if found[2].tolist() != expected[2].tolist():
        raise ExportError("the labels differ")
    _check_features(_features(case, found), _features(case, expected))
    boxes, scores = (
        largest_difference(*(_joined(answer, places) for answer in (found, expected)))
        for places in _BOXES_AND_SCORES[case.method]
    )
    return Differences(boxes, scores, 0.0)


# Places in what ``detect`` and ``explain`` give: of boxes, those of the proposals too; then of scores, of all classes
# and of the proposals too.
_BOXES_AND_SCORES = {"detect": ((0,), (1,)), "explain": ((0, 5), (1, 6, 7))}
_BEFORE_LEVELS = {"detect": 5, "explain": 8}


def _joined(answer: Answer, places: Sequence[int]) -> Tensor:
    """Some parts (B, D, ...) of an answer in one, (B, ...)."""
    return torch.cat([answer[place].flatten(1) for place in places], dim=1)


def _features(case: Case, answer: Answer) -> Answer:
    return answer[_BEFORE_LEVELS[case.method] :]


def _check_elsewhere(case: Case, found: Answer, expected: Answer, tolerance: Differences) -> None:
    """Compare what no threshold decides: the levels of the pyramid, and the masks of given boxes."""
    if _is_forward(case):
        _check_whole(case, found, expected)
    else:
        _checked(case, found, expected, tolerance, _differences_before_thresholds)


def _differences_before_thresholds(case: Case, found: Answer, expected: Answer) -> Differences:
    if case.method == "segment":
        return _differences(case, found, expected)
    _check_features(_features(case, found), _features(case, expected))
    return NONE


def _check_model(cases: Sequence[Case], expected: Sequence[Answer]) -> None:
    """Refuse a model that finds nothing because it computes nothing."""
    for case, answer in zip(cases, expected, strict=True):
        if case.method == "detect" and not all(bool(level.isfinite().all()) for level in answer[5:]):
            raise ExportError("the model's own features are not finite: its weights are too large or damaged")


def _check_features(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    """Compare the levels of the pyramid: they tell two networks apart even where nothing is detected."""
    for ours, theirs in zip(found, expected, strict=True):
        apart, largest = largest_difference(ours, theirs), float(theirs.abs().max())
        if not apart <= FEATURE_TOLERANCE * largest:
            raise ExportError(f"the features differ by {apart:.2g}, the largest is {largest:.2g}")


def _check_whole(case: Case, found: Answer, expected: Answer) -> None:
    finite = all(bool(part.isfinite().all()) for part in found)
    if not finite or len(found[3]) != int(found[4].sum()) or found[3].shape[1:] != expected[3].shape[1:]:
        raise ExportError(f"the trace gives broken answers in {case.name}")
