"""What one request asks for, whatever it came in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handler.errors import BadOptionError, RequestError
from handler.replies.reply import Reply
from handler.requests.options import Given, OptionReader, Options

Source = bytes | bytearray | NDArray[np.uint8]
"""The bytes of a picture's file, or its pixels: (H, W, 3) uint8, RGB."""


@dataclass(frozen=True)
class Ask:
    """One picture and what is wanted of it.

    Attributes:
        picture: The bytes of its file, or its pixels: (H, W, 3) uint8, RGB.
        options: What is wanted.
        explain: An explanation is wanted, not a prediction.
    """

    picture: Source
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


@dataclass(frozen=True)
class Asker:
    """Makes the asks of one request: what it says of all its pictures, under what it says of one.

    Attributes:
        reader: Reads the options.
        given: Options of the whole request.
        accept: Its header of this name; empty where the reply can only be JSON.
        explain: An explanation is wanted, not a prediction.
    """

    reader: OptionReader
    given: Mapping[str, Given]
    accept: str
    explain: bool

    def options(self, given: Mapping[str, Given] | None = None) -> Options:
        """The options of one picture, whose own ones win.

        Raises:
            BadOptionError: See ``OptionReader.read``; or an explanation is wanted in another format than JSON.
        """
        all_given = {**self.given, **(given or {})}
        options = self.reader.read(all_given, "" if self.explain else self.accept)
        if self.explain and options.format != "json":
            raise BadOptionError(
                f"{all_given['format'].place}: format must be json for an explanation, got {options.format}",
                "leave the option out",
            )
        return options

    def ask(self, picture: Source, given: Mapping[str, Given] | None = None) -> Ask:
        """Ask for one picture.

        Raises:
            BadOptionError: See ``options``.
        """
        return Ask(picture, self.options(given), self.explain)

    def with_given(self, given: Mapping[str, Given]) -> "Asker":
        """The same request after more of its options were read; these win."""
        return Asker(self.reader, {**self.given, **given}, self.accept, self.explain)

    def of_several(self) -> "Asker":
        """The same request where its reply is one JSON text around the replies to all its pictures.

        Raises:
            BadOptionError: It asks for the page, which shows one picture; or see ``options``.
        """
        several = Asker(self.reader, self.given, "", self.explain)
        refuse_page(several.options(), self.given)
        return several


def refuse_page(options: Options, given: Mapping[str, Given]) -> None:
    """Refuse the page inside of a JSON reply.

    Raises:
        BadOptionError: It is what ``options`` ask for.
    """
    if options.format == "html":
        raise BadOptionError(
            f"{given['format'].place}: format must be json, coco or image in a request of KServe, got html",
            "send the picture alone for the page",
        )
