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
    def of(cls, fields: Mapping[str, Any], headers: Mapping[str, str], verb: Verb = "predict") -> "Incoming":
        """Take headers in whatever case the client wrote their names."""
        return cls(fields, {name.lower(): value for name, value in headers.items()}, verb)
