"""What only the CPU can refuse: values, which a GPU does not read before it launches."""

import os

import torch


def reads_values(device: torch.device) -> bool:
    """Whether the op's kernels there see the values of their arguments in time to raise."""
    return device.type == "cpu" and not os.environ.get("EMULATED_CUDA")
