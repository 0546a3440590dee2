"""A TorchScript module with the methods of an exported one, whose answers follow from its inputs by hand."""

from pathlib import Path

import torch
from torch import Tensor, nn

from handler.model_card import FILE_NAME, ModelCard

MASK_SIDE = 28
SCORES = (0.9, 0.6, 0.3)


class MadeUpModel(nn.Module):
    """Three instances a picture: whole, its left half, its top half; the label is the red of the top left pixel.

    Where that pixel's blue is 50 the second and third have the next two labels. A mask is full for the pictures whose
    green is above 100, its left half otherwise.
    """

    def forward(self, images: Tensor, sizes: Tensor) -> Tensor:
        return images

    @torch.jit.export
    def detect(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        batch = images.size(0)
        height, width = sizes[:, 0].float(), sizes[:, 1].float()
        zero = torch.zeros_like(height)
        whole = torch.stack([zero, zero, width, height], 1)
        left = torch.stack([zero, zero, width / 2, height], 1)
        top = torch.stack([zero, zero, width, height / 2], 1)
        boxes = torch.stack([whole, left, top, torch.zeros_like(top)], 1)  # the last row is past the count
        scores = torch.tensor([[0.9, 0.6, 0.3, 0.0]]).repeat(batch, 1)
        steps = (images[:, 2, 0, 0] == 50).long()[:, None] * torch.arange(4)[None]
        labels = images[:, 0, 0, 0].round().long()[:, None].repeat(1, 4) + steps
        counts = torch.full([batch], 3)
        counts[images[:, 2, 0, 0] > 100] = 0  # blue: nothing found
        return boxes, scores, labels, torch.zeros_like(labels), counts, images

    @torch.jit.export
    def segment(self, boxes: Tensor, labels: Tensor, counts: Tensor, level0: Tensor) -> Tensor:
        full = (level0[:, 1, 0, 0] > 100).repeat_interleave(counts)  # (K)
        masks = torch.zeros([boxes.size(0), 28, 28])
        masks[:, :, :14] = 1.0
        masks[full.nonzero().squeeze(1)] = 1.0  # rows past the counts are padding
        return masks


def save_made_up_model(folder: Path, card: ModelCard) -> Path:
    torch.jit.save(torch.jit.script(MadeUpModel()), folder / "model.pt")
    (folder / FILE_NAME).write_text(card.to_json())
    return folder
