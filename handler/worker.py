"""One worker: requests in, replies out. Knows no server, so any front end can call it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import torch

from handler.canvas import Size, resized_size
from handler.decoding import Decoder
from handler.detections import Detections
from handler.detector import Detector
from handler.device import choose_device, describe
from handler.errors import RequestError
from handler.images import Picture
from handler.memory import use_huge_pages
from handler.metrics import Observe, timed
from handler.reply import detections_as_json, error_as_json
from handler.request import picture_of
from handler.settings import Settings
from handler.splitting import detect_or_split

logger = logging.getLogger(__name__)


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
        settings = detector.settings
        wanted = self._wanted if settings.fast_jpeg else None
        self._decoder = Decoder(settings.max_pixels, settings.decode_thread_count(), wanted)

    @classmethod
    def load(
        cls, folder: Path, config: Mapping[str, Any] | None, model: str, version: str, gpu_id: int | None = None
    ) -> "Worker":
        """Load the model of an unpacked archive; sets threads and page size of the whole process.

        Args:
            folder: The unpacked archive.
            config: Its parsed ``model-config.yaml``.
            model: Name under which it is served.
            version: Its version on the server.
            gpu_id: The GPU that the server assigned; None: the CPU.

        Raises:
            ValueError: The settings or the model card do not fit.
            DeviceError: The model cannot compute where it is told to.
        """
        settings = Settings.from_config(config)
        use_huge_pages()
        torch.set_num_threads(settings.thread_count())
        device = choose_device(gpu_id, (config or {}).get("deviceType"))
        logger.info("%s %s on %s; %s", model, version, describe(device, settings), settings)
        return cls(Detector.load(folder, settings, device), model, version)

    def describe(self) -> bytes:
        """The model card, as JSON."""
        return self.detector.card.to_json().encode()

    def answer(self, requests: Sequence[Mapping[str, Any]], observe: Observe) -> list[Reply]:
        """Answer one batch: one reply per request, in the order of the requests.

        A request that cannot be read gets an error of its own, and so does one for which memory is too small even
        alone; only our own bugs, and a broken device, raise.

        Args:
            requests: Fields of each request; the picture is ``data`` or ``body``.
            observe: Takes the metrics of the batch.
        """
        observe("maskrcnn_batch_size", len(requests))
        with timed(observe, "maskrcnn_decode_seconds"):
            decoded = self._decoded(requests)
        pictures = [each for each in decoded if isinstance(each, Picture)]
        found = iter(detect_or_split(self.detector, pictures, observe))
        results = [next(found) if isinstance(each, Picture) else each for each in decoded]
        with timed(observe, "maskrcnn_reply_seconds"):
            replies = [self._reply(each) for each in results]
        observe("maskrcnn_detections_total", sum(len(each) for each in results if isinstance(each, Detections)))
        observe("maskrcnn_errors_total", sum(reply.status != HTTPStatus.OK for reply in replies))
        return replies

    def _decoded(self, requests: Sequence[Mapping[str, Any]]) -> list[Picture | RequestError]:
        bodies = [picture_of(request) for request in requests]
        decoded = iter(self._decoder.decode([body for body in bodies if not isinstance(body, RequestError)]))
        return [body if isinstance(body, RequestError) else next(decoded) for body in bodies]

    def _wanted(self, height: int, width: int) -> Size:
        return resized_size(height, width, self.detector.card.preprocessing)

    def _reply(self, result: Detections | RequestError) -> Reply:
        names, limit = self.detector.card.class_names, self.detector.settings.max_reply_bytes
        if isinstance(result, Detections):
            try:
                return Reply(HTTPStatus.OK, detections_as_json(result, names, self.model, self.version, limit))
            except RequestError as error:
                result = error
        return Reply(result.status, error_as_json(result))
