"""One worker: requests in, replies out. Knows no server, so any front end can call it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from handler.detections import Detections
from handler.detector import Detector
from handler.images import BadImageError, decode_image
from handler.memory import use_huge_pages
from handler.metrics import Observe, timed
from handler.reply import detections_as_json, error_as_json
from handler.settings import Settings

logger = logging.getLogger(__name__)

# curl alone says that its --data is a form, and TorchServe then looks for fields in the picture.
_HOW_TO_SEND = (
    "send the bytes of the picture as the body (curl --data-binary @picture.jpg -H 'Content-Type: image/jpeg') "
    "or as the form field `data` (curl -F data=@picture.jpg)"
)


@dataclass(frozen=True)
class Reply:
    """What one request gets back: a status and JSON."""

    status: HTTPStatus
    body: bytes


class Worker:
    """Answers batches with one model.

    Attributes:
        detector: The model.
        model: Name under which it is served.
        version: Its version on the server.
    """

    def __init__(self, detector: Detector, model: str, version: str) -> None:
        self.detector, self.model, self.version = detector, model, version

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any] | None, model: str, version: str) -> "Worker":
        """Load the model of an unpacked archive; sets threads and page size of the whole process.

        Args:
            folder: The unpacked archive.
            config: Its parsed ``model-config.yaml``.
            model: Name under which it is served.
            version: Its version on the server.

        Raises:
            ValueError: The settings or the model card do not fit.
        """
        settings = Settings.from_config(config)
        use_huge_pages()
        torch.set_num_threads(settings.thread_count())
        logger.info("%s %s: %d threads, %s", model, version, torch.get_num_threads(), settings)
        return cls(Detector.load(folder, settings), model, version)

    def describe(self) -> bytes:
        """The model card, as JSON."""
        return self.detector.card.to_json().encode()

    def answer(self, requests: Sequence[Mapping[str, Any]], observe: Observe) -> list[Reply]:
        """Answer one batch: one reply per request, in the order of the requests.

        A request that cannot be read gets an error of its own; only our own bugs raise.

        Args:
            requests: Fields of each request; the picture is ``data`` or ``body``.
            observe: Takes the metrics of the batch.
        """
        observe("maskrcnn_batch_size", len(requests))
        replies: dict[int, Reply] = {}
        images: dict[int, Tensor] = {}
        with timed(observe, "maskrcnn_decode_seconds"):
            for index, request in enumerate(requests):
                try:
                    images[index] = decode_image(picture_of(request), self.detector.settings.max_pixels)
                except BadImageError as error:
                    replies[index] = _refusal(error)
        found = self.detector.detect(list(images.values()), observe)
        with timed(observe, "maskrcnn_reply_seconds"):
            replies |= {index: self._reply(each) for index, each in zip(images, found, strict=True)}
        observe("maskrcnn_detections_total", sum(map(len, found)))
        observe("maskrcnn_errors_total", sum(reply.status != HTTPStatus.OK for reply in replies.values()))
        return [replies[index] for index in range(len(requests))]

    def _reply(self, detections: Detections) -> Reply:
        names, limit = self.detector.card.class_names, self.detector.settings.max_reply_bytes
        try:
            return Reply(HTTPStatus.OK, detections_as_json(detections, names, self.model, self.version, limit))
        except BadImageError as error:
            return _refusal(error)


def picture_of(request: Mapping[str, Any]) -> bytes | bytearray:
    """The bytes of the picture in one request.

    Raises:
        BadImageError: There are none; JSON and text, which TorchServe has already parsed, are named as such.
    """
    value = request.get("data", request.get("body"))
    if isinstance(value, bytes | bytearray) and value:
        return value
    if not value:
        raise BadImageError("empty_body", "the request has neither a body nor a form field `data`", _HOW_TO_SEND)
    kind = "text" if isinstance(value, str) else "JSON"
    raise BadImageError(
        "unsupported_media_type",
        f"the body is {kind}, not a picture",
        _HOW_TO_SEND,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    )


def _refusal(error: BadImageError) -> Reply:
    return Reply(error.status, error_as_json(error))
