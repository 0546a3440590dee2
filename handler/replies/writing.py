"""Detections or an error as the reply that was asked for."""

from http import HTTPStatus

from handler.detections import Detections
from handler.errors import RequestError
from handler.images import Picture
from handler.model_card import ModelCard
from handler.replies.detections_json import detections_as_json
from handler.replies.errors import error_reply
from handler.replies.page import PageFacts, page_with_answer
from handler.replies.reply import Reply
from handler.requests.options import Options


class ReplyWriter:
    """Writes the replies of one model."""

    def __init__(self, card: ModelCard, model: str, version: str, max_bytes: int) -> None:
        """Take what is the same in all of them.

        Args:
            card: Has the class names.
            model: Name under which the model is served.
            version: Its version on the server.
            max_bytes: Longest reply.
        """
        self._card, self._model, self._version, self._max_bytes = card, model, version, max_bytes
        self._page = PageFacts.of(card, model, version)

    def write(self, picture: Picture, found: Detections, options: Options) -> Reply:
        """The reply to one picture; one that would be too long is an error instead."""
        try:
            return self._write(picture, found, options)
        except RequestError as error:
            return error_reply(error)

    def _write(self, picture: Picture, found: Detections, options: Options) -> Reply:
        names = self._card.class_names
        answer = detections_as_json(found, names, self._model, self._version, self._max_bytes)
        if options.format == "html":
            return page_with_answer(self._page, answer, picture, options.selection.score_threshold, self._max_bytes)
        return Reply(HTTPStatus.OK, answer)
