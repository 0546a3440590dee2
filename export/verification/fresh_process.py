"""Runs a saved model where nothing of this project is imported: only PyTorch, the op libraries and the file.

    python fresh_process.py MODEL CALLS ANSWERS LIBRARY...

MODEL is a trace, or a package (``.pt2``). CALLS holds {"threads": int, "calls": [(device, dtype of the weights, method,
inputs), ...]}; ANSWERS gets one tuple a call, on the CPU.
"""

import sys
import warnings
from typing import Any
from zipfile import ZipFile

import torch
from torch import Tensor


class Package:
    """The methods of a trace, by the programs of a package; its dtype and device are its own.

    Where the whole network is called, the rows that were found pass from one program to the other as in the model's own
    ``forward``.
    """

    def __init__(self, path: str, dtype: torch.dtype) -> None:
        self._path, self._dtype = path, dtype
        self._programs: dict[str, Any] = {}
        with ZipFile(path) as parts:  # that of a Faster R-CNN has one program only
            self._finds_masks = any("/segment/" in name for name in parts.namelist())

    def __call__(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        """As ``forward``."""
        boxes, scores, labels, _, counts, _, _, _, *levels = self.explain(images, sizes)
        kept = torch.arange(labels.shape[1], device=labels.device) < counts[:, None]
        return boxes[kept], scores[kept], labels[kept], self._masks(boxes[kept], labels[kept], counts, levels), counts

    def _masks(self, boxes: Tensor, labels: Tensor, counts: Tensor, levels: list[Tensor]) -> Tensor:
        if not self._finds_masks:
            return boxes[:, :0, None].expand(-1, -1, 0)
        return self.segment(boxes, labels, counts, *levels)

    forward = __call__

    def detect(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        """The first five of ``explain``, and the levels."""
        answer = self.explain(images, sizes)
        return (*answer[:5], *answer[8:])

    def explain(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        """The first program."""
        return tuple(self._run("explain", [self._maps(images), sizes]))

    def segment(self, boxes: Tensor, labels: Tensor, counts: Tensor, *levels: Tensor) -> Tensor:
        """The second one."""
        return self._run("segment", [boxes, labels, counts, *map(self._maps, levels)])[0]

    def _maps(self, maps: Tensor) -> Tensor:
        return maps.to(self._dtype).contiguous(memory_format=torch.channels_last)

    def _run(self, name: str, inputs: list[Tensor]) -> list[Tensor]:
        if name not in self._programs:
            self._programs[name] = torch._C._aoti.AOTIModelPackageLoader(self._path, name, False, 1, -1)
        answer: list[Tensor] = self._programs[name].boxed_run(inputs)
        return answer


def load(path: str, device: str, dtype: torch.dtype) -> Any:
    """A saved model."""
    if path.endswith(".pt2"):
        return Package(path, dtype)
    return torch.jit.load(path).to(device, dtype)  # type: ignore[no-untyped-call]


def main(model_path: str, calls_path: str, answers_path: str, *libraries: str) -> None:
    """Load, run every call, save what came out."""
    warnings.filterwarnings("ignore", message="`torch.jit")
    asked = torch.load(calls_path, weights_only=True)
    torch.set_num_threads(asked["threads"])
    torch.backends.cudnn.allow_tf32 = False  # float32 is to be float32
    for library in libraries:
        torch.ops.load_library(library)  # type: ignore[no-untyped-call]
    models = {
        (device, dtype): load(model_path, device, getattr(torch, dtype))
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
