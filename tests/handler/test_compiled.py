"""What a compiled model is tied to: a worker that does not fit refuses it before any of its code runs."""

import platform
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from handler.compiled import PACKAGE_FILE, check_fits, settings_for
from handler.detector import Detector
from handler.device import CPU, DeviceError
from handler.gpu.settings import Graphs
from handler.model_card import FILE_NAME, Compiled, ModelCard
from handler.not_loaded import reason
from handler.settings import Settings
from tests.handler.cards import CARD

HERE = Compiled(str(torch.__version__), "cpu", "float32", platform.machine(), ("avx2", "fma"))
HALF = replace(HERE, dtype="bfloat16")


@pytest.fixture
def cpuinfo(tmp_path: Path) -> Path:
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nmodel name\t: sse9\nflags\t\t: fpu fma sse2 avx2\n")
    return path


def test_what_was_compiled_on_such_a_machine_fits(cpuinfo: Path) -> None:
    check_fits(HERE, CPU, cpuinfo)
    check_fits(replace(HERE, torch=".".join(torch.__version__.split(".")[:2]) + ".9+cu999"), CPU, cpuinfo)


# Card, message, hint as clients read both.
REFUSED = {
    "processor": (
        replace(HERE, instructions=("avx2", "avx512f", "sse9")),
        "another processor: this one lacks avx512f, sse9: export it again",
        "on a machine of this kind",
    ),
    "machine": (replace(HERE, machine="vax"), "another processor: one of vax, and this is one of", "of this kind"),
    "older": (replace(HERE, torch="2.9.1+cpu"), "needs PyTorch 2.9, with which it was compiled, got 2", "that version"),
    "newer": (replace(HERE, torch="3.0.0"), "needs PyTorch 3.0, with which", "export it again with this one"),
    "gpu": (
        replace(HERE, device="cuda"),
        "compiled for cuda, and this worker computes on cpu: set deviceType: gpu",
        "",
    ),
}


@pytest.mark.parametrize(("compiled", "message", "hint"), REFUSED.values(), ids=REFUSED.keys())
def test_what_was_compiled_for_something_else_is_refused(
    compiled: Compiled, message: str, hint: str, cpuinfo: Path, tmp_path: Path
) -> None:
    with pytest.raises(DeviceError) as refused:
        check_fits(compiled, CPU, cpuinfo)
    told = reason(refused.value, tmp_path)
    assert message in told[0]
    assert not told[0].endswith("...")  # cut
    assert hint in told[1]


def test_a_package_of_the_cpu_is_refused_on_a_gpu(cpuinfo: Path) -> None:
    with pytest.raises(DeviceError, match="compiled for cpu, and this worker computes on cuda: set deviceType: cpu"):
        check_fits(HERE, torch.device("cuda", 0), cpuinfo)


@pytest.mark.parametrize(("capability", "fits"), [((9, 0), True), ((8, 0), False)])
def test_a_package_of_a_gpu_runs_on_such_gpus_only(
    capability: tuple[int, int], fits: bool, cpuinfo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    compiled, gpu = replace(HERE, device="cuda", gpu="9.0"), torch.device("cuda", 1)
    if fits:
        check_fits(compiled, gpu, cpuinfo)
        return
    with pytest.raises(DeviceError, match=r"compute capability 9\.0, this one has 8\.0: export it again"):
        check_fits(compiled, gpu, cpuinfo)


def test_where_nobody_says_what_the_processor_has_it_is_tried(tmp_path: Path) -> None:
    check_fits(HERE, CPU, tmp_path / "none")


def test_the_dtype_is_that_of_the_export(tmp_path: Path) -> None:
    assert settings_for(HALF, None).dtype == "bfloat16"
    assert settings_for(HALF, Settings(dtype="bfloat16", threads=3)).threads == 3
    with pytest.raises(ValueError, match=r"^model-config\.yaml: dtype must be bfloat16, in which") as refused:
        settings_for(HALF, Settings())
    assert "that key of model-config.yaml" in reason(refused.value, tmp_path)[1]


def test_there_are_no_cuda_graphs_and_no_fusion(caplog: pytest.LogCaptureFixture) -> None:
    assert settings_for(HERE, Settings(graphs=Graphs(most=9))).graphs.most == 0
    assert not caplog.messages
    settings_for(HERE, Settings(fusion="frozen"))
    assert "fusion: frozen is for traces" in caplog.text


def test_the_card_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    for compiled in (None, HERE):
        path.write_text(replace(CARD, compiled=compiled).to_json())
        assert ModelCard.load(path).compiled == compiled


def test_the_card_of_an_older_version_is_that_of_a_trace(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    text = CARD.to_json()
    path.write_text(text.replace('  "compiled": null,\n', ""))
    assert path.read_text() != text
    assert ModelCard.load(path) == CARD


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 not a package"])
def test_a_missing_or_damaged_package_is_told_as_such(content: bytes | None, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(replace(CARD, compiled=replace(HERE, instructions=())).to_json())
    if content is not None:
        (tmp_path / PACKAGE_FILE).write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError)) as refused:
        Detector.load(tmp_path)
    message, hint = reason(refused.value, tmp_path)
    assert "No such file or directory: model.pt2" in message or "model.pt2 is damaged or cut off" in message
    assert "export the .mar again" in hint
