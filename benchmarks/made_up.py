"""A Mask R-CNN of any size with made-up weights, and pictures: arithmetic does not care what a network has learned.

How many detections are kept does matter: the mask head runs on those. So the background's bias is chosen by trying,
until the pictures at hand give as many as wanted.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from export.conventions import TORCHVISION_PREPROCESSING, Conventions
from export.model import MaskRCNN
from export.network.architecture import Architecture, BoxHead, MaskHead, ProposalHead, Pyramid, ResidualBody
from export.network.expected_shapes import expected_shapes

# torchvision's maskrcnn_resnet50_fpn.
R50 = Architecture(
    kind="fpn",
    body=ResidualBody(
        block="bottleneck",
        depths=(3, 4, 6, 3),
        stem_channels=64,
        stage_channels=(256, 512, 1024, 2048),
        inner_channels=(64, 128, 256, 512),
        groups=1,
        norm="batch",
        offsets=(0, 0, 0, 0),
    ),
    pyramid=Pyramid(stages=(0, 1, 2, 3), channels=256, norm="none"),
    proposals=ProposalHead(convs=(256,), anchors=3),
    box=BoxHead((), "none", linears=(1024, 1024), linear_norm="none", side=7, deltas=4 * 91, cascade=1),
    mask=MaskHead(convs=(256, 256, 256, 256), norm="none", hidden=256, masks=91),
    classes=91,
)
# The same layers, for a CPU and a few seconds.
TINY = replace(
    R50,
    body=ResidualBody("bottleneck", (1, 1, 1, 1), 8, (16, 32, 64, 128), (8, 8, 16, 32), 1, "batch", (0, 0, 0, 0)),
    pyramid=Pyramid((0, 1, 2, 3), 16, "none"),
    proposals=ProposalHead((16,), 3),
    box=BoxHead((), "none", (24, 24), "none", 7, 4 * 5, 1),
    mask=MaskHead((16, 16), "none", 16, 5),
    classes=5,
)
# Standard deviations of a layer's outputs where its inputs have 1: wide where a softmax or a top-k follows.
_GAINS = {"rpn.objectness": 3.0, "rpn.deltas": 0.3, "box.0.scores": 6.0, "box.0.deltas": 1.0, "mask.logits": 3.0}
_PLAIN = ("fpn.", "shortcut.")  # no ReLU halves what they give
_LAST_NORMS = ("conv3.norm.weight",)  # of a block: small, so that the sum over the blocks does not grow
_BIAS_RANGE = (-20.0, 60.0)


@dataclass(frozen=True)
class Network:
    """A network under its canonical names.

    Attributes:
        weights: Canonical name to tensor.
        architecture: Its shapes.
        conventions: Everything else.
    """

    weights: dict[str, Tensor]
    architecture: Architecture
    conventions: Conventions

    def model(self) -> MaskRCNN:
        """The eager model, float32 on the CPU."""
        return MaskRCNN(self.weights, self.architecture, self.conventions)

    def with_background(self, bias: float) -> "Network":
        """The same with another bias of the background class."""
        changed = self.weights["box.0.scores.bias"].clone()
        changed[0] = bias
        return replace(self, weights=self.weights | {"box.0.scores.bias": changed})


def network(architecture: Architecture, min_size: int, max_size: int) -> Network:
    """torchvision's conventions and weights that keep activations near 1."""
    weights = {name: _values(name, shape) for name, shape in expected_shapes(architecture)}
    preprocessing = replace(TORCHVISION_PREPROCESSING, min_size=min_size, max_size=max_size)
    return Network(weights, architecture, replace(Conventions(), preprocessing=preprocessing))


def _values(name: str, shape: Sequence[int]) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    values = torch.randn(*shape, generator=generator)
    if name.endswith("variance"):
        return torch.ones(*shape)
    if len(shape) == 1:
        scale = 0.3 if name.endswith(_LAST_NORMS) else 1.0
        return scale * (1 + 0.1 * values) if "norm" in name and name.endswith("weight") else 0.05 * values
    # Filters without a mean: after a ReLU all inputs are positive, and their mean would drown what differs.
    values -= values.flatten(1).mean(1).reshape(-1, *[1] * (len(shape) - 1))
    gain = next((gain for part, gain in _GAINS.items() if name.startswith(part)), 1.0 if _is_plain(name) else 2**0.5)
    return values * gain * values[0].numel() ** -0.5


def _is_plain(name: str) -> bool:
    return any(part in name for part in _PLAIN)


@torch.no_grad()
def keeping(given: Network, canvas: Tensor, sizes: Tensor, wanted: float) -> Network:
    """Choose the background's bias so that a picture of a canvas keeps so many detections on average.

    Args:
        given: Any network.
        canvas: (B, 3, H, W) in the dtype and on the device to try it on.
        sizes: (B, 2) int64 there.
        wanted: Detections a picture; the limit of the conventions (100) cannot be passed.
    """
    model = given.with_background(0.0).model().to(canvas.device, canvas.dtype)
    levels = model.features(canvas)
    proposals, counts = model.proposals(levels, sizes)
    logits, deltas = model.box_logits(proposals, counts, levels[: model.levels])
    low, high = _BIAS_RANGE
    for _ in range(20):
        bias = (low + high) / 2
        shifted = torch.cat([logits[:, :1] + bias, logits[:, 1:]], 1)
        kept = model.select(shifted, deltas, proposals, counts, sizes)[4]
        low, high = (bias, high) if float(kept.float().mean()) > wanted else (low, bias)
    return given.with_background(high)


def photo(height: int, width: int, seed: int) -> Tensor:
    """(height, width, 3) uint8 with structure at every scale, as photographs have it."""
    generator = torch.Generator().manual_seed(seed)
    picture = torch.zeros(1, 3, height, width)
    for cells in _octaves(max(height, width)):
        coarse = torch.randn(1, 3, max(2, cells * height // width), cells, generator=generator)
        picture += F.interpolate(coarse, size=(height, width), mode="bilinear") * 60 / cells**0.5
    return (128 + picture[0]).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous()


def _octaves(side: int) -> Iterator[int]:
    cells = 2
    while cells < side:
        yield cells
        cells *= 2


# (height, width) of pictures as cameras and the web give them.
PHOTO_SIZES = tuple(
    size
    for height, width in (
        (480, 640), (427, 640), (426, 640), (425, 640), (428, 640), (424, 640), (360, 640), (375, 500), (333, 500),
        (334, 500), (332, 500), (500, 500), (640, 640), (612, 612), (600, 800), (768, 1024), (720, 1280), (1080, 1920),
        (640, 960), (512, 768),
    )
    for size in ((height, width), (width, height + (height == width)))
)  # fmt: skip
