"""model-config.yaml: where an archive is to be served, and in what it computes."""

from pathlib import Path

import pytest
import yaml

from export import serving
from export.command_line import export_of, main, parser
from export.errors import ExportError
from export.serving import Device, Serving
from handler.gpu.settings import Dtype
from handler.settings import Settings


@pytest.fixture(params=[True, False], ids=["kernels", "no kernels"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> bool:
    library = tmp_path / "libmaskrcnn_ops_cuda.so"
    if request.param:
        library.touch()
    monkeypatch.setattr(serving, "CUDA_LIBRARY", library)
    return bool(request.param)


def written(made: Serving) -> dict[str, object]:
    config: dict[str, object] = yaml.safe_load(made.to_yaml())
    return config


def test_auto_leaves_the_choice_to_torchserve_if_there_are_kernels(kernels: bool) -> None:
    assert written(Serving()).get("deviceType") == (None if kernels else "cpu")


def test_the_cpu_is_what_it_is(kernels: bool) -> None:
    assert written(Serving(device="cpu"))["deviceType"] == "cpu"


def test_a_gpu_needs_kernels(kernels: bool) -> None:
    if kernels:
        assert written(Serving(device="gpu"))["deviceType"] == "gpu"
    else:
        with pytest.raises(ExportError, match="--device gpu: there are no kernels .* run `make ops` where nvcc is"):
            Serving(device="gpu").to_yaml()


@pytest.mark.parametrize("where", ["auto", "cpu", "gpu"])
def test_float16_needs_a_gpu(kernels: bool, where: Device) -> None:
    made = Serving(device=where, dtype="float16")
    if kernels and where != "cpu":
        assert Settings.from_config(written(made)).dtype == "float16"
    else:
        with pytest.raises(ExportError, match="--dtype float16 is for GPUs|--device gpu"):
            made.to_yaml()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_handler_reads_what_was_written(kernels: bool, dtype: Dtype) -> None:
    config = written(Serving(batch_size=6, max_pixels=1000, dtype=dtype))
    assert Settings.from_config(config) == Settings(max_pixels=1000, max_pass_size=6, dtype=dtype)


def test_the_file_says_how_to_choose_gpus() -> None:
    assert "deviceIds" in Serving().to_yaml()


def test_the_options_reach_the_file(kernels: bool, tmp_path: Path) -> None:
    (tmp_path / "any.pth").touch()
    options = parser().parse_args([str(tmp_path / "any.pth"), "--device", "cpu", "--dtype", "bfloat16"])
    asked = export_of(options).serving
    assert (asked.device, asked.dtype) == ("cpu", "bfloat16")


def test_what_cannot_be_served_is_refused_before_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("export.command_line.run", lambda _: pytest.fail("nothing is exported"))
    assert main(["any.pth", "--device", "cpu", "--dtype", "float16"]) == 2
    assert "--dtype float16 is for GPUs; choose float32 or bfloat16" in capsys.readouterr().err
