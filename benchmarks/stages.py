"""The network cut into stages that can be timed alone, each given what the one before it found."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import ops
from export.model import MaskRCNN


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: As the tables show it.
        work: A module made of layers, which can be traced and prepared as the whole trace is; or a call of an op.
        inputs: What it is called with.
    """

    name: str
    work: Callable[..., Tensor | tuple[Tensor, ...]]
    inputs: tuple[Tensor, ...]

    def outputs(self) -> tuple[Tensor, ...]:
        """Run it once."""
        results = self.work(*self.inputs)
        return (results,) if isinstance(results, Tensor) else results


class Pyramid(nn.Module):
    def __init__(self, model: MaskRCNN) -> None:
        super().__init__()
        self.pyramid = model.pyramid

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        levels: tuple[Tensor, ...] = self.pyramid(maps)
        return levels


class RpnHead(nn.Module):
    def __init__(self, model: MaskRCNN) -> None:
        super().__init__()
        self.proposals = model.proposals

    def forward(self, *levels: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.proposals.maps(levels))


class Masks(nn.Module):
    """The mask head with its pooling, which is a small part of it."""

    def __init__(self, model: MaskRCNN) -> None:
        super().__init__()
        self.pool, self.head = model.pool_masks, model.mask_head

    def forward(self, boxes: Tensor, labels: Tensor, counts: Tensor, *levels: Tensor) -> Tensor:
        masks: Tensor = self.head(self.pool(boxes, counts, levels), labels)
        return masks


@torch.no_grad()
def stages(model: MaskRCNN, canvas: Tensor, sizes: Tensor, kept: int) -> Iterator[Stage]:
    """Cut up one pass.

    Args:
        model: Eager, on the device and of the dtype to be timed.
        canvas: (B, 3, H, W) there, channels last.
        sizes: (B, 2) int64.
        kept: Detections a picture that get a mask.
    """
    body = Stage("body", model.body, (canvas,))
    yield body
    pyramid = Stage("FPN", Pyramid(model), body.outputs())
    yield pyramid
    levels = pyramid.outputs()
    rpn = Stage("RPN head", RpnHead(model), levels)
    yield rpn
    propose = _proposing(model, sizes, rpn.outputs())
    yield propose
    proposals, _, counts = propose.outputs()
    pool = _pooling(model, proposals, counts, levels[: model.levels])
    yield pool
    head = Stage("box head", model.box_head, pool.outputs())
    yield head
    select = _selecting(model, *head.outputs(), proposals, counts, sizes)
    yield select
    boxes, _, labels, *_ = select.outputs()
    chosen = (boxes[:, :kept].flatten(0, 1), labels[:, :kept].flatten(), torch.full_like(counts, kept))
    masks = Stage("mask head", Masks(model), (*chosen, *levels[: model.levels]))
    yield masks
    yield _encoding(*masks.outputs(), chosen[0], sizes.repeat_interleave(kept, 0))


def _proposing(model: MaskRCNN, sizes: Tensor, maps: tuple[Tensor, ...]) -> Stage:
    network = model.proposals
    anchors = (network.fixed_point_anchors.double() / 2**30).float()
    return Stage("propose", lambda *given: ops.propose(*given, **network.options), (sizes, anchors, *maps))


def _pooling(model: MaskRCNN, proposals: Tensor, counts: Tensor, levels: tuple[Tensor, ...]) -> Stage:
    return Stage("box pooling", lambda p, c, *maps: model.pool_boxes(p, c, maps), (proposals, counts, *levels))


def _selecting(model: MaskRCNN, *given: Tensor) -> Stage:
    return Stage("select", lambda *inputs: model.select(*inputs), given)


def _encoding(probs: Tensor, boxes: Tensor, image_sizes: Tensor) -> Stage:
    thresholds = torch.full_like(boxes[:, 0], 0.5)

    def encode(*given: Tensor) -> tuple[Tensor, Tensor]:
        return ops.encode_rle(*given, rule="integer", inclusive=False)

    return Stage("encode", encode, (probs, boxes, image_sizes, thresholds))
