"""No reply is longer than the limit: TorchServe kills a worker whose message is."""

from http import HTTPStatus
from typing import Final, Literal

from handler.errors import RequestError

LongReplies = Literal["boxes", "refuse"]
"""What becomes of a reply that is too long: boxes without masks and a smaller drawing, or an error."""

TOO_LONG: Final = "reply_too_long"
TRUNCATED_HEADER = "X-Detect-Truncated"  # for the formats that have no place to say it in
HINT = "ask for fewer detections, for masks rle or none, or raise max_reply_bytes in model-config.yaml"


def within(body: bytes, max_bytes: int, what: str, hint: str = HINT) -> bytes:
    """The body as it is.

    Args:
        body: Of one reply.
        max_bytes: The longest there may be.
        what: The reply, for people.
        hint: What the client may do.

    Raises:
        RequestError: It is longer.
    """
    if len(body) > max_bytes:
        message = f"{what} has {len(body):,} bytes, the limit is {max_bytes:,}"
        raise RequestError(TOO_LONG, message, hint, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return body
