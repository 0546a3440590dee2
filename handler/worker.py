"""One worker: requests in, replies out. Knows no server, so any front end can call it."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch

from handler.canvas import Size, resized_size
from handler.counting import count_replies
from handler.decoding import Decoder
from handler.description import describe_served
from handler.detections import Detections
from handler.detector import Detector
from handler.device import choose_device, describe
from handler.errors import RequestError
from handler.explanations import Explanations
from handler.images import Picture, too_many_pixels_together
from handler.memory import Trimming, use_huge_pages
from handler.metrics import Observe, begin, timed
from handler.replies.errors import error_reply
from handler.replies.explanation_json import explanations_as_json
from handler.replies.json_text import to_json
from handler.replies.kserve import Envelopes
from handler.replies.page import PageFacts, page_reply
from handler.replies.reply import Reply
from handler.replies.writing import ReplyWriter
from handler.requests.asked import Ask
from handler.requests.incoming import Incoming
from handler.requests.options import OptionReader, Options
from handler.requests.reading import RequestReader
from handler.settings import Settings
from handler.splitting import detect_or_split, explain_or_refuse, failure_of

logger = logging.getLogger(__name__)


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
        self._options = OptionReader(detector.card, detector.selection)
        page = partial(page_reply, PageFacts.of(detector.card, model, version))
        self._envelopes = Envelopes(model, version, settings.max_reply_bytes)
        self._reader = RequestReader(self._options, page, self._describe, self._envelopes, settings.max_pixels)
        self._writer = ReplyWriter(detector.card, model, version, settings.max_reply_bytes, settings.long_replies)
        self._trimming = Trimming()
        self._begun = False  # with the first batch: a server takes metrics only while it hands one over

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
            ValueError: The settings or the model card do not fit, or the weights are damaged.
            DeviceError: The model cannot compute where it is told to.
        """
        settings = Settings.from_config(config)
        use_huge_pages()
        torch.set_num_threads(settings.thread_count())
        device = choose_device(gpu_id, (config or {}).get("deviceType"))
        logger.info("%s %s on %s; %s", model, version, describe(device, settings), settings)
        return cls(Detector.load(folder, settings, device), model, version)

    def answer(self, requests: Sequence[Incoming], observe: Observe) -> list[Reply]:
        """Answer one batch: one reply per request, in the order of the requests.

        A request that cannot be read gets an error of its own, and so does one for which memory is too small even
        alone. Where answering the batch fails, by a bug of ours, each request is answered apart from the others, and
        only those that fail again get an error; what raises past this method is a broken device.

        Args:
            requests: The batch.
            observe: Takes the metrics of the batch.
        """
        if not self._begun:
            self._begun = True
            begin(observe)
        observe("maskrcnn_batch_size", len(requests))
        with timed(observe, "maskrcnn_batch_seconds"):
            replies = self._answer_apart(requests, observe)
            self._trimming.after_batch()  # here, where the metrics show what it costs
            return replies

    def _answer_apart(self, requests: Sequence[Incoming], observe: Observe) -> list[Reply]:
        try:
            return self._answer(requests, observe)
        except Exception as error:  # whatever it is: nobody else's request may suffer from it
            failure = failure_of(error, len(requests))
        # Only here, after the except clause: the exception's traceback kept the tensors of the failed batch alive.
        if failure.code == "out_of_memory":
            self.detector.free_memory()
        if len(requests) == 1:
            return [self._failed(requests[0], failure, observe)]
        return [*chain.from_iterable(self._answer_apart([each], observe) for each in requests)]

    def _answer(self, requests: Sequence[Incoming], observe: Observe) -> list[Reply]:
        with timed(observe, "maskrcnn_decode_seconds"):
            asked = [self._reader.read(request) for request in requests]
            works = self._decoded([self._fitting(each.asks) for each in asked])
        results = self._results(works, observe)
        with timed(observe, "maskrcnn_reply_seconds"):
            pages = [self._reply(work, result) for work, result in zip(works, results, strict=True)]
            rest = iter(pages)
            replies = [each.envelope(list(islice(rest, len(each.asks)))) for each in asked]
        count_replies(asked, results, pages, replies, observe)
        return replies

    def _fitting(self, asks: Sequence[Ask | RequestError]) -> list[Ask | RequestError]:
        """The pictures of one request, refused from where on they are too many pixels together."""
        pictures = [each for each in asks if isinstance(each, Ask)]
        if len(pictures) < 2:
            return [*asks]
        left = iter(pictures[: self._decoder.fitting([each.picture for each in pictures])])
        beyond = too_many_pixels_together(self.detector.settings.max_pixels)
        return [next(left, beyond) if isinstance(each, Ask) else each for each in asks]

    def _decoded(self, requests: Sequence[Sequence[Ask | RequestError]]) -> "list[_Work | RequestError]":
        asks = [(number, ask) for number, each in enumerate(requests) for ask in each]
        bodies = [(number, ask.picture) for number, ask in asks if isinstance(ask, Ask)]
        decoded = iter(self._decoder.decode([body for _, body in bodies], [number for number, _ in bodies]))
        return [_work(ask, next(decoded)) if isinstance(ask, Ask) else ask for _, ask in asks]

    def _results(
        self, works: "Sequence[_Work | RequestError]", observe: Observe
    ) -> list[Detections | Explanations | RequestError]:
        good = [each for each in works if isinstance(each, _Work) and not each.explain]
        pictures, selections = [each.picture for each in good], [each.options.selection for each in good]
        found = iter(detect_or_split(self.detector, pictures, selections, observe))
        return [self._result(each, found, observe) for each in works]

    def _result(
        self, work: "_Work | RequestError", found: Iterator[Detections | RequestError], observe: Observe
    ) -> "Detections | Explanations | RequestError":
        if isinstance(work, RequestError):
            return work
        return self._explained(work, observe) if work.explain else next(found)

    def _explained(self, work: "_Work", observe: Observe) -> Explanations | RequestError:
        try:
            with timed(observe, "maskrcnn_explain_seconds"):
                return explain_or_refuse(self.detector, work.picture, work.options.selection, observe)
        except RequestError as error:
            return error

    def _reply(self, work: "_Work | RequestError", result: Detections | Explanations | RequestError) -> Reply:
        if isinstance(work, RequestError):
            return error_reply(work)
        if isinstance(result, RequestError):
            return error_reply(result)
        if isinstance(result, Explanations):
            return self._explanation(result)
        return self._writer.write(work.picture, result, work.options)

    def _explanation(self, found: Explanations) -> Reply:
        names, limit = self.detector.card.class_names, self.detector.settings.max_reply_bytes
        try:
            return Reply(HTTPStatus.OK, explanations_as_json(found, names, self.model, self.version, limit))
        except RequestError as error:
            return error_reply(error)

    def _failed(self, request: Incoming, failure: RequestError, observe: Observe) -> Reply:
        observe("maskrcnn_errors_total", 1, failure.code)
        reply = error_reply(failure)
        try:
            asked = self._reader.read(request)
            return asked.envelope([reply] * len(asked.asks))
        except Exception:  # to read it is what fails
            body = request.fields.get("body")
            if not (isinstance(body, Mapping) and "inputs" in body):
                return reply
            return self._envelopes.v2(str(body.get("id") or ""))([reply])  # without it, TorchServe's gRPC ends us

    def _describe(self) -> Reply:
        described = describe_served(self.detector, self._options, self.model, self.version)
        return Reply(HTTPStatus.OK, to_json(described))

    def _wanted(self, height: int, width: int) -> Size:
        return resized_size(height, width, self.detector.card.preprocessing)


@dataclass(frozen=True)
class _Work:
    """A decoded picture and what is wanted of it."""

    picture: Picture
    options: Options
    explain: bool


def _work(ask: Ask, picture: Picture | RequestError) -> _Work | RequestError:
    return picture if isinstance(picture, RequestError) else _Work(picture, ask.options, ask.explain)
