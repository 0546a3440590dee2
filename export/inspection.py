"""What a checkpoint is, before anything is exported."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from textwrap import wrap
from typing import Any

from export.agreement import check_claims
from export.checkpoint import Checkpoint, load_checkpoint
from export.choices import Choices, Decision, decide
from export.class_names import fitting_class_lists
from export.configs.claims import Claims
from export.errors import ExportError
from export.kinds import framework_of
from export.limits import check_limits
from export.network.description import details, summary
from export.network.weights import Imported, import_weights
from export.presets import FRAMEWORK_PRESETS, claims, preset_format

_SECTIONS = ("preprocessing", "body", "boxes", "proposals", "pooling", "detections", "answers")
_NAME, _WIDTH = 15, 118  # columns
_MOST_PRESETS = 6
_NEXT_TO_NOTHING = 1e-30  # "just above 0" is the smallest number that there is
_GUESS = (
    "a guess by the format. If training changed sizes, thresholds, pixel means or where the blocks stride, give its "
    "--preset, its --config or the single options"
)
# The builders of torchvision's first published weights give their norms no eps; trained on, they keep that.
_PUBLISHED = "torchvision-coco-v1"


@dataclass(frozen=True)
class Inspection:
    """What is said of a checkpoint.

    Attributes:
        text: For the user.
        wrong: What an option of the user's has wrong; None where all fit, or where only something must be given.
    """

    text: str
    wrong: ExportError | None = None


def inspect(path: Path, choices: Choices, arguments: Sequence[str]) -> Inspection:
    """Describe a checkpoint: what it is, what its shapes say, what a preset says, and what must be given.

    Args:
        path: The file.
        choices: What the user says of it.
        arguments: The same, as given on the command line.

    Raises:
        ExportError: It cannot be read, or is of no network that can be exported.
    """
    checkpoint = load_checkpoint(path)
    imported = import_weights(checkpoint.tensors, choices.format)
    blocks = [_what_it_is(path, checkpoint, imported), _block("read off the shapes", details(imported.architecture))]
    try:
        decision = _decide(choices, imported)
    except ExportError as error:
        if not _is_wrong(choices, imported, error):
            return Inspection("\n\n".join([*blocks, _must_be_given(error, imported, arguments)]))
        return Inspection("\n\n".join([*blocks, *_in_place_of_the_preset(choices, imported)]), error)
    return Inspection(
        "\n\n".join([*blocks, of_the_preset(decision), _may_be_given(imported, choices, decision, arguments)])
    )


def _decide(choices: Choices, imported: Imported) -> Decision:
    decision = decide(choices, imported)
    check_limits(decision.conventions, decision.origin)
    return decision


def _is_wrong(choices: Choices, imported: Imported, error: ExportError) -> bool:
    """Whether the user's own options do not fit: the conventions that were asked for, or what was not said without."""
    asked = Choices(format=choices.format, preset=choices.preset, config=choices.config)
    if (asked.preset or asked.config) and _refusal(asked, imported):
        return True
    return _refusal(Choices(format=choices.format), imported) != str(error)


def _refusal(choices: Choices, imported: Imported) -> str:
    try:
        _decide(choices, imported)
    except ExportError as error:
        return str(error)
    return ""


def _in_place_of_the_preset(choices: Choices, imported: Imported) -> list[str]:
    """The presets that fit, where that of the user does not."""
    if choices.config or not (choices.preset and _refusal(Choices(choices.format, choices.preset), imported)):
        return []
    return [_block("may be meant", iter([("presets", _presets(fitting_presets(imported)))]))]


def _block(title: str, rows: Iterator[tuple[str, str]]) -> str:
    return "\n".join([f"{title}:", *(_row(name, value) for name, value in rows)])


def _row(name: str, value: str) -> str:
    if name == "export with":  # a command stays in one line, to be copied
        return f"  {name:<{_NAME}}{value}"
    lines = wrap(value, _WIDTH - _NAME, break_long_words=False, break_on_hyphens=False)
    return "\n".join(
        f"  {title:<{_NAME}}{line}" for title, line in zip([name, *[""] * len(lines)], lines, strict=False)
    )


