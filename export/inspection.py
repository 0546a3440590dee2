"""What a checkpoint is, before anything is exported."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from export.checkpoint import Checkpoint, load_checkpoint
from export.choices import Choices, Decision, decide
from export.description import details, summary
from export.errors import ExportError
from export.model.detector import check_conventions
from export.weights import Imported, import_weights

_SHOWN = ("preprocessing", "body", "boxes", "proposals", "pooling", "detections", "answers")


def inspect(path: Path, choices: Choices) -> str:
    """Describe a checkpoint: what it is, what its shapes say, what a preset says, and what must be given.

    Raises:
        ExportError: It cannot be read, or is of no network that can be exported.
    """
    checkpoint = load_checkpoint(path)
    imported = import_weights(checkpoint.tensors, choices.format)
    blocks = [_what_it_is(path, checkpoint, imported), _of_the_shapes(imported)]
    try:
        decision = decide(choices, imported)
        check_conventions(imported.architecture, decision.conventions)
    except ExportError as error:
        return "\n\n".join([*blocks, f"must be given:\n  {error}"])
    return "\n\n".join([*blocks, _of_the_preset(decision), _to_be_given(path, imported, choices, decision)])


def _block(title: str, rows: Iterator[tuple[str, str]]) -> str:
    return "\n".join([f"{title}:", *(f"  {name:<12}{value}" for name, value in rows)])


def _what_it_is(path: Path, checkpoint: Checkpoint, imported: Imported) -> str:
    nested = f', weights under "{checkpoint.nested_under}"' if checkpoint.nested_under else ""
    rows = {
        "file": f"{checkpoint.file_name}, {path.stat().st_size / 1e6:.1f} MB{nested}",
        "sha256": checkpoint.sha256,
        "format": f"{imported.format}, {len(checkpoint.tensors)} keys",
        "network": summary(imported.architecture),
    }
    return _block("what it is", iter(rows.items()))


def _of_the_shapes(imported: Imported) -> str:
    return _block("read off the shapes", details(imported.architecture))


def _of_the_preset(decision: Decision) -> str:
    sections = asdict(decision.conventions)
    rows = [
        (section, ", ".join(f"{name} {_short(value)}" for name, value in sections[section].items()))
        for section in _SHOWN
    ]
    return _block(f"from {decision.origin}", iter([*rows, *(("but", note) for note in decision.notes)]))


def _short(value: object) -> str:
    if isinstance(value, list | tuple):
        return "(" + ", ".join(map(_short, value)) + ")"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _to_be_given(path: Path, imported: Imported, choices: Choices, decision: Decision) -> str:
    named = decision.conventions.class_names is not None
    names = ", ".join(decision.class_names[:4])
    rows = {
        "class names": f"known ({names}, ...)" if named else f"not known: --labels FILE (without: {names}, ...)",
        "conventions": "as asked"
        if choices.preset or choices.config
        else "a guess by the format: --preset or --config "
        "if training changed sizes, thresholds, pixel means or where the blocks stride",
        "export with": f"python -m export {path}{_flags(choices)}{'' if named else ' --labels FILE'}",
    }
    return _block("to be given", iter(rows.items()))


def _flags(choices: Choices) -> str:
    flags = (("format", choices.format), ("preset", choices.preset), ("config", choices.config))
    return "".join(f" --{name} {value}" for name, value in flags if value)
