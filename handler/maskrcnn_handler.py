"""The entry point of TorchServe, and the only file that knows TorchServe.

It is imported by its base name and may define one class only, so nothing here is a dataclass or an exception. An
``initialize()`` that raises would leave clients waiting for minutes, so neither it nor the import of this file does;
and a ``handle()`` that raises would fail the whole batch, without a code.
"""

import json
import logging
import os
from http import HTTPStatus
from pathlib import Path
from threading import Timer
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

SECONDS_TO_REPLY = 0.3
_NOT_LOADED = {
    "code": "model_not_loaded",
    "message": "initialize() was not called",
    "hint": "the log of the worker has the whole story; correct it and start the server again",
}
_DEVICE_FAILED = {
    "code": "device_failed",
    "message": "the GPU, or what computes the layers on the CPU, failed while this batch was computed",
    "hint": "try again in a few seconds: the worker is replaced by a new one",
}
_INTERNAL_ERROR = {
    "code": "internal_error",
    "message": "the server failed to answer the batch of this request",
    "hint": "the same request may well fail again, others are answered; who runs the server finds the story in the log "
    "of the worker and may report it as a bug",
}


class MaskRCNNHandler:
    """Answers TorchServe's batches; all that is not TorchServe's stands in ``handler/worker.py``."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._lost: Worker | None = None
        self._refusal = _NOT_LOADED

    def initialize(self, context: "Context") -> None:
        """Load the model; where that fails, keep the worker up, so that every request gets a 503 with the reason."""
        try:
            self._worker = _load(context)
        except (Exception, SystemExit) as error:  # whatever it is: raised here, it would hang the clients
            logger.exception("the model is not loaded; every request gets 503")
            self._refusal = _NOT_LOADED | _reason(error, context)

    def handle(self, data: list[dict[str, Any]], context: "Context") -> list[bytes]:
        """Answer one batch.

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
        refusal = self._refusal
        if self._worker is not None:
            try:
                return self._worker.answer(_incoming(data, context), _observer(context))
            except Exception as error:  # a request that fails is answered by the worker: this is more than that
                refusal = self._refusal_after(error)
        _report(context, "maskrcnn_errors_total", len(data), "counter", "count", {"code": refusal["code"]})
        return [_refused(refusal, fields) for fields in data]

    def _refusal_after(self, error: Exception) -> dict[str, str]:
        """What a batch is told, and those that come until the worker has left, where no later CUDA call can be trusted.

        TorchServe then starts a fresh one in seconds; by itself it would report each batch's error and keep this one.
        """
        from handler.failures import breaks_the_device

        if not breaks_the_device(error):
            logger.error("a batch failed", exc_info=error)
            return _INTERNAL_ERROR
        logger.critical("nothing can be computed reliably; this worker leaves so that a new one starts", exc_info=error)
        # Kept: to free what it has on such a GPU may end the process before this batch is answered.
        self._lost, self._worker, self._refusal = self._worker, None, _DEVICE_FAILED
        leaving = Timer(SECONDS_TO_REPLY, _leave)
        leaving.daemon = True
        try:
            leaving.start()
        except RuntimeError:  # no room for one more thread
            _leave()
        return _DEVICE_FAILED


def _incoming(data: list[dict[str, Any]], context: "Context") -> "list[Incoming]":
    """The requests of a batch; by two headers of its own TorchServe says which of its APIs they came by."""
    from handler.requests.incoming import Incoming

    requests = []
    for index, fields in enumerate(data):
        headers = context.get_all_request_header(index)
        describe, explain = headers.get("describe") == "True", headers.get("explain") == "True"
        requests.append(Incoming.of(fields, headers, "describe" if describe else "explain" if explain else "predict"))
    return requests


def _refused(error: "Mapping[str, str]", fields: dict[str, Any]) -> SimpleNamespace:
    """A reply for when not even ours could be imported."""
    reply: dict[str, Any] = {"error": error}
    if isinstance(body := fields.get("body"), dict) and "inputs" in body:  # without these, TorchServe's gRPC ends us
        output = {"name": "detections", "datatype": "BYTES", "shape": [1], "data": [json.dumps(reply)]}
        reply |= {"model_name": "", "model_version": "", "id": str(body.get("id") or ""), "outputs": [output]}
    ours = error["code"] == _INTERNAL_ERROR["code"]
    return SimpleNamespace(
        status=HTTPStatus.INTERNAL_SERVER_ERROR if ours else HTTPStatus.SERVICE_UNAVAILABLE,
        body=json.dumps(reply).encode(),
        media_type="application/json",
        headers={"X-Detect-Error": error["code"]},
    )


def _load(context: "Context") -> "Worker":
    from handler.attempts import Attempts  # here, so that a file missing from the archive is a 503 with its name

    folder = Path(context.system_properties["model_dir"])
    with Attempts(folder, _startup_timeout(context)).counted():
        from handler.worker import Worker

        version = context.manifest["model"].get("modelVersion", "")
        gpu_id = context.system_properties["gpu_id"]
        return Worker.load(folder, context.model_yaml_config, context.model_name, version, gpu_id)


def _startup_timeout(context: "Context") -> float | None:
    seconds = (context.model_yaml_config or {}).get("startupTimeout")
    return float(seconds) if isinstance(seconds, int | float) and seconds > 0 else None


def _reason(error: BaseException, context: "Context") -> dict[str, str]:
    try:
        from handler.not_loaded import reason

        message, hint = reason(error, Path(context.system_properties["model_dir"]))
    except Exception:  # it may be what the archive lacks
        return {"message": f"the model could not be loaded: {type(error).__name__}: {error}"}
    return {"message": message, "hint": hint}


def _leave() -> None:
    logging.shutdown()
    os._exit(1)  # not sys.exit: only this thread would end


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
