"""Runs a saved trace where nothing of this project is imported: only PyTorch, the op libraries and the file.

    python fresh_process.py MODEL CALLS ANSWERS LIBRARY...

CALLS holds {"threads": int, "calls": [(device, dtype of the weights, method, inputs), ...]}; ANSWERS gets one tuple a
call, on the CPU.
"""

import sys
import warnings

import torch


def main(model_path: str, calls_path: str, answers_path: str, *libraries: str) -> None:
    """Load, run every call, save what came out."""
    warnings.filterwarnings("ignore", message="`torch.jit")
    asked = torch.load(calls_path, weights_only=True)
    torch.set_num_threads(asked["threads"])
    torch.backends.cudnn.allow_tf32 = False  # float32 is to be float32
    for library in libraries:
        torch.ops.load_library(library)  # type: ignore[no-untyped-call]
    models = {
        (device, dtype): torch.jit.load(model_path).to(device, getattr(torch, dtype))  # type: ignore[no-untyped-call]
        for device, dtype in {call[:2] for call in asked["calls"]}
    }
    answers = []
    with torch.inference_mode():
        for device, dtype, method, inputs in asked["calls"]:
            answer = getattr(models[device, dtype], method)(*(part.to(device) for part in inputs))
            answers.append(tuple(part.cpu() for part in (answer if isinstance(answer, tuple) else (answer,))))
    torch.save(answers, answers_path)


if __name__ == "__main__":
    main(*sys.argv[1:])
