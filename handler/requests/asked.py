"""What one request asks for, whatever it came in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handler.errors import RequestError
from handler.replies.reply import Reply
from handler.requests.options import Options


@dataclass(frozen=True)
class Ask:
    """One picture and what is wanted of it.

    Attributes:
        picture: The bytes of its file, or its pixels: (H, W, 3) uint8, RGB.
        options: What is wanted.
        explain: An explanation is wanted, not a prediction.
    """

    picture: bytes | bytearray | NDArray[np.uint8]
    options: Options
    explain: bool = False


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        asks: One a picture, or why there is none.
        envelope: Makes the one reply out of one a picture, in their order.
    """

    asks: Sequence[Ask | RequestError]
    envelope: Callable[[Sequence[Reply]], Reply]


def alone(replies: Sequence[Reply]) -> Reply:
    """The envelope of a request with one picture: the reply to it."""
    (reply,) = replies
    return reply
