"""Proves that a saved trace answers as the model it was made of, in a process that knows nothing of this project."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import ops
from export.errors import ExportError
from export.model import MaskRCNN
from export.prove.proof import SourceProof
from export.verification import fresh_process
from export.verification.answers import (
    Answer,
    as_tuple,
    check_elsewhere,
    check_model,
    check_whole,
    checked,
    differences_of,
    is_forward,
)
from export.verification.comparison import NONE, Differences
from export.verification.proof_cases import Case

# Weights of these types must run too. How far off their answers are depends on the model: only the form is checked.
LOW_PRECISION = ("bfloat16", "float16")


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
        expected = [as_tuple(getattr(model, case.method)(*case.inputs)) for case in cases]
    check_model(cases, expected)
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
        worst = worst.or_larger(checked(case, next(found), theirs, tolerance, differences_of))
    for case, theirs in zip(elsewhere, expected * len(also_on), strict=True):
        check_elsewhere(case, next(found), theirs, tolerance)
    for case in rough:
        check_whole(case, next(found), answer)
    detections = sum(int(answer[4].sum()) for case, answer in zip(cases, expected, strict=True) if is_forward(case))
    names = tuple(case.name for case in cases)
    return Proof(names, detections, worst, tolerance, LOW_PRECISION, ("cpu", *also_on))


def _shortest(cases: Sequence[Case], expected: Sequence[Answer]) -> tuple[Case, Answer]:
    """The whole network on the fewest pixels that show it something, if any do: a CPU is slow in half precision."""
    whole = [(case, answer) for case, answer in zip(cases, expected, strict=True) if is_forward(case)]
    found = [(case, answer) for case, answer in whole if int(answer[4].sum())]
    return min(found or whole, key=lambda each: each[0].inputs[0].numel())


def run_in_fresh_process(saved: Path, cases: Sequence[Case]) -> list[Answer]:
    """Run cases in a new Python that imports only PyTorch.

    Args:
        saved: A trace, or a package.
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
        command = [sys.executable, script, str(saved.resolve()), str(calls), str(answers)]
        command += [str(library.resolve()) for library in libraries]
        unpacked = os.environ | {"TMPDIR": folder}  # a package unpacks itself
        done = subprocess.run(command, cwd=folder, env=unpacked, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ExportError(f"what was exported does not run in a fresh process:\n{done.stderr[-3000:]}")
        loaded: list[Answer] = torch.load(answers, weights_only=True)
        return loaded
