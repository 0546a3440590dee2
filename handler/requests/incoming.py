"""One request as a front end hands it over."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Verb = Literal["predict", "explain", "describe"]


@dataclass(frozen=True)
class Incoming:
    """The fields and headers of one request.

    Attributes:
        fields: Value of each field: bytes, text, or JSON that the front end has parsed. A body that is no form is the
            field ``body``.
        headers: Value of each header, names in lower case (see ``of``).
        verb: What is asked for: detections, an explanation of them, or the model card.
    """

    fields: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    verb: Verb = "predict"

    @classmethod
    def of(cls, fields: Mapping[str, Any], headers: Mapping[str, Any], verb: Verb = "predict") -> "Incoming":
        """Take headers in whatever case the client wrote their names.

        Args:
            fields: See the class.
            headers: What is no text among them is dropped: TorchServe puts the content type of each field there, under
                the name of the field, so that a field ``accept`` looks like a header.
            verb: See the class.
        """
        return cls(fields, {name.lower(): _text(each) for name, each in headers.items() if isinstance(each, str)}, verb)


def _text(value: str) -> str:
    """A header's bytes as UTF-8, which clients send, where a front end has read them as Latin-1."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value
