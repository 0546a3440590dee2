"""Detections or an error as the reply that was asked for."""

from dataclasses import replace
from http import HTTPStatus

from handler.detections import Detections
from handler.errors import RequestError
from handler.images import Picture
from handler.model_card import ModelCard
from handler.replies.coco_json import detections_as_coco
from handler.replies.detections_json import detections_as_json
from handler.replies.drawn import drawn_picture
from handler.replies.errors import error_reply
from handler.replies.limits import TOO_LONG, TRUNCATED_HEADER, LongReplies
from handler.replies.page import PageFacts, page_with_answer
from handler.replies.palette import beyond_palette
from handler.replies.reply import Reply
from handler.requests.options import Options, PictureType


class ReplyWriter:
    """Writes the replies of one model."""

    def __init__(
        self, card: ModelCard, model: str, version: str, max_bytes: int, long_replies: LongReplies = "boxes"
    ) -> None:
        """Take what is the same in all of them.

        Args:
            card: Has the class names.
            model: Name under which the model is served.
            version: Its version on the server.
            max_bytes: Longest reply.
            long_replies: What becomes of one that would be longer.
        """
        self._card, self._model, self._version = card, model, version
        self._max_bytes, self._long_replies = max_bytes, long_replies
        self._page = PageFacts.of(card, model, version)

    def write(self, picture: Picture, found: Detections, options: Options) -> Reply:
        """The reply to one picture.

        One that would be too long has no masks, or is a smaller drawing, and says so; where that does not help, or if
        so set, it is an error instead.
        """
        try:
            return self._write(picture, found, options)
        except RequestError as error:
            may_shrink = error.code == TOO_LONG and options.format != "image" and found.masks is not None
            if not may_shrink or self._long_replies == "refuse":
                return error_reply(error)
            return self._without_masks(picture, found, options, error.message)

    def _without_masks(self, picture: Picture, found: Detections, options: Options, reason: str) -> Reply:
        try:
            return self._write(picture, replace(found, masks=None), options, f"with masks, {reason}")
        except RequestError as error:
            return error_reply(error)

    def _write(self, picture: Picture, found: Detections, options: Options, left_out: str = "") -> Reply:
        """One reply; of masks that it has no room for it says why."""
        if options.format == "json" and options.masks == "png":
            left_out = left_out or beyond_palette(found)
        reply = self._of_format(picture, found, options, left_out)
        if not left_out:
            return reply
        return replace(reply, headers={**reply.headers, TRUNCATED_HEADER: "masks"}, truncated=True)

    def _of_format(self, picture: Picture, found: Detections, options: Options, left_out: str) -> Reply:
        names, most = self._card.class_names, self._max_bytes
        if options.format == "coco":
            return Reply(HTTPStatus.OK, detections_as_coco(found, options.image_id, most, options.masks))
        if options.format == "image":
            return self._drawn(picture, found, options.picture_type)
        masks = options.masks if options.format == "json" else "rle"  # the page reads run lengths
        answer = detections_as_json(found, names, self._model, self._version, most, masks, left_out)
        if options.format == "html":
            return page_with_answer(self._page, answer, picture, options.selection.score_threshold, most)
        return Reply(HTTPStatus.OK, answer)

    def _drawn(self, picture: Picture, found: Detections, picture_type: PictureType) -> Reply:
        may_shrink = self._long_replies == "boxes"
        body, shrunk = drawn_picture(picture, found, self._card.class_names, picture_type, self._max_bytes, may_shrink)
        headers = {TRUNCATED_HEADER: "size"} if shrunk else {}
        return Reply(HTTPStatus.OK, body, picture_type, headers, truncated=shrunk)
