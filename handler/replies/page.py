"""The page for a browser."""

import base64
import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handler.images import Picture
from handler.model_card import ModelCard
from handler.replies.limits import within
from handler.replies.reply import Reply

FILE = Path(__file__).with_name("page.html")
HTML = "text/html; charset=utf-8"
QUALITY = 90  # of the JPEG that a page carries
_LONGEST_SIDE = 4096  # pixels; more the page does not draw, and JPEG ends at 65,500
_SMALLEST_SIDE = 64  # pixels; a picture that must be smaller to fit is not worth showing
_NO_CLASSES = ("background", "__background__", "N/A")  # labels that no detection has
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept",  # JSON comes from the same address
    "Content-Security-Policy": "frame-ancestors 'none'",  # all else stands in the page, which cannot say this one
}


@dataclass(frozen=True)
class PageFacts:
    """What the page says of the model, and what it must know to ask it.

    Attributes:
        model: Name under which the model is served.
        version: Its version on the server.
        score_threshold: The lowest that may be asked for.
        classes: ``label`` and ``name`` of each class that can be found.
    """

    model: str
    version: str
    score_threshold: float
    classes: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, card: ModelCard, model: str, version: str) -> "PageFacts":
        """Take them from the model card."""
        named = enumerate(card.class_names)
        classes = tuple({"label": label, "name": name} for label, name in named if name not in _NO_CLASSES)
        return cls(model, version, card.postprocessing.score_threshold, classes)

    @cached_property
    def as_json(self) -> Mapping[str, Any]:
        """The facts as the page reads them."""
        return asdict(self)


def page_reply(facts: PageFacts) -> Reply:
    """The page on which a picture can be chosen."""
    return _page(facts.as_json)


def page_with_answer(
    facts: PageFacts, answer: bytes, picture: Picture, asked_threshold: float, max_bytes: int
) -> Reply:
    """The page with a picture and the answer to it, which it shows at once.

    Args:
        facts: Of the model.
        answer: The reply in JSON, masks as run lengths.
        picture: What it is the answer to; the page carries it as JPEG, smaller where ``max_bytes`` leaves less room.
        asked_threshold: The score above which was answered.
        max_bytes: Longest reply.

    Raises:
        RequestError: Not even the page without a picture would be short enough.
    """
    known = {**facts.as_json, "answer": json.loads(answer), "asked_threshold": asked_threshold}
    room = max_bytes - len(within(_page(known).body, max_bytes, "the page with this answer"))
    return _page({**known, "picture": _data_url(picture.pixels, room - len(b',"picture":""'))})


def _data_url(pixels: NDArray[np.uint8], room: int) -> str:
    """A picture as an address that holds it: a JPEG, halved until it fits; an empty one where that is hopeless.

    Args:
        pixels: (H, W, 3) uint8, RGB.
        room: Most characters.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))  # a copy of its own; smaller ones stay as they are
    while True:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=QUALITY)
        url = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
        if len(url) <= room:
            return url
        if max(image.size) < _SMALLEST_SIDE:
            return ""
        image = image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.BOX)


def _page(known: Mapping[str, Any]) -> Reply:
    before, after = _template()
    return Reply(HTTPStatus.OK, before + _as_script_data(known) + after, HTML, _HEADERS)


def _as_script_data(value: object) -> bytes:
    """JSON that cannot end the script element it stands in, whatever its texts are."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode()


@cache
def _template() -> tuple[bytes, bytes]:
    """The file before and after the facts, with the hashes by which a browser knows its style and its script."""
    text = FILE.read_text(encoding="utf-8")
    for name in ("style", "script"):
        (content,) = re.findall(rf"<{name}>(.*?)</{name}>", text, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        text = text.replace(f"HASH-OF-{name.upper()}", f"sha256-{digest}", 1)
    before, after = text.split('id="facts">null<')
    return f'{before}id="facts">'.encode(), f"<{after}".encode()
