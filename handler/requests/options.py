"""The options of a request: one table for every transport."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from handler.errors import BadOptionError
from handler.model_card import ModelCard
from handler.requests.accept import preferred
from handler.requests.classes import ClassNames
from handler.requests.values import LONGEST_ID, LONGEST_TEXT, read_id, read_integer, read_number, read_word, shown
from handler.selection import Selection

Masks = Literal["rle", "polygon", "png", "none"]
Format = Literal["json", "coco", "image", "html"]
PictureType = Literal["image/png", "image/jpeg"]

DRAWN_FROM = 0.5  # the names of all that is hardly likely would hide a drawn picture

_PICTURES: tuple[PictureType, ...] = get_args(PictureType)
_FORMATS: Mapping[str, Format] = {
    "application/json": "json",
    "image/png": "image",
    "image/jpeg": "image",
    "text/html": "html",
}


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
        names = ClassNames(card.class_names)
        self._rules: dict[str, _Rule] = {
            "score_threshold": _Rule(f"a number from {floor:g} to 1", lambda value: read_number(value, floor, 1)),
            "max_detections": _Rule(f"an integer from 1 to {most}", lambda value: read_integer(value, 1, most)),
            "classes": _Rule("names or ids of classes", names.read),
            "masks": _word(get_args(Masks)),
            "mask_threshold": _Rule("a number from 0 to 1", lambda value: read_number(value, 0, 1)),
            "format": _word(get_args(Format)),
            "image_id": _Rule(f"an integer or a printable text of at most {LONGEST_ID} characters", read_id),
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
        form: Format = values.get("format") or _FORMATS[preferred(accept, tuple(_FORMATS)) or "application/json"]
        picture_type = preferred(accept, _PICTURES) or _PICTURES[0]
        masks: Masks = values.get("masks", "rle" if self._finds_masks else "none")
        self._check_masks(given.get("masks"), masks, form)
        usual = self._default.score_threshold
        selection = replace(
            self._default,
            score_threshold=values.get("score_threshold", max(usual, DRAWN_FROM) if form == "image" else usual),
            max_detections=values.get("max_detections", self._default.max_detections),
            mask_threshold=values.get("mask_threshold", self._default.mask_threshold),
            labels=values.get("classes"),
            masks=masks != "none",
        )
        return Options(selection, masks, form, picture_type, values.get("image_id", 0))

    def _value(self, name: str, given: Given) -> Any:
        rule = self._rules.get(name)
        if rule is None:
            raise self._unknown(name, given.place)
        try:
            if isinstance(given.value, str) and len(given.value) > LONGEST_TEXT:
                raise ValueError(f"it is longer than {LONGEST_TEXT:,} characters")
            return rule.read(given.value)
        except ValueError as error:
            said = f" ({error})" if str(error) else ""
            raise BadOptionError(
                f"{given.place}: {name} must be {rule.allowed}, got {shown(given.value)}{said}",
                "correct the option, or leave it out for the default",
            ) from error

    def _unknown(self, name: str, place: str) -> BadOptionError:
        close = difflib.get_close_matches(name, self._rules, 2) if len(name) < 60 else []
        meant = f"; did you mean {' or '.join(close)}?" if close else ""
        return BadOptionError(
            f"{place}: there is no option {shown(name)}{meant}",
            f"options: {', '.join(self._rules)}; a picture goes into the form field `data`, in JSON into `image`",
        )

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


def _word(allowed: tuple[str, ...]) -> _Rule:
    return _Rule(f"one of {', '.join(allowed)}", lambda value: read_word(value, allowed))
