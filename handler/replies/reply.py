"""One reply as a front end sends it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

JSON = "application/json"


@dataclass(frozen=True)
class Reply:
    """What one request gets back.

    Attributes:
        status: The HTTP status.
        body: What ``media_type`` says.
        media_type: Of the body.
        headers: Further headers.
    """

    status: HTTPStatus
    body: bytes
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