def _what_it_is(path: Path, checkpoint: Checkpoint, imported: Imported) -> str:
    nested = f', weights under "{checkpoint.nested_under}"' if checkpoint.nested_under else ""
    rows = {
        "network": summary(imported.architecture),
        "format": f"{imported.format}, {len(checkpoint.tensors)} keys{nested}",
        "file": f"{checkpoint.file_name}, {path.stat().st_size / 1e6:.1f} MB",
        "sha256": checkpoint.sha256,
    }
    return _block("what it is", iter(rows.items()))


def of_the_preset(decision: Decision) -> str:
    """What the shapes cannot say, section by section, and the notes to it."""
    sections = asdict(decision.conventions)
    rows = [
        (section, ", ".join(f"{name} {_short(value)}" for name, value in sections[section].items()))
        for section in _SECTIONS
    ]
    return _block(f"from {decision.origin}", iter([*rows, *(("note", note) for note in decision.notes)]))


def _short(value: Any) -> str:
    """A value without the brackets that do not matter: a tuple of one is that one."""
    if isinstance(value, list | tuple):
        parts = [_short(part) for part in value]
        return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return "just above 0" if 0 < value < _NEXT_TO_NOTHING else f"{value:g}"
    return str(value)


def _may_be_given(imported: Imported, choices: Choices, decision: Decision, arguments: Sequence[str]) -> str:
    guessed = not (choices.preset or choices.config)
    presets = likely_presets(imported) if guessed else ""
    rows = {
        "class names": _class_names(imported, decision),
        "conventions": _GUESS if guessed else "as asked",
        **({"presets": presets} if presets else {}),
        "export with": _command(arguments),
    }
    return _block("may be given", iter(rows.items()))


def _must_be_given(error: ExportError, imported: Imported, arguments: Sequence[str]) -> str:
    fitting = fitting_presets(imported)
    rows = {
        "because": str(error),
        "presets": _presets(fitting),
        "export with": _command([*arguments, *(["--preset", fitting[0]] if fitting else ["--config", "YAML"])]),
    }
    return _block("must be given", iter(rows.items()))


def _class_names(imported: Imported, decision: Decision) -> str:
    shown = f"{', '.join(decision.class_names[:4])}{', ...' if len(decision.class_names) > 4 else ''}"
    if decision.conventions.class_names is not None:
        return f"known ({shown})"
    lists = fitting_class_lists(imported.architecture.classes)
    known = f"; the built-in list {' or '.join(lists)} has as many" if lists else ""
    return f"not known, so labels are called {shown}; --labels FILE gives them{known}"


def fitting_presets(imported: Imported) -> list[str]:
    """The framework's own configs, by name, that describe a network of these shapes.

    Those of as many classes; if there are none, whatever their classes.
    """
    framework = framework_of(imported.format)
    mine = [name for name in FRAMEWORK_PRESETS if framework_of(preset_format(name)) == framework]
    exact = [name for name in mine if _fits(claims(name), imported)]
    return exact or [name for name in mine if _fits(replace(claims(name), classes=None), imported)]


def likely_presets(imported: Imported) -> str:
    """Which presets may be meant where none was named; empty where there is no other."""
    if imported.format != "torchvision":
        return _presets(fitting_presets(imported))
    if not _fits(replace(claims(_PUBLISHED), classes=None), imported):
        return ""
    return f"{_PUBLISHED} where training began with torchvision's published weights, whose norms have an eps of 0"


def _fits(claimed: Claims, imported: Imported) -> bool:
    try:
        check_claims(claimed, imported.architecture, "")
    except ExportError:
        return False
    return True


def _presets(fitting: Sequence[str]) -> str:
    if not fitting:
        return "none of the published configs has these shapes: give the --config that the training wrote"
    more = f" and {len(fitting) - _MOST_PRESETS} more" if len(fitting) > _MOST_PRESETS else ""
    return f"these have such shapes: {', '.join(fitting[:_MOST_PRESETS])}{more}"


def _command(arguments: Sequence[str]) -> str:
    return f"{shlex.join([_interpreter(), '-m', 'export'])} {shlex.join(arguments)}"


def _interpreter() -> str:
    """This Python, which has all that an export needs, as it is typed in the current folder."""
    running = Path(sys.executable)
    return str(running.relative_to(Path.cwd()) if running.is_relative_to(Path.cwd()) else running)
