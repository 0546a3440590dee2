"""Whether an answer is the expected one.

Pictures that share a pass of the network differ from those that were alone in it by the rounding of float32: scores by
some 1e-6, corners by 0.001 pixels, and the pixels of a mask that lie on its very border. So: everything must be equal
but scores (within 5e-6; they have six digits), corners (0.003 px) and masks, in which at most three pixels, or 0.2 % of
the mask, may differ. Masks are compared as pixels, whatever their form. In a drawn picture an outline may lie one pixel
beside where it was: at most 0.5 % of the pixels may differ, by any amount, and all others by nothing; and what differs
must be thin: of squares of 2 x 2 pixels 60 may differ, which is less than the name of one object covers.
"""

import base64
import io
import json
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from tests.soak.cases import ID, Kind

SCORE, CORNER = 5e-6, 0.003
MASK_PIXELS, MASK_SHARE, DRAWN_SHARE, DRAWN_SQUARES = 3, 0.002, 0.005, 60
_FACTS = re.compile(rb'(<script type="application/json" id="facts">)(.*?)(</script>)', re.DOTALL)
Where = tuple[int, int]  # height, width of the picture


def difference(kind: Kind, expected: bytes, got: bytes, request: str) -> str | None:
    """What is wrong with an answer; None: nothing.

    Args:
        kind: Of both.
        expected: The right one, ``ID`` where the id belongs.
        got: The one that came.
        request: The id that was sent.
    """
    expected = expected.replace(ID.encode(), request.encode())
    if got == expected:
        return None
    try:
        return _DIFFERENCES[kind](expected, got)
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        return f"cannot be read: {type(error).__name__}: {error}"


def _json(expected: bytes, got: bytes) -> str | None:
    return _value(json.loads(expected), json.loads(got), "", (0, 0))


def _drawn(expected: bytes, got: bytes) -> str | None:
    with Image.open(io.BytesIO(expected)) as right, Image.open(io.BytesIO(got)) as other:
        if (right.size, right.mode, right.format) != (other.size, other.mode, other.format):
            return f"drawn: {other.size} {other.mode} {other.format}, not {right.size} {right.mode} {right.format}"
        differ = (np.asarray(right) != np.asarray(other)).any(axis=-1)
    squares = differ[1:, 1:] & differ[1:, :-1] & differ[:-1, 1:] & differ[:-1, :-1]
    if (wide := int(squares.sum())) > DRAWN_SQUARES:
        return f"drawn: {wide} squares of 2 x 2 pixels differ, {DRAWN_SQUARES} may"
    return _pixels("drawn", int(differ.sum()), int(DRAWN_SHARE * differ.size))


def _html(expected: bytes, got: bytes) -> str | None:
    right, other = _FACTS.search(expected), _FACTS.search(got)
    if not right or not other or _FACTS.sub(rb"\1\3", expected) != _FACTS.sub(rb"\1\3", got):
        return "page: another text around the answer"
    return _json(right[2], other[2])


_DIFFERENCES = {"json": _json, "coco": _json, "error": _json, "image": _drawn, "html": _html}


def _value(right: Any, other: Any, name: str, size: Where) -> str | None:
    """The first difference of two values of JSON; ``size`` is that of the picture they speak of, once it is known."""
    if name in ("mask", "segmentation"):
        return _masks(name, _painted(right, size), _painted(other, size))
    if name == "png":
        return _masks(name, *map(_palette, (right, other)))
    if type(right) is not type(other) and not {type(right), type(other)} <= {int, float}:
        return f"{name}: {_short(other)}, not {_short(right)}"
    if isinstance(right, dict):
        return _dicts(right, other, name, size)
    if isinstance(right, list):
        return _lists(right, other, name, size)
    if name == "data" and isinstance(right, str) and right.startswith(("{", "[")):
        return _value(json.loads(right), json.loads(other), "", size)  # KServe v2: a text of JSON
    return _scalar(right, other, name)


def _dicts(right: dict[str, Any], other: dict[str, Any], name: str, size: Where) -> str | None:
    if list(right) != list(other):
        return f"{name}: has {sorted(other)}, not {sorted(right)}"
    if isinstance(image := right.get("image"), dict):
        size = (image["height"], image["width"])
    found = (_value(right[key], other[key], key, size) for key in right)
    return next((each for each in found if each), None)


def _lists(right: list[Any], other: list[Any], name: str, size: Where) -> str | None:
    if len(right) != len(other):
        return f"{name}: {len(other)} of them, not {len(right)}"
    if right and isinstance(right[0], dict) and "score" in right[0]:
        for place, (one, two) in enumerate(zip(right, other, strict=True)):
            if wrong := _scalar(one["score"], two["score"], "score"):
                return f"detection {place}: {wrong}"  # best first
        other = _in_order_of(right, other)
    found = (_value(one, two, name, size) for one, two in zip(right, other, strict=True))
    return next((each for each in found if each), None)


def _in_order_of(right: list[Any], other: list[Any]) -> list[Any]:
    """Detections whose scores are equal but for rounding may have changed places; no others."""
    ordered, left = [], list(other)
    for each in right:
        near = [one for one in left if abs(one["score"] - each["score"]) <= SCORE] or left  # two near ones: any
        ordered.append(min(near, key=lambda one: _apart(one, each)))
        left.remove(ordered[-1])
    return ordered


def _apart(one: dict[str, Any], two: dict[str, Any]) -> float:
    name = "box" if "box" in one else "bbox"
    return sum(abs(first - second) for first, second in zip(one[name], two[name], strict=True))


def _scalar(right: Any, other: Any, name: str) -> str | None:
    allowed = {"score": SCORE, "box": CORNER, "bbox": CORNER}.get(name, 0.0)
    if right == other or (allowed and abs(right - other) <= allowed):
        return None
    return f"{name}: {_short(other)}, not {_short(right)}"


def _painted(mask: Any, size: Where) -> NDArray[np.uint8]:
    """A mask as pixels: run lengths, or polygons in the picture or, where its size is unknown, in their bounds."""
    if isinstance(mask, dict) and "counts" in mask:
        return np.asarray(coco.decode(mask), dtype=np.uint8)
    polygons = mask["polygons"] if isinstance(mask, dict) else mask
    if size == (0, 0):  # a COCO list does not say it
        size = (1024, 1024)
    if not polygons:
        return np.zeros(size, np.uint8)
    return np.asarray(coco.decode(coco.merge(coco.frPyObjects(polygons, *size))), dtype=np.uint8)


def _palette(png: str) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        return np.asarray(picture)


def _masks(name: str, right: NDArray[np.uint8], other: NDArray[np.uint8]) -> str | None:
    if right.shape != other.shape:
        return f"{name}: of size {other.shape}, not {right.shape}"
    allowed = max(MASK_PIXELS, int(MASK_SHARE * np.count_nonzero(right)))
    return _pixels(name, int(np.count_nonzero(right != other)), allowed)


def _pixels(name: str, differ: int, allowed: int) -> str | None:
    return f"{name}: {differ} pixels differ, {allowed} may" if differ > allowed else None


def _short(value: Any) -> str:
    return repr(value)[:60]
