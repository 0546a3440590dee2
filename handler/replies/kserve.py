"""The replies to several pictures as one, in the forms of KServe v1 and v2."""

import base64
from collections.abc import Callable, Sequence
from http import HTTPStatus

from handler.errors import RequestError
from handler.replies.errors import error_reply
from handler.replies.json_text import to_json
from handler.replies.reply import JSON, Reply

OUTPUT = "detections"


class Envelopes:
    """Puts the replies to the pictures of one request into one."""

    def __init__(self, model: str, version: str, max_bytes: int) -> None:
        """Take what is the same in all of them.

        Args:
            model: Name under which the model is served.
            version: Its version on the server.
            max_bytes: Longest reply; what no longer fits is an error in its place.
        """
        self._model, self._version, self._max_bytes = model, version, max_bytes

    def v1(self, replies: Sequence[Reply]) -> Reply:
        """``{"predictions": [...]}``: JSON as it is, a picture as ``{"b64": ..., "media_type": ...}``."""
        fitting, texts = self._fitting(replies, _as_json)
        return _enveloped(b'{"predictions":[' + b",".join(texts) + b"]}", fitting)

    def v2(self, request_id: str) -> Callable[[Sequence[Reply]], Reply]:
        """The reply of the Open Inference Protocol; where no picture was answered, with ``error`` besides.

        Args:
            request_id: Comes back as ``id``.

        Returns:
            Makes ``{"model_name", "model_version", "id", "outputs": [{"name": "detections", "datatype": "BYTES",
            "shape": [n], "data": [text, ...]}]}``: JSON as text, pictures in base64.
        """

        def envelope(replies: Sequence[Reply]) -> Reply:
            about = {"model_name": self._model, "model_version": self._version, "id": request_id}
            output = {"name": OUTPUT, "datatype": "BYTES", "shape": [len(replies)]}
            fitting, texts = self._fitting(replies, _as_text)
            error = b"" if _any_answered(fitting) else b"," + fitting[0].body[1:-1]
            data = b'"data":[' + b",".join(texts) + b"]"
            outputs = b'"outputs":[' + to_json(output)[:-1] + b"," + data + b"}]"
            return _enveloped(to_json(about)[:-1] + b"," + outputs + error + b"}", fitting)

        return envelope

    def _fitting(self, replies: Sequence[Reply], write: Callable[[Reply], bytes]) -> tuple[list[Reply], list[bytes]]:
        """The replies, errors in place of those for which there is no room, and each as it stands in the envelope."""
        left, fitting, texts = self._max_bytes, [], []
        for reply in replies:
            text = write(reply)
            if len(text) > left:
                reply = error_reply(self._too_long(len(replies)))
                text = write(reply)
            left -= len(text)
            fitting.append(reply)
            texts.append(text)
        return fitting, texts

    def _too_long(self, count: int) -> RequestError:
        return RequestError(
            "reply_too_long",
            f"the reply to all {count} pictures would be longer than the limit of {self._max_bytes:,} bytes",
            "send fewer pictures a request, or ask for less: score_threshold, max_detections, masks=none",
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        )


def _as_json(reply: Reply) -> bytes:
    if reply.media_type.startswith(JSON):
        return reply.body
    return to_json({"b64": base64.b64encode(reply.body).decode(), "media_type": reply.media_type})


def _as_text(reply: Reply) -> bytes:
    if reply.media_type.startswith(JSON):
        return to_json(reply.body.decode())
    return to_json(base64.b64encode(reply.body).decode())


def _any_answered(replies: Sequence[Reply]) -> bool:
    return any(reply.status == HTTPStatus.OK for reply in replies)


def _enveloped(body: bytes, replies: Sequence[Reply]) -> Reply:
    """One reply: 200 if any picture was answered, else as the first says."""
    if _any_answered(replies):
        return Reply(HTTPStatus.OK, body)
    return Reply(replies[0].status, body, headers=replies[0].headers)
