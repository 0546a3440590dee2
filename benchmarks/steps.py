"""Runs commands one after the other, each with a time limit and a log of its own, and says how they went."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Status = Literal["passed", "failed", "skipped"]
_LEAST_SECONDS = 5.0  # no step is begun with less


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        name: Names the log, too.
        command: Run in the repository's root.
        limit: Seconds after which it is stopped and has failed.
        environment: Set on top of this process's own.
        missing: Why it cannot run here; None: it can.
        must_say: A pattern that its log must hold, where an exit status of 0 would not be proof enough.
        refusal: A pattern that makes a failure a skip: the tool itself says that it cannot work on this machine.
        required: What comes after it makes no sense without it.
    """

    name: str
    command: tuple[str, ...]
    limit: float
    environment: dict[str, str] = field(default_factory=dict)
    missing: str | None = None
    must_say: str | None = None
    refusal: str | None = None
    required: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a step went.

    Attributes:
        name: Of the step.
        status: A step that was skipped has not passed.
        seconds: That it took.
        note: The reason, or the last line of its log.
    """

    name: str
    status: Status
    seconds: float
    note: str


def run_all(steps: Sequence[Step], out: Path, root: Path, seconds: float) -> list[Outcome]:
    """Run the steps in turn.

    Args:
        steps: What to run.
        out: Folder of the logs.
        root: Folder that the commands run in.
        seconds: For all of them; a step for which none are left has failed, since nobody looked.
    """
    end, outcomes = time.monotonic() + seconds, list[Outcome]()
    for step in steps:
        needed = next((each.name for each in outcomes if each.status == "failed" and _required(steps, each)), None)
        if needed:
            outcome = Outcome(step.name, "failed", 0.0, f"not run: {needed} failed")
        else:
            outcome = run(step, out, root, end - time.monotonic())
        print(f"{outcome.status:8}{outcome.seconds:6.0f} s  {step.name}: {outcome.note}", flush=True)
        outcomes.append(outcome)
    return outcomes


def _required(steps: Sequence[Step], outcome: Outcome) -> bool:
    return next(step for step in steps if step.name == outcome.name).required


def run(step: Step, out: Path, root: Path, seconds_left: float) -> Outcome:
    """Run one step, at most for the seconds that are left."""
    if step.missing is not None:
        return Outcome(step.name, "skipped", 0.0, step.missing)
    if seconds_left < _LEAST_SECONDS:
        return Outcome(step.name, "failed", 0.0, f"not run: the time was up; run it with --only {step.name}")
    log, begin, limit = out / f"{step.name}.log", time.monotonic(), min(step.limit, seconds_left)
    code = _run(step, log, root, limit)
    took, text = time.monotonic() - begin, log.read_text(errors="replace")
    if code is None:
        return Outcome(step.name, "failed", took, f"stopped after {limit:.0f} s; {_last_line(text)}")
    if code == 0 and (step.must_say is None or re.search(step.must_say, text)):
        return Outcome(step.name, "passed", took, _last_line(text))
    if step.refusal and (refused := re.search(step.refusal, text)):
        return Outcome(step.name, "skipped", took, f"{step.command[0]} cannot work on this machine: {refused[0]}")
    return Outcome(step.name, "failed", took, f"exit status {code}; {_last_line(text)}")


def _run(step: Step, log: Path, root: Path, limit: float) -> int | None:
    """The exit status; None where the time was up and the step was stopped with all its children."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"} | step.environment
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                step.command, cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            output.write(f"{error}\n".encode())
            return 127
        try:
            return process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:160] if lines else "no output"


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown."""
    rows = [f"| {each.name} | {each.status} | {each.seconds:.0f} | {each.note} |" for each in outcomes]
    return "\n".join(["| step | result | s | |", "|---|---|---|---|", *rows])
