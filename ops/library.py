"""Loads the compiled op libraries, once a process: the CPU's always, CUDA's where there is a GPU."""

from pathlib import Path

import torch

LIBRARY = Path(__file__).parent / "lib" / "libmaskrcnn_ops.so"
CUDA_LIBRARY = LIBRARY.with_name("libmaskrcnn_ops_cuda.so")


def load_library(path: Path = LIBRARY) -> None:
    """Register the ops of namespace ``maskrcnn`` with PyTorch; a second call does nothing.

    Args:
        path: A compiled library; ``make ops`` builds it, a ``.mar`` carries it.

    Raises:
        FileNotFoundError: The library was never built or was not packed.
        OSError: The library is there and does not load; the text names the usual causes.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; run `make ops`, or export the .mar again")
    try:
        torch.ops.load_library(path)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise OSError(
            f"{path} does not load with PyTorch {torch.__version__} ({error}). It needs PyTorch 2.11 or later, "
            "the processor it was built for, and a folder that is not mounted noexec (see TEMP of TorchServe)"
        ) from error


load_library()
if torch.cuda.is_available() and CUDA_LIBRARY.is_file():  # without it, ops on the GPU say that they have no kernel
    load_library(CUDA_LIBRARY)
