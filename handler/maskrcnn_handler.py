"""The entry point of TorchServe, and the only file that knows TorchServe.

It is imported by its base name and may define one class only, so nothing here is a dataclass or an exception. An
``initialize()`` that raises would leave clients waiting for minutes, so neither it nor the import of this file does.
"""

import json
import logging
import os
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ts.metrics.dimension import Dimension
from ts.metrics.metric_type_enum import MetricTypes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ts.context import Context

    from handler.metrics import Observe
    from handler.replies.reply import Reply
    from handler.requests.incoming import Incoming
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
            context: TorchServe's; takes the status, content type and headers of each reply.

        Returns:
            One reply per request, in the order of the requests.
        """
        replies = self._answer(data, context)
        for index, reply in enumerate(replies):
            context.set_response_content_type(index, reply.media_type)
            context.set_response_status(reply.status.value, reply.status.phrase, index)
            for name, value in reply.headers.items():
                context.set_response_header(index, name, value)
        return [reply.body for reply in replies]

    def _answer(self, data: list[dict[str, Any]], context: "Context") -> "Sequence[Reply | SimpleNamespace]":
        if self._worker is None:
            _report(context, "maskrcnn_errors_total", len(data), "counter", "count", {"code": "model_not_loaded"})
            return [_unavailable(self._failure, fields) for fields in data]
        try:
            return self._worker.answer(_incoming(data, context), _observer(context))
        except Exception as error:
            _leave_if_the_device_is_broken(error)
            raise


def _incoming(data: list[dict[str, Any]], context: "Context") -> "list[Incoming]":
    """The requests of a batch; by two headers of its own TorchServe says which of its APIs they came by."""
    from handler.requests.incoming import Incoming

    requests = []
    for index, fields in enumerate(data):
        headers = context.get_all_request_header(index)
        describe, explain = headers.get("describe") == "True", headers.get("explain") == "True"
        requests.append(Incoming.of(fields, headers, "describe" if describe else "explain" if explain else "predict"))
    return requests


def _unavailable(failure: str, fields: dict[str, Any]) -> SimpleNamespace:
    """A reply for when not even ours could be imported."""
    error = {
        "code": "model_not_loaded",
        "message": f"the model could not be loaded: {failure}",
        "hint": "the log of the worker has the whole story; correct it and start the server again",
    }
    reply: dict[str, Any] = {"error": error}
    if isinstance(body := fields.get("body"), dict) and "inputs" in body:  # without these, TorchServe's gRPC ends us
        output = {"name": "detections", "datatype": "BYTES", "shape": [1], "data": [json.dumps(reply)]}
        reply |= {"model_name": "", "model_version": "", "id": str(body.get("id") or ""), "outputs": [output]}
    return SimpleNamespace(
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        body=json.dumps(reply).encode(),
        media_type="application/json",
        headers={"X-Detect-Error": error["code"]},
    )


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

    def observe(name: str, value: float, label: str = "", /) -> None:
        metric = METRICS[name]
        labels = {metric.label.name: label} if metric.label else {}
        _report(context, name, value, metric.kind, metric.unit, labels)

    return observe


def _report(context: "Context", name: str, value: float, kind: str, unit: str, labels: "Mapping[str, str]") -> None:
    """Hand one number to TorchServe; it registers a metric with the kind, unit and labels of its first use."""
    # A list of its own: add_metric appends to the list that it is given, its shared default included.
    dimensions = [Dimension(label, text) for label, text in labels.items()]
    context.metrics.add_metric(name, value, unit, dimensions=dimensions, metric_type=MetricTypes(kind))
