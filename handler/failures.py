"""What an exception of PyTorch means for the batch and for the process."""

import errno
import re

import torch

_OUT_OF_MEMORY = (
    "out of memory",  # CUDA
    "can't allocate memory",  # PyTorch's allocator for the CPU
    "not enough memory",  # the same, elsewhere
    "can't start new thread",  # Python: there is no room for its stack
    "bad_alloc",  # C++
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "unable to find an engine",  # each algorithm of cuDNN was tried, and PyTorch hides why none ran
)
# Out of our ops: the stable ABI says which call failed and not why. These calls only allocate. Where the device is
# broken instead, the next try says so.
_ALLOCATION_FAILED = re.compile(r"aten(::|_)(empty|new_empty|new_zeros|contiguous)\b.*API call failed", re.DOTALL)
_BROKEN_DEVICE = (
    "CUDA error",
    "CUDA driver error",
    "cuDNN error",
    "CUDNN_STATUS",
    "CUBLAS_STATUS",
    # oneDNN on the CPU: what it could not make for a size while memory was short, it never tries to make again (2.13).
    "could not create a primitive",
    "CUDACachingAllocator.cpp",  # an assertion of it; before PyTorch 2.12 it never recovers from a refused capture
)
# A library refused one call before it ran: the next picture may be fine.
_REFUSED = ("STATUS_NOT_SUPPORTED", "STATUS_BAD_PARAM", "STATUS_INVALID_VALUE")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether less work at a time, or freed caches, may help."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    text = str(error) if isinstance(error, RuntimeError) else ""
    return any(known in text for known in _OUT_OF_MEMORY) or _ALLOCATION_FAILED.search(text) is not None


def breaks_the_device(error: BaseException) -> bool:
    """Whether later calls of the process may fail too, whatever they ask: only a new process is free of that."""
    if is_out_of_memory(error):
        return False
    if isinstance(error, torch.AcceleratorError):
        return True
    text = str(error) if isinstance(error, RuntimeError) else ""
    return any(known in text for known in _BROKEN_DEVICE) and not any(known in text for known in _REFUSED)


def first_line(error: BaseException) -> str:
    """What to write to the log: PyTorch's texts go on for a page, and some errors have none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
