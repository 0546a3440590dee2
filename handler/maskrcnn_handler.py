"""The entry point of TorchServe, and the only file that knows TorchServe.

It is imported by its base name and may define one class only, so nothing here is a dataclass or an exception. An
``initialize()`` that raises would leave clients waiting for minutes, so neither it nor the import of this file does.
"""

import json
import logging
import os
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ts.metrics.metric_type_enum import MetricTypes

if TYPE_CHECKING:
    from ts.context import Context

    from handler.metrics import Observe
    from handler.worker import Worker

logger = logging.getLogger(__name__)


class MaskRCNNHandler:
    """Answers TorchServe's batches; all that is not TorchServe's stands in ``handler/worker.py``."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._failure = "initialize() was not called"

    def initialize(self, context: "Context") -> None:
        """Load the model; where that fails, keep the worker up, so that every request gets a 503 with the reason."""
        try:
            self._worker = _load(context)
        except Exception as error:  # whatever it is: raised here, it would hang the clients
            self._failure = f"{type(error).__name__}: {error}"
            logger.exception("the model is not loaded; every request gets 503")

    def handle(self, data: list[dict[str, Any]], context: "Context") -> list[bytes]:
        """Answer one batch; what raises past this method fails the whole of it, so only our own bugs do.

        Args:
            data: Fields of each request.
            context: TorchServe's; takes the status and the content type of each reply.

        Returns:
            One JSON reply per request, in the order of the requests.
        """
        described = {index for index in range(len(data)) if context.get_request_header(index, "describe") == "True"}
        answers = iter(self._answer([each for index, each in enumerate(data) if index not in described], context))
        replies = [self._describe() if index in described else next(answers) for index in range(len(data))]
        for index, (status, _) in enumerate(replies):
            context.set_response_content_type(index, "application/json")
            context.set_response_status(status.value, status.phrase, index)
        return [body for _, body in replies]

    def _answer(self, requests: list[dict[str, Any]], context: "Context") -> list[tuple[HTTPStatus, bytes]]:
        if self._worker is None:
            return [self._unavailable()] * len(requests)
        try:
            replies = self._worker.answer(requests, _observer(context))
        except Exception as error:
            _leave_if_the_device_is_broken(error)
            raise
        return [(reply.status, reply.body) for reply in replies]

    def _describe(self) -> tuple[HTTPStatus, bytes]:
        """The model card, for ``GET /models/NAME?customized=true`` (TorchServe asks with a header of its own)."""
        return self._unavailable() if self._worker is None else (HTTPStatus.OK, self._worker.describe())

    def _unavailable(self) -> tuple[HTTPStatus, bytes]:
        error = {
            "code": "model_not_loaded",
            "message": f"the model could not be loaded: {self._failure}",
            "hint": "the log of the worker has the whole story; correct it and start the server again",
        }
        return HTTPStatus.SERVICE_UNAVAILABLE, json.dumps({"error": error}).encode()


def _load(context: "Context") -> "Worker":
    from handler.worker import Worker  # here, so that a file missing from the archive is a 503 with its name

    version = context.manifest["model"].get("modelVersion", "")
    folder = Path(context.system_properties["model_dir"])
    gpu_id = context.system_properties["gpu_id"]
    return Worker.load(folder, context.model_yaml_config, context.model_name, version, gpu_id)


def _leave_if_the_device_is_broken(error: Exception) -> None:
    """End the process where no later CUDA call of it can be trusted: TorchServe then starts a fresh one in seconds.

    It would not by itself: it reports the error of each batch and keeps the worker.
    """
    from handler.failures import breaks_the_device

    if breaks_the_device(error):
        logger.critical("the GPU's context is lost; this worker leaves so that a new one is started", exc_info=error)
        logging.shutdown()
        os._exit(1)  # not sys.exit: TorchServe would catch it


def _observer(context: "Context") -> "Observe":
    from handler.metrics import METRICS

    def observe(name: str, value: float) -> None:
        metric = METRICS[name]
        kind = MetricTypes(metric.kind)
        # A list of its own: add_metric appends to the list that it is given, its shared default included.
        context.metrics.add_metric(name, value, metric.unit, dimensions=[], metric_type=kind)

    return observe
