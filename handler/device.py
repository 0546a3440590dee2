"""Where a worker computes, and what PyTorch must know of it before the model is loaded."""

import logging

import torch

from handler.gpu.settings import DTYPES
from handler.processor import has_bfloat16
from handler.settings import Settings
from ops.library import CUDA_LIBRARY

logger = logging.getLogger(__name__)

CPU = torch.device("cpu")
_OR_CPU = "or set deviceType: cpu in model-config.yaml"


class DeviceError(RuntimeError):
    """The model was told to compute where it cannot; the text says what to do."""


def choose_device(gpu_id: int | None, device_type: object) -> torch.device:
    """Where to compute.

    Args:
        gpu_id: The GPU that the server assigned to this worker, if any.
        device_type: ``deviceType`` of ``model-config.yaml``, if it says one.

    Raises:
        DeviceError: A GPU is asked for and there is none, or no kernels for it: a worker on the CPU would answer too,
            but tens of times slower, and nobody would know why.
    """
    if gpu_id is None:
        if device_type == "gpu":
            raise DeviceError(
                "model-config.yaml says deviceType: gpu, but TorchServe assigned no GPU; it counts them with "
                f"nvidia-smi, which must be on its PATH; correct that, {_OR_CPU}"
            )
        if device_type is None and torch.cuda.is_available():
            logger.warning(
                "PyTorch sees a GPU, but TorchServe assigned none (is nvidia-smi on its PATH?): using the CPU"
            )
        return CPU
    _check_gpu(gpu_id)
    return torch.device("cuda", gpu_id)


def _check_gpu(gpu_id: int) -> None:
    assigned = f"TorchServe assigned GPU {gpu_id}, but"
    if not torch.cuda.is_available():
        built = torch.version.cuda is None
        reason = "this PyTorch is built for the CPU only" if built else "PyTorch cannot use it (see nvidia-smi)"
        raise DeviceError(f"{assigned} {reason}: install a PyTorch and a driver that fit each other, {_OR_CPU}")
    if gpu_id >= torch.cuda.device_count():
        raise DeviceError(
            f"{assigned} PyTorch sees {torch.cuda.device_count()}: CUDA_VISIBLE_DEVICES hides GPUs from it, not from "
            f"TorchServe; choose them with deviceIds in model-config.yaml instead, {_OR_CPU}"
        )
    if not CUDA_LIBRARY.is_file():
        raise DeviceError(
            f"{assigned} the .mar has no kernels for it ({CUDA_LIBRARY.name} is missing): export it again where nvcc "
            f"is (`make ops` says so), {_OR_CPU}"
        )


def use_device(device: torch.device, settings: Settings) -> None:
    """Make a device the process's own, and set the switches of its arithmetic.

    Raises:
        DeviceError: It does not compute in the dtype of the settings.
    """
    # The profiling executor runs the first calls of every graph slower to learn their shapes, then compiles kernels
    # for those: seconds at a request. The simple one compiles nothing. Before the model is loaded: each of its
    # methods keeps the executor that it began with.
    torch._C._jit_set_profiling_mode(False)
    if device.type == "cpu":
        _check_cpu(settings)
    else:
        _use_gpu(device, settings)


def _check_cpu(settings: Settings) -> None:
    if settings.dtype == "float16":
        raise DeviceError("float16 is for GPUs: set dtype: float32 or bfloat16 in model-config.yaml")
    if settings.dtype == "bfloat16" and not has_bfloat16():
        logger.warning(
            "this processor has neither AMX nor AVX512-BF16 (nor Arm's bf16), so bfloat16 is slower than float32: "
            "set dtype: float32 in model-config.yaml"
        )


def _use_gpu(device: torch.device, settings: Settings) -> None:
    torch.cuda.set_device(device)
    if settings.dtype == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        name = torch.cuda.get_device_name(device)
        raise DeviceError(f"{name} does not compute in bfloat16: set dtype: float16 in model-config.yaml")
    torch.backends.cudnn.allow_tf32 = settings.tf32
    torch.backends.cuda.matmul.allow_tf32 = settings.tf32


def describe(device: torch.device, settings: Settings) -> str:
    """A line for the log."""
    if device.type == "cpu":
        faster = "; dtype: bfloat16 would be faster here" if settings.dtype == "float32" and has_bfloat16() else ""
        return f"cpu, {settings.dtype}, {torch.get_num_threads()} threads{faster}"
    graphs = f"up to {settings.graphs.most} CUDA graphs" if settings.graphs.most else "no CUDA graphs"
    return f"{device} ({torch.cuda.get_device_name(device)}), {settings.dtype}, TF32 {settings.tf32}, {graphs}"


def torch_dtype(settings: Settings) -> torch.dtype:
    """The dtype of the settings, as PyTorch's."""
    return DTYPES[settings.dtype]
