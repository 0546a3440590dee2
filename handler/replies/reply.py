"""One reply as a front end sends it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from handler.errors import Code

JSON = "application/json"


@dataclass(frozen=True)
class Reply:
    """What one request gets back.

    Attributes:
        status: The HTTP status.
        body: What ``media_type`` says.
        media_type: Of the body.
        headers: Further headers.
        error: Code of the error that it is; None: it is none.
        truncated: Something that was found had to be left out.
    """

    status: HTTPStatus
    body: bytes
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    error: Code | None = None
    truncated: bool = False
