"""One pass on the device alone: pictures that are there already, to run lengths that have come back."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import ops
from benchmarks.made_up import Network
from benchmarks.variants import Call, Graphed, Variant
from handler.canvas import boxes_on_image, canvas_size, resized_size


class DevicePass:
    """The work of one pass of the handler without decoding, upload and strings.

    Attributes:
        kept: Detections of the last run, over all pictures.
    """

    def __init__(
        self, model: torch.jit.ScriptModule, network: Network, pictures: Sequence[Tensor], variant: Variant
    ) -> None:
        """Take pictures, (H, W, 3) uint8 each on the device, that share one canvas."""
        rules = network.conventions.preprocessing
        self._network, self._model, self._pictures = network, model, list(pictures)
        resized = [resized_size(*picture.shape[:2], rules) for picture in pictures]
        self.canvas_size = canvas_size(*resized[0], rules)
        device = pictures[0].device
        self._resized = torch.tensor(resized)
        self._sizes = self._resized.to(device)
        self._image_sizes = torch.tensor([picture.shape[:2] for picture in pictures]).to(device)
        self._dtype = variant.torch_dtype
        self._detect: Call = model.detect
        if variant.graph:
            self._detect = Graphed(model.detect, (self.canvas(), self._sizes))
        self.kept = 0

    def canvas(self) -> Tensor:
        """(B, 3, H, W) in channels-last memory."""
        rules = self._network.conventions.preprocessing
        return ops.resize_normalize(
            self._pictures,
            self._resized,
            *self.canvas_size,
            mean=list(rules.mean),
            std=list(rules.std),
            divisor=rules.pixel_divisor,
            dtype=self._dtype,
        )

    def first_half(self) -> Any:
        """Everything that needs no word from the host."""
        return self._detect(self.canvas(), self._sizes)

    def __call__(self) -> tuple[Tensor, Tensor]:
        """Run it; run lengths and offsets on the host."""
        boxes_on_canvas, scores, labels, _, counts, *levels = self.first_half()
        boxes = boxes_on_image(boxes_on_canvas, self._sizes, self._image_sizes, clip=False)
        filled = torch.arange(scores.shape[1], device=scores.device) < counts[:, None]
        rows = filled.flatten().nonzero().squeeze(1)  # the one wait
        self.kept = len(rows)
        chosen = boxes_on_canvas.flatten(0, 1).index_select(0, rows)
        probs = self._model.segment(chosen, labels.flatten().index_select(0, rows), counts, *levels)
        image_sizes = self._image_sizes.index_select(0, rows // scores.shape[1])
        thresholds = torch.full_like(chosen[:, 0], 0.5)
        lengths, offsets = ops.encode_rle(
            probs, boxes.flatten(0, 1).index_select(0, rows), image_sizes, thresholds, rule="integer", inclusive=False
        )
        return lengths.cpu(), offsets.cpu()
