"""What the user says about a checkpoint, and the conventions that come of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from export.agreement import check_claims, check_conventions
from export.class_names import fitting_class_names, read_class_names
from export.conventions import Conventions
from export.errors import ExportError
from export.kinds import Format, framework_of
from export.network.architecture import MobileNetBody
from export.network.weights import Imported
from export.presets import claims, config_claims, config_conventions, preset, preset_format
from export.trained_values import check_trained_anchors, with_trained_pixels


@dataclass(frozen=True)
class Choices:
    """What a user may say; all of it may be left out.

    Attributes:
        format: Whose names the weights have.
        preset: Name of the conventions.
        config: The framework's own config file, in place of a preset.
        labels: A file of class names, or the name of a known list.
        changes: Section of the conventions -> field -> value; None is no change.
    """

    format: Format | None = None
    preset: str | None = None
    config: Path | None = None
    labels: Path | None = None
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """The conventions of one export.

    Attributes:
        conventions: As they will be used.
        origin: Where they come from, for the user and the model card.
        notes: What was taken from elsewhere, and what the config asks for that is not done.
        class_names: One a label.
    """

    conventions: Conventions
    origin: str
    notes: tuple[str, ...]
    class_names: tuple[str, ...]


def decide(choices: Choices, imported: Imported) -> Decision:
    """Settle the conventions of a checkpoint.

    Raises:
        ExportError: The choices contradict each other or the checkpoint.
    """
    conventions, origin, notes = _given(choices, imported)
    conventions, taken = with_trained_pixels(conventions, imported)
    notes += taken
    for section, fields in choices.changes.items():
        conventions = conventions.with_options(section, **fields)
        notes += tuple(f"{name} = {value}, as asked" for name, value in fields.items() if value is not None)
    check_conventions(imported.architecture, conventions)
    check_trained_anchors(conventions, imported)
    names = read_class_names(choices.labels) if choices.labels else conventions.class_names
    fitting = fitting_class_names(names, imported.architecture.classes, conventions.detections.background_first)
    return Decision(replace(conventions, class_names=names), origin, notes, fitting)


def _given(choices: Choices, imported: Imported) -> tuple[Conventions, str, tuple[str, ...]]:
    """The conventions of the config or the preset, checked against the shapes; where they come from; what is not done.

    A preset may be of other classes: nothing but their names hangs on them, and most trainings begin with a published
    network. A config is of this very training.
    """
    a = imported.architecture
    framework = framework_of(imported.format)
    if choices.config and choices.preset:
        raise ExportError("give --config or --preset, not both: each says how the model was trained")
    if choices.config:
        claimed = config_claims(choices.config, framework)
        check_claims(claimed, a, str(choices.config))
        made = config_conventions(choices.config, framework, a.kind)
        return made, f"config {choices.config.name}", claimed.notes
    name = choices.preset or _default_preset(imported)
    if framework_of(preset_format(name)) != framework:
        raise ExportError(
            f"preset {name} is of {preset_format(name)}, but the checkpoint is one of {imported.format}; "
            "choose a preset of that, or say --format if the names of its weights were changed"
        )
    claimed = claims(name)
    check_claims(replace(claimed, classes=None), a, f"preset {name}")
    made, notes = preset(name, a.kind), claimed.notes
    if claimed.classes not in (None, a.classes - 1):
        made = replace(made, class_names=None)
        notes += (f"class names: the preset has {claimed.classes}, the checkpoint {a.classes - 1}",)
    return made, f"preset {name}{'' if choices.preset else ', by default'}", notes


def _default_preset(imported: Imported) -> str:
    if isinstance(imported.architecture.body, MobileNetBody):
        return "torchvision-mobilenet-v3-large"
    return framework_of(imported.format)
