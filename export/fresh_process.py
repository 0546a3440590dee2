"""Runs a saved trace where nothing of this project is imported: only PyTorch, the op library and the file.

    python fresh_process.py LIBRARY MODEL CALLS ANSWERS

CALLS holds {"threads": int, "dtype": name, "calls": [(method, inputs), ...]}; ANSWERS gets one tuple a call.
"""

import sys
import warnings

import torch


def main(library: str, model_path: str, calls_path: str, answers_path: str) -> None:
    """Load, run every call, save what came out."""
    warnings.filterwarnings("ignore", category=DeprecationWarning, message="`torch.jit")
    asked = torch.load(calls_path, weights_only=True)
    torch.set_num_threads(asked["threads"])
    torch.ops.load_library(library)  # type: ignore[no-untyped-call]
    model = torch.jit.load(model_path)  # type: ignore[no-untyped-call]
    model.to(getattr(torch, asked["dtype"]))
    with torch.inference_mode():
        answers = [getattr(model, method)(*inputs) for method, inputs in asked["calls"]]
    torch.save([answer if isinstance(answer, tuple) else (answer,) for answer in answers], answers_path)


if __name__ == "__main__":
    main(*sys.argv[1:])
