"""What the proof is given: all that is known of a checkpoint, and the modules of its framework."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from export.checkpoint import Checkpoint
from export.choices import Choices, Decision
from export.errors import ExportError
from export.network.weights import Imported


@dataclass(frozen=True)
class Source:
    """All that is known of a checkpoint.

    Attributes:
        checkpoint: Its tensors, still under the framework's names.
        imported: What they were understood as.
        choices: What the user said of it.
        decision: What came of that.
    """

    checkpoint: Checkpoint
    imported: Imported
    choices: Choices
    decision: Decision


def framework_module(name: str) -> Any:
    """A module of a framework, which a proof needs and nothing else.

    Raises:
        ExportError: It is not importable here.
    """
    package = name.partition(".")[0]
    try:
        return import_module(name)
    except (ImportError, OSError) as error:  # OSError: a compiled part lacks a library
        raise ExportError(
            f"--prove runs {package} itself, which cannot be imported here ({error}); install it beside this PyTorch "
            "on the machine that exports (the one that serves does not need it), or leave --prove out"
        ) from error
