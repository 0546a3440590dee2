"""Loads the compiled op library, once a process."""

from pathlib import Path

import torch

LIBRARY = Path(__file__).parent / "lib" / "libmaskrcnn_ops.so"


def load_library(path: Path = LIBRARY) -> None:
    """Register the ops of namespace ``maskrcnn`` with PyTorch; a second call does nothing.

    Args:
        path: The compiled library; ``make ops`` builds it, a ``.mar`` carries it.

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
