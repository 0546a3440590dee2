"""The options of a request: one table for every transport."""

import difflib
import math
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from handler.errors import BadOptionError
from handler.model_card import ModelCard
from handler.selection import Selection

Masks = Literal["rle", "polygon", "png", "none"]
Format = Literal["json", "coco", "image", "html"]
PictureType = Literal["image/png", "image/jpeg"]


@dataclass(frozen=True)
class Options:
    """What a request wants of one picture.

    Attributes:
        selection: Which detections.
        masks: What a mask is written as.
        format: What the reply is.
        picture_type: What a reply of the format ``image`` is encoded as.
        image_id: The picture's id in a reply of the format ``coco``.
    """

    selection: Selection
    masks: Masks = "rle"
    format: Format = "json"
    picture_type: PictureType = "image/png"
    image_id: int | str = 0


@dataclass(frozen=True)
class Given:
    """An option as it came.

    Attributes:
        value: Text, or a JSON value.
        place: Where it stood, as the client knows it: ``header X-Detect-Masks``.
    """

    value: Any
    place: str


@dataclass(frozen=True)
class _Rule:
    """What one option takes.

    Attributes:
        allowed: For people.
        read: The value; raises ValueError for one that is not allowed.
    """

    allowed: str
    read: Callable[[Any], Any]


class OptionReader:
    """Reads options within the limits of one model.

    Attributes:
        allowed: What each option takes, for people.
    """

    def __init__(self, card: ModelCard, default: Selection) -> None:
        """Take the limits.

        Args:
            card: Its thresholds, counts and class names are the limits.
            default: What is answered where nothing is asked.
        """
        floor, most = card.postprocessing.score_threshold, card.postprocessing.max_detections
        self._finds_masks, self._default = card.postprocessing.masks, default
        known = _ids_by_name(card.class_names)
        self._rules: dict[str, _Rule] = {
            "score_threshold": _Rule(f"a number from {floor:g} to 1", lambda value: _number(value, floor, 1)),
            "max_detections": _Rule(f"an integer from 1 to {most}", lambda value: _integer(value, 1, most)),
            "classes": _Rule("names or ids of classes", lambda value: _classes(value, known)),
            "masks": _Rule(f"one of {', '.join(get_args(Masks))}", lambda value: _one_of(value, get_args(Masks))),
            "mask_threshold": _Rule("a number from 0 to 1", lambda value: _number(value, 0, 1)),
            "format": _Rule(f"one of {', '.join(get_args(Format))}", lambda value: _one_of(value, get_args(Format))),
            "image_id": _Rule("an integer or a text", _image_id),
        }
        self.allowed: Mapping[str, str] = {name: rule.allowed for name, rule in self._rules.items()}

    def read(self, given: Mapping[str, Given], accept: str = "") -> Options:
        """Read the options of one picture.

        Args:
            given: By name.
            accept: The header of this name; an option beats it.

        Raises:
            BadOptionError: An option is unknown, or its value not allowed, or two do not go together.
        """
        values = {name: self._value(name, each) for name, each in given.items()}
        wanted, picture_type = _accepted(accept)
        form: Format = values.get("format", wanted)
        masks: Masks = values.get("masks", "rle" if self._finds_masks else "none")
        self._check_masks(given.get("masks"), masks, form)
        selection = replace(
            self._default,
            score_threshold=values.get("score_threshold", self._default.score_threshold),
            max_detections=values.get("max_detections", self._default.max_detections),
            mask_threshold=values.get("mask_threshold", self._default.mask_threshold),
            labels=values.get("classes"),
            masks=masks != "none",
        )
        return Options(selection, masks, form, picture_type, values.get("image_id", 0))

    def _value(self, name: str, given: Given) -> Any:
        rule = self._rules.get(name)
        if rule is None:
            close = difflib.get_close_matches(name, self._rules, 1)
            meant = f"; did you mean {close[0]}?" if close else ""
            raise BadOptionError(
                f"{given.place}: there is no option {name!r}{meant}", f"options: {', '.join(self._rules)}"
            )
        try:
            return rule.read(given.value)
        except ValueError as error:
            said = f" ({error})" if str(error) else ""
            raise BadOptionError(
                f"{given.place}: {name} must be {rule.allowed}, got {reprlib.repr(given.value)}{said}",
                "correct the option, or leave it out for the default",
            ) from error

    def _check_masks(self, given: Given | None, masks: Masks, form: Format) -> None:
        if given is None:
            return
        if masks != "none" and not self._finds_masks:
            raise BadOptionError(
                f"{given.place}: masks must be none for a model that finds boxes only, got {masks}",
                "leave the option out",
            )
        if form == "coco" and masks == "png":
            raise BadOptionError(
                f"{given.place}: masks must be rle, polygon or none with the format coco, got {masks}",
                "COCO knows no pictures of masks; choose another of the two options",
            )


def _number(value: Any, low: float, high: float) -> float:
    if isinstance(value, bool):
        raise ValueError
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError from None
    if not low <= number <= high:  # not a number fails too
        raise ValueError
    return number


def _integer(value: Any, low: int, high: int) -> int:
    number = _number(value, low, high)
    if not number.is_integer() or math.isinf(number):
        raise ValueError
    return int(number)


def _one_of(value: Any, allowed: Iterable[str]) -> str:
    if value not in tuple(allowed):
        raise ValueError
    return str(value)


def _image_id(value: Any) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19 else value


def _ids_by_name(class_names: Iterable[str]) -> Mapping[str, frozenset[int]]:
    """Labels by name and by number, in lower case; a name may stand for several. The background is none."""
    known: dict[str, set[int]] = {}
    for label, name in enumerate(class_names):
        if name != "__background__":
            known.setdefault(name.lower(), set()).add(label)
            known.setdefault(str(label), set()).add(label)
    return {name: frozenset(labels) for name, labels in known.items()}


def _classes(value: Any, known: Mapping[str, frozenset[int]]) -> frozenset[int]:
    names = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    if not names:
        raise ValueError("an empty list; leave the option out for all classes")
    return frozenset().union(*(_labels(name, known) for name in names))


def _labels(name: Any, known: Mapping[str, frozenset[int]]) -> frozenset[int]:
    if isinstance(name, bool) or not isinstance(name, int | str):
        raise ValueError("a class is a text or an integer")
    labels = known.get(str(name).strip().lower())
    if labels is None:
        close = difflib.get_close_matches(str(name), known, 1)
        raise ValueError(f"no class {name!r}" + (f"; did you mean {close[0]}?" if close else ""))
    return labels


def _accepted(accept: str) -> tuple[Format, PictureType]:
    """Format and type of picture of the best media type of an ``Accept`` header that there is."""
    ranked: list[tuple[float, tuple[Format, PictureType]]] = []
    for part in accept.split(","):
        media_type, *parameters = (each.strip().lower() for each in part.split(";"))
        if media_type in _MEDIA_TYPES:
            ranked.append((_quality(parameters), _MEDIA_TYPES[media_type]))
    best = max(ranked, key=lambda each: each[0], default=(0.0, None))
    return best[1] if best[1] is not None and best[0] > 0 else ("json", "image/png")


_MEDIA_TYPES: Mapping[str, tuple[Format, PictureType]] = {
    "application/json": ("json", "image/png"),
    "*/*": ("json", "image/png"),
    "image/png": ("image", "image/png"),
    "image/*": ("image", "image/png"),
    "image/jpeg": ("image", "image/jpeg"),
    "text/html": ("html", "image/png"),
}


def _quality(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0
