"""torchvision's own model with the same weights on the same device: what everything is compared with."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.made_up import Network
from benchmarks.op_cases import peer_module
from benchmarks.timing import Work
from export.names.torchvision import TABLE


def peer_model(network: Network) -> Any | None:
    """``maskrcnn_resnet50_fpn`` holding these weights; None where torchvision or that architecture is not there."""
    detection = peer_module("torchvision.models.detection")
    if detection is None or network.architecture.body.depths != (3, 4, 6, 3):
        return None
    rules = network.conventions.preprocessing
    model = detection.maskrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=network.architecture.classes,
        min_size=rules.min_size,
        max_size=rules.max_size,
    ).eval()
    missing, unexpected = model.load_state_dict(
        {TABLE.foreign(name): tensor for name, tensor in network.weights.items()}, strict=False
    )
    lacking = [name for name in missing if not name.endswith("num_batches_tracked")]
    if lacking or unexpected:
        raise RuntimeError(f"torchvision names its weights otherwise: {lacking[:3]}, {unexpected[:3]}")
    return model


def peer_variants(network: Network, pictures: Sequence[Tensor]) -> Iterator[tuple[str, Work]]:
    """Ways to run it, up to its soft masks on the device: thresholds and run lengths would come on top.

    Args:
        network: The weights.
        pictures: (H, W, 3) uint8 each, on the device.
    """
    model = peer_model(network)
    if model is None:
        return
    model = model.to(pictures[0].device)
    inputs = [picture.permute(2, 0, 1).float() / 255 for picture in pictures]
    yield "float32", lambda: model(inputs)
    if pictures[0].device.type == "cpu":
        return
    yield "float32 with TF32", lambda: _with_tf32(model, inputs)
    yield "float16 autocast", lambda: _autocast(model, inputs)
    halved = model.half()
    half_inputs = [each.half() for each in inputs]
    yield "float16", lambda: halved(half_inputs)
    last = halved.to(memory_format=torch.channels_last)
    yield "float16, channels last", lambda: last(half_inputs)


def _with_tf32(model: Any, inputs: list[Tensor]) -> Any:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    try:
        return model(inputs)
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def _autocast(model: Any, inputs: list[Tensor]) -> Any:
    with torch.autocast("cuda", torch.float16):
        return model(inputs)
