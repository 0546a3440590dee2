"""What the user says about a checkpoint, and the conventions that come of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from export.agreement import check_claims
from export.class_names import fitting_class_names, read_class_names
from export.conventions import Conventions
from export.errors import ExportError
from export.kinds import Format
from export.model.anchors import cell_anchors
from export.presets import claims, config_claims, config_conventions, default_preset, preset, preset_format
from export.weights import Imported

# Caffe2's weights run under maskrcnn-benchmark's conventions.
_SAME_CONVENTIONS: dict[Format, Format] = {"caffe2": "maskrcnn-benchmark"}
# A buffer of anchors may have been rounded to float16 and back; an anchor of another size is pixels off.
_ANCHOR_TOLERANCE = 0.51


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
        notes: What was taken from elsewhere.
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
    conventions, origin = _given(choices, imported)
    conventions, notes = _with_trained_pixels(conventions, imported.trained)
    for section, fields in choices.changes.items():
        conventions = conventions.with_options(section, **fields)
        notes += tuple(f"{name} = {value}, as asked" for name, value in fields.items() if value is not None)
    _check_trained_anchors(conventions, imported)
    names = read_class_names(choices.labels) if choices.labels else conventions.class_names
    fitting = fitting_class_names(names, imported.architecture.classes, conventions.detections.background_first)
    return Decision(replace(conventions, class_names=names), origin, notes, fitting)


def _given(choices: Choices, imported: Imported) -> tuple[Conventions, str]:
    """The conventions of the config or the preset, checked against the shapes."""
    a = imported.architecture
    framework = _SAME_CONVENTIONS.get(imported.format, imported.format)
    if choices.config and choices.preset:
        raise ExportError("give --config or --preset, not both: each says how the model was trained")
    if choices.config:
        check_claims(config_claims(choices.config, framework), a, str(choices.config))
        return config_conventions(choices.config, framework, a.kind), f"config {choices.config.name}"
    name = choices.preset or default_preset(imported.format)
    if _SAME_CONVENTIONS.get(preset_format(name), preset_format(name)) != framework:
        raise ExportError(
            f"preset {name} is of {preset_format(name)}, but the checkpoint is one of {imported.format}; "
            "choose a preset of that, or say --format if the names of its weights were changed"
        )
    check_claims(claims(name), a, f"preset {name}")
    return preset(name, a.kind), f"preset {name}{'' if choices.preset else ', by default'}"


def _with_trained_pixels(
    conventions: Conventions, trained: Mapping[str, Tensor]
) -> tuple[Conventions, tuple[str, ...]]:
    """Mean and deviation of the pixels, where the checkpoint says them."""
    notes: tuple[str, ...] = ()
    for name in ("mean", "std"):
        if name not in trained:
            continue
        theirs = trained[name].flatten()
        if len(theirs) != 3:
            raise ExportError(f"key pixel_{name} must hold 3 values, found {len(theirs)}")
        ours = torch.tensor(getattr(conventions.preprocessing, name), dtype=theirs.dtype)
        if not torch.equal(theirs, ours):  # 103.53 is another number in float32, and again in float16
            found = tuple(round(value, 6) for value in theirs.double().tolist())
            notes += (f"{name} = {found}, as the checkpoint says",)
            conventions = conventions.with_options("preprocessing", **{name: found})
    return conventions, notes


def _check_trained_anchors(conventions: Conventions, imported: Imported) -> None:
    """Compare the anchors with those that the checkpoint carries, if any."""
    strides = imported.architecture.strides(conventions.body.last_dilation)
    if len(conventions.proposals.anchor_sizes) != len(strides):
        return  # the model says what does not fit
    ours = cell_anchors(conventions.proposals, strides)
    for level, anchors in enumerate(ours):
        theirs = imported.trained.get(f"anchors{level}")
        if theirs is None:
            continue
        if theirs.shape != anchors.shape or float((theirs.float() - anchors).abs().max()) > _ANCHOR_TOLERANCE:
            raise ExportError(
                f"the checkpoint's anchors of level {level} are {theirs.tolist()}, but the conventions give "
                f"{anchors.tolist()}; use --anchor-sizes and --anchor-ratios (or --config) as in training"
            )
