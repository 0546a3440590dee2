"""The entry point with TorchServe's own context and metrics."""

import importlib.util
import inspect
import json
import logging
import subprocess
import sys
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any

import pytest
import torch
import ts
from PIL import Image
from ts.context import Context, RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
from ts.utils.util import list_classes_from_module

from handler import maskrcnn_handler
from handler.maskrcnn_handler import MaskRCNNHandler
from handler.metrics import METRICS
from handler.worker import Worker
from tests.handler.pictures import encoded
from tests.handler.test_worker import picture, worker
from tests.reply_schema import error_of, parsed

ENTRY = Path(maskrcnn_handler.__file__)


def context_of(
    requests: int, folder: Path = Path("/gone"), headers: dict[int, dict[str, str]] | None = None
) -> Context:
    metrics = MetricsCacheYamlImpl(str(Path(ts.__file__).parent / "configs" / "metrics.yaml"))
    metrics.initialize_cache()
    metrics.model_name = "shapes"
    manifest = {"model": {"modelVersion": "1.0"}}
    context = Context("shapes", str(folder), manifest, requests, None, ts.__version__, True, metrics, {})
    context.request_processor = [RequestProcessor((headers or {}).get(index, {})) for index in range(requests)]
    metrics.request_ids = {index: f"id{index}" for index in range(requests)}
    return context


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> MaskRCNNHandler:
    monkeypatch.setattr(Worker, "load", lambda *_: worker())
    handler = MaskRCNNHandler()
    handler.initialize(context_of(1))
    return handler


def statuses(context: Context, requests: int) -> list[tuple[int, str]]:
    return [context.get_response_status(index) for index in range(requests)]


def test_a_batch_with_a_corrupt_picture(loaded: MaskRCNNHandler) -> None:
    context = context_of(3)
    good = bytearray(picture(10, 20, count=2))
    replies = loaded.handle([{"body": good}, {"body": bytearray(b"no picture")}, {"data": good}], context)
    assert statuses(context, 3) == [(200, "OK"), (415, "Unsupported Media Type"), (200, "OK")]
    assert {context.get_response_content_type(index) for index in range(3)} == {"application/json"}
    assert [len(parsed(replies[index])["detections"]) for index in (0, 2)] == [2, 2]
    assert error_of(replies[1])["code"] == "unsupported_media_type"


def test_the_worker_is_loaded_from_the_archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(Worker, "load", lambda *arguments: asked.extend(arguments))
    context = context_of(1, tmp_path)
    context.model_yaml_config = {"minWorkers": 1, "detection": {"score_threshold": 0.5}}
    MaskRCNNHandler().initialize(context)
    assert asked == [tmp_path, context.model_yaml_config, "shapes", "1.0", None]


def test_a_model_that_does_not_load_answers_503(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    handler = MaskRCNNHandler()
    handler.initialize(context_of(1, tmp_path / "gone"))
    context = context_of(2)
    replies = handler.handle([{"body": bytearray(picture(10, 20, 1))}, {"body": bytearray()}], context)
    assert statuses(context, 2) == [(503, "Service Unavailable")] * 2
    error = error_of(replies[1])
    assert error["code"] == "model_not_loaded"
    assert "model_card.json" in error["message"]
    assert str(tmp_path) not in str(error)
    assert "export the .mar again" in error["hint"]
    assert "Traceback" in caplog.text


def test_settings_that_do_not_fit_answer_503_with_their_text(tmp_path: Path) -> None:
    context = context_of(1, tmp_path)
    context.model_yaml_config = {"detection": {"max_pixel": 5}}
    handler = MaskRCNNHandler()
    handler.initialize(context)
    assert "got 'max_pixel'" in error_of(handler.handle([{}], context)[0])["message"]


def test_a_file_missing_from_the_archive_answers_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "handler.worker", None)  # importing it raises ImportError
    handler = MaskRCNNHandler()
    handler.initialize(context_of(1))
    context = context_of(1)
    assert "handler.worker" in error_of(handler.handle([{}], context)[0])["message"]
    assert context.get_response_status(0)[0] == 503


