"""Where a worker computes, and what it refuses; PyTorch's view of the machine is made up."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from handler import device
from handler.device import DeviceError, choose_device, describe, use_device
from handler.gpu.settings import Graphs
from handler.processor import has_bfloat16
from handler.settings import Settings


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two GPUs, a PyTorch for them and an archive with kernels."""
    library = tmp_path / "libmaskrcnn_ops_cuda.so"
    library.touch()
    monkeypatch.setattr(device, "CUDA_LIBRARY", library)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "GPU of a test")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)


@pytest.fixture(autouse=True)
def switches() -> Iterator[None]:
    """Puts the process's switches back."""
    cudnn, matmul = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    profiling = torch._C._jit_set_profiling_mode(True)
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = cudnn, matmul
    torch._C._jit_set_profiling_mode(profiling)


@pytest.mark.parametrize("device_type", [None, "cpu"])
def test_without_a_gpu_it_is_the_cpu(device_type: str | None) -> None:
    assert choose_device(None, device_type) == torch.device("cpu")


@pytest.mark.usefixtures("gpus")
def test_the_assigned_gpu_is_used() -> None:
    assert choose_device(1, None) == choose_device(1, "gpu") == torch.device("cuda", 1)


@pytest.mark.usefixtures("gpus")
def test_a_gpu_that_nobody_assigned_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    assert choose_device(None, "cpu").type == "cpu"
    assert not caplog.messages
    assert choose_device(None, None).type == "cpu"
    assert "nvidia-smi" in caplog.text


def test_deviceType_gpu_without_a_gpu_is_refused() -> None:  # noqa: N802 - TorchServe's spelling
    with pytest.raises(DeviceError, match="assigned no GPU.*nvidia-smi.*or set deviceType: cpu"):
        choose_device(None, "gpu")


def test_a_pytorch_without_cuda_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(DeviceError, match="GPU 0, but this PyTorch is built for the CPU only.*deviceType: cpu"):
        choose_device(0, None)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(DeviceError, match="GPU 0, but PyTorch cannot use it.*driver.*deviceType: cpu"):
        choose_device(0, None)


@pytest.mark.usefixtures("gpus")
def test_an_archive_without_kernels_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(device, "CUDA_LIBRARY", tmp_path / "gone.so")
    with pytest.raises(DeviceError, match="no kernels for it .gone.so is missing.*nvcc.*deviceType: cpu"):
        choose_device(0, None)


@pytest.mark.usefixtures("gpus")
def test_a_hidden_gpu_is_refused() -> None:
    with pytest.raises(DeviceError, match="GPU 2, but PyTorch sees 2: CUDA_VISIBLE_DEVICES .*deviceIds"):
        choose_device(2, None)


def test_float16_is_refused_on_the_cpu_and_the_others_are_not() -> None:
    with pytest.raises(DeviceError, match="float16 is for GPUs: set dtype: float32 or bfloat16"):
        use_device(torch.device("cpu"), Settings(dtype="float16"))
    use_device(torch.device("cpu"), Settings(dtype="bfloat16"))
    assert torch._C._jit_set_profiling_mode(True) is False  # gives what was set before


@pytest.mark.parametrize(
    ("line", "there"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 amx_tile", True),
        ("flags\t\t: fpu amx_bf16", True),
        ("Features\t: fp asimd bf16", True),
        ("flags\t\t: fpu avx512f\nmodel name\t: bf16 in name only", False),
        ("", False),
    ],
)
def test_bfloat16_is_read_off_the_processors_flags(line: str, there: bool, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\n")
    assert has_bfloat16(tmp_path / "cpuinfo") is there
    assert not has_bfloat16(tmp_path / "none")


def test_bfloat16_is_advised_where_the_processor_has_it_and_warned_of_where_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cpu, half = torch.device("cpu"), Settings(dtype="bfloat16")
    monkeypatch.setattr(device, "has_bfloat16", lambda: True)
    use_device(cpu, half)
    assert not caplog.messages
    assert describe(cpu, Settings()).endswith("threads; dtype: bfloat16 would be faster here")
    assert "faster" not in describe(cpu, half)
    monkeypatch.setattr(device, "has_bfloat16", lambda: False)
    use_device(cpu, half)
    assert "neither AMX nor AVX512-BF16" in caplog.text
    assert "faster" not in describe(cpu, Settings())


@pytest.mark.usefixtures("gpus")
def test_bfloat16_is_refused_where_the_gpu_has_none() -> None:
    with pytest.raises(DeviceError, match="GPU of a test does not compute in bfloat16: set dtype: float16"):
        use_device(torch.device("cuda", 0), Settings(dtype="bfloat16"))


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("tf32", [True, False])
def test_the_switches_are_what_the_settings_say(tf32: bool) -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = not tf32
    use_device(torch.device("cuda", 0), Settings(tf32=tf32))
    assert torch.backends.cudnn.allow_tf32 is tf32
    assert torch.backends.cuda.matmul.allow_tf32 is tf32
    assert torch._C._jit_set_profiling_mode(True) is False  # gives what was set before


@pytest.mark.usefixtures("gpus")
def test_the_log_names_device_dtype_and_graphs() -> None:
    text = describe(torch.device("cuda", 1), Settings(dtype="float16", graphs=Graphs(7)))
    assert text == "cuda:1 (GPU of a test), float16, TF32 False, up to 7 CUDA graphs"
    assert "no CUDA graphs" in describe(torch.device("cuda", 1), Settings(graphs=Graphs(0)))
    assert describe(torch.device("cpu"), Settings()).startswith("cpu, float32, ")
