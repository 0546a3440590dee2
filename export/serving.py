"""The ``model-config.yaml`` of an archive: what an operator may change without exporting again."""

from dataclasses import dataclass
from typing import Any, Literal

import yaml

from export.errors import ExportError
from handler.gpu.settings import Dtype
from handler.settings import Settings
from ops.library import CUDA_LIBRARY

Device = Literal["auto", "cpu", "gpu"]

# safe_dump writes no comments, and this is where an operator looks.
_HEADER = """\
# Any of this may be changed; pack the archive again, or see README.md.
# deviceType: cpu or gpu; without it, a GPU where TorchServe finds one (it asks nvidia-smi), else the CPU.
# On several GPUs the workers take turns, so minWorkers and maxWorkers are best a multiple of their number;
# deviceIds: [0, 2] chooses some of them.
"""


@dataclass(frozen=True)
class Serving:
    """TorchServe's options of one model and the handler's.

    Attributes:
        batch_size: Most requests that TorchServe gathers for one call.
        max_batch_delay: How long it waits for them, in milliseconds; a lone request always pays it.
        workers: Worker processes, each with its own copy of the model. On GPUs TorchServe hands them out in turn.
        response_timeout: Seconds until TorchServe kills a worker that has not answered.
        startup_timeout: Seconds until it gives up on a worker that has not loaded.
        max_pixels: Pictures with more pixels are refused.
        device: ``gpu`` refuses to serve without one; ``auto`` takes one where there is one, if the archive carries
            kernels for it, and is ``cpu`` if not.
        dtype: What the network computes in; float16 is for GPUs only.
    """

    batch_size: int = 4
    max_batch_delay: int = 10
    workers: int = 1
    response_timeout: int = 120
    startup_timeout: int = 300
    max_pixels: int = Settings.max_pixels
    device: Device = "auto"
    dtype: Dtype = Settings.dtype

    def device_type(self) -> str | None:
        """``deviceType`` of the file; None: it is left out, and TorchServe decides.

        Raises:
            ExportError: The archive could not serve as asked.
        """
        has_kernels = CUDA_LIBRARY.is_file()
        if self.device == "gpu" and not has_kernels:
            raise ExportError("--device gpu: there are no kernels for GPUs to pack; run `make ops` where nvcc is")
        on_cpu = self.device == "cpu" or not has_kernels
        if on_cpu and self.dtype == "float16":
            why = (
                "" if self.device == "cpu" else ", and there are no kernels for one to pack (`make ops` where nvcc is)"
            )
            raise ExportError(f"--dtype float16 is for GPUs{why}; choose float32 or bfloat16 for the CPU")
        return "cpu" if on_cpu else "gpu" if self.device == "gpu" else None

    def to_yaml(self) -> str:
        """The text of the file.

        Raises:
            ExportError: The archive could not serve as asked.
        """
        options: dict[str, Any] = {
            "batchSize": self.batch_size,
            "maxBatchDelay": self.max_batch_delay,
            "minWorkers": self.workers,
            "maxWorkers": self.workers,
            "responseTimeout": self.response_timeout,
            "startupTimeout": self.startup_timeout,
        }
        if device_type := self.device_type():
            options["deviceType"] = device_type
        options["detection"] = {
            "max_pixels": self.max_pixels,
            "threads": "auto",
            "warm_up_sizes": [],
            "dtype": self.dtype,
        }
        text: str = yaml.safe_dump(options, sort_keys=False, default_flow_style=None)
        return _HEADER + text