def test_a_description_is_asked_for_with_a_header(loaded: MaskRCNNHandler) -> None:
    context = context_of(3, headers={1: {"describe": "True"}})
    good = bytearray(picture(10, 20, count=2))
    replies = loaded.handle([{"body": good}, {}, {"body": good}], context)
    assert json.loads(replies[1])["class_names"][1] == "circle"
    assert "detections" in parsed(replies[0])
    assert "detections" in parsed(replies[2])


def test_metrics_reach_torchserves_log(loaded: MaskRCNNHandler, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            loaded.handle([{"body": bytearray(picture(10, 20, count=2))}] * 2, context_of(2))
    lines = [line for line in caplog.messages if line.startswith("[METRICS]maskrcnn_batch_size")]
    assert len(lines) == 2
    for line in lines:
        expected = "[METRICS]maskrcnn_batch_size.Count:2|#ModelName:shapes,Level:Model|#type:HISTOGRAM|"
        assert line.startswith(expected)
    assert "Failed to update metric" not in caplog.text


def test_a_label_stands_before_torchserves_own(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        maskrcnn_handler._observer(context_of(1))("maskrcnn_errors_total", 2, "empty_body")
    (line,) = (each for each in caplog.messages if each.startswith("[METRICS]"))
    assert line.startswith(
        "[METRICS]maskrcnn_errors_total.Count:2|#code:empty_body,ModelName:shapes,Level:Model|#type:"
    )


def test_requests_to_a_model_that_is_not_loaded_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        MaskRCNNHandler().handle([{}, {}], context_of(2))
    (line,) = (each for each in caplog.messages if each.startswith("[METRICS]"))
    assert line.startswith(
        "[METRICS]maskrcnn_errors_total.Count:2|#code:model_not_loaded,ModelName:shapes,Level:Model|"
    )


def test_every_metric_is_of_a_kind_and_unit_of_torchserve(caplog: pytest.LogCaptureFixture) -> None:
    observe = maskrcnn_handler._observer(context_of(1))
    with caplog.at_level(logging.INFO):
        for name in METRICS:
            observe(name, 1)
    assert [line.split(".")[0] for line in caplog.messages] == [f"[METRICS]{name}" for name in METRICS]


def imported_by_its_base_name() -> ModuleType:
    spec = importlib.util.spec_from_file_location("maskrcnn_handler", ENTRY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_torchserve_finds_one_class_and_it_is_plain() -> None:
    classes = list_classes_from_module(imported_by_its_base_name())
    assert [each.__name__ for each in classes] == ["MaskRCNNHandler"]
    assert inspect.getmro(classes[0])[1:] == (object,)


def test_nothing_else_in_the_package_knows_torchserve() -> None:
    knowing = [
        path.name
        for path in ENTRY.parent.glob("*.py")
        if any(line.strip().startswith(("import ts", "from ts")) for line in path.read_text().splitlines())
    ]
    assert knowing == [ENTRY.name]


def test_a_jpeg_as_a_form_field(loaded: MaskRCNNHandler) -> None:
    context = context_of(1)
    jpeg = encoded(Image.new("RGB", (20, 10), (0, 0, 0)), "JPEG")
    assert parsed(loaded.handle([{"data": bytearray(jpeg)}], context)[0])["detections"] == []


def refused(context: Context) -> str:
    """The reason that every request is given."""
    handler = MaskRCNNHandler()
    handler.initialize(context)
    (reply,) = handler.handle([{"body": bytearray(picture(10, 20, count=1))}], context)
    assert statuses(context, 1) == [(503, "Service Unavailable")]
    message: str = error_of(reply)["message"]
    return message


@pytest.mark.skipif(torch.cuda.is_available(), reason="here a GPU is there")
def test_an_assigned_gpu_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    context = context_of(1, tmp_path)
    context.system_properties["gpu_id"] = 0
    assert "GPU 0, but " in (message := refused(context))
    assert "deviceType: cpu" in message


def test_a_gpu_that_is_wanted_and_not_assigned_is_refused(tmp_path: Path) -> None:
    context = context_of(1, tmp_path)
    context.model_yaml_config = {"deviceType": "gpu"}
    assert "TorchServe assigned no GPU" in refused(context)


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> Event:
    """Set in place of the end of the process."""
    event = Event()
    monkeypatch.setattr(maskrcnn_handler, "_leave", event.set)
    monkeypatch.setattr(maskrcnn_handler, "SECONDS_TO_REPLY", 0.05)
    return event


def failing(error: Exception) -> MaskRCNNHandler:
    handler, broken = MaskRCNNHandler(), worker()
    broken.detector.detect = raising(error)  # type: ignore[method-assign]
    handler._worker = broken
    return handler


def raising(error: Exception) -> Any:
    def detect(*_: object) -> None:
        raise error

    return detect


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("encode_rle: CUDA error: unspecified launch failure"),
    ],
    ids=str,
)
def test_a_broken_gpu_answers_the_batch_and_ends_the_process(
    error: Exception, left: Event, caplog: pytest.LogCaptureFixture
) -> None:
    handler, context = failing(error), context_of(2)
    good = {"body": bytearray(picture(10, 20, count=1))}
    with caplog.at_level(logging.INFO):
        replies = handler.handle([good, good], context)
    assert statuses(context, 2) == [(503, "Service Unavailable")] * 2
    assert {error_of(each)["code"] for each in replies} == {"device_failed"}
    assert left.wait(60)
    assert "a new one starts" in caplog.text
    assert str(error) in caplog.text
    assert "[METRICS]maskrcnn_errors_total.Count:2|#code:device_failed," in caplog.text
    (later,) = handler.handle([good], context_of(1))  # TorchServe sends on until it sees that the worker is gone
    assert error_of(later)["code"] == "device_failed"


def test_our_own_faults_get_a_code_and_do_not_end_the_process(left: Event) -> None:
    context = context_of(2)
    replies = failing(ValueError("secret")).handle([{"body": bytearray(picture(10, 20, count=1))}] * 2, context)
    assert statuses(context, 2) == [(500, "Internal Server Error")] * 2
    assert {error_of(each)["code"] for each in replies} == {"internal_error"}
    assert b"secret" not in b"".join(replies)
    assert not left.wait(0.2)


def test_what_fails_around_the_worker_gets_a_code_too(loaded: MaskRCNNHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise KeyError("a bug")

    good = {"body": bytearray(picture(10, 20, count=1))}
    with monkeypatch.context() as patch:
        patch.setattr(maskrcnn_handler, "_incoming", fails)
        context = context_of(1)
        assert error_of(loaded.handle([good], context)[0])["code"] == "internal_error"
        assert statuses(context, 1) == [(500, "Internal Server Error")]
    assert "detections" in parsed(loaded.handle([good], context_of(1))[0])


def test_out_of_memory_does_not_end_the_process(left: Event) -> None:
    handler = failing(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    handler._worker.detector.free_memory = lambda: None  # type: ignore
    (reply,) = handler.handle([{"body": bytearray(picture(10, 20, count=1))}], context_of(1))
    assert error_of(reply)["code"] == "out_of_memory"
    assert not left.wait(0.2)


def test_a_worker_that_leaves_is_gone() -> None:
    """Not caught by anything, from whatever thread, and with a status that is not success."""
    program = """
import time
from threading import Timer
from handler.maskrcnn_handler import _leave
Timer(0.1, _leave).start()
try:
    time.sleep(30)
finally:
    print("still here")
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "still here" not in run.stdout


def test_a_module_that_ends_the_process_does_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def leaves(*_: object) -> None:
        raise SystemExit(3)

    monkeypatch.setattr(Worker, "load", leaves)
    assert "SystemExit" in refused(context_of(1, tmp_path))


def test_a_model_that_does_not_load_answers_kserve_in_its_form(tmp_path: Path) -> None:
    """TorchServe's gRPC ends a worker whose reply to the Open Inference Protocol is in another one."""
    handler = MaskRCNNHandler()
    handler.initialize(context_of(1, tmp_path / "gone"))
    reply = parsed(handler.handle([{"body": {"id": "a", "inputs": []}}], context_of(1))[0])
    assert (reply["id"], reply["model_name"], reply["model_version"]) == ("a", "", "")
    assert json.loads(reply["outputs"][0]["data"][0])["error"] == reply["error"]
