"""What each compiled op is timed on, and what torchvision does for the same work, where it is installed."""

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import ops
from benchmarks.timing import Work

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
STRIDES = (4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Setup:
    """What all cases share.

    Attributes:
        device: Where both sides compute.
        images: Pictures at once.
        dtype: Of feature maps.
    """

    device: torch.device
    images: int
    dtype: torch.dtype

    @classmethod
    def of(cls, device: torch.device) -> "Setup":
        """One picture and float32 on a CPU; eight and float16 on a GPU, which one picture does not fill."""
        return cls(device, 1, torch.float32) if device.type == "cpu" else cls(device, 8, torch.float16)

    def __str__(self) -> str:
        return "" if self.images == 1 else f"{self.images} x "


@dataclass(frozen=True)
class Case:
    """One row: the work done by our op, and by torchvision (None where it is not installed).

    Attributes:
        name: What is done.
        ours: By us.
        peer: By torchvision.
        host: The result lies on the host, so the wall clock counts.
    """

    name: str
    ours: Work
    peer: Work | None
    host: bool = False


def peer_module(name: str) -> Any | None:
    """A module that a peer needs, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def random_boxes(count: int, height: int, width: int, seed: int, sides: tuple[float, float] = (16, 600)) -> Tensor:
    """(count, 4) float32: sides log-uniform, aspect ratios up to 1:2, anywhere in the image."""
    generator = torch.Generator().manual_seed(seed)
    side = torch.logspace(math.log2(sides[0]), math.log2(sides[1]), count, base=2)
    side = side[torch.randperm(count, generator=generator)]
    stretch = 2 ** (torch.rand(count, generator=generator) - 0.5)
    size = torch.stack([(side * stretch).clamp(max=width - 1), (side / stretch).clamp(max=height - 1)], 1)
    corner = torch.rand(count, 2, generator=generator) * (torch.tensor([width, height]) - size)
    return torch.cat([corner, corner + size], 1)


def boxes_of_images(setup: Setup, count: int, height: int, width: int, seed: int) -> Tensor:
    """(images, count, 4) on the device."""
    images = [random_boxes(count, height, width, seed + image) for image in range(setup.images)]
    return torch.stack(images).to(setup.device)


def pooling(setup: Setup, count: int, size: int) -> Case:
    height, width = 800, 1088
    generator = torch.Generator().manual_seed(1)
    levels = [
        torch.randn(setup.images, 256, height // stride, width // stride, generator=generator)
        .to(setup.device, setup.dtype)
        .contiguous(memory_format=torch.channels_last)
        for stride in STRIDES[:4]
    ]
    boxes = boxes_of_images(setup, count, height, width, seed=2)
    counts = torch.full((setup.images,), count, device=setup.device)

    def ours() -> Tensor:
        return ops.pyramid_roi_align(
            boxes,
            counts,
            *levels,
            spatial_scales=[1 / stride for stride in STRIDES[:4]],
            pooled_height=size,
            pooled_width=size,
            sampling_ratio=2,
        )

    peer = None
    if module := peer_module("torchvision.ops"):
        pool = module.MultiScaleRoIAlign([str(i) for i in range(4)], size, 2)
        named = {str(i): level.contiguous() for i, level in enumerate(levels)}  # its fast layout
        rois = list(boxes.to(setup.dtype))  # it takes only one dtype for both
        peer = lambda: pool(named, rois, [(height, width)] * setup.images)  # noqa: E731
    return Case(f"pyramid_roi_align, {setup}{count} rois {size}x{size}, 256 channels, {height}x{width}", ours, peer)


def proposing(setup: Setup) -> Case:
    height, width, anchors = 800, 1344, 3
    generator, maps = torch.Generator().manual_seed(10), []
    for stride in STRIDES:
        grid = (-(-height // stride), -(-width // stride))
        fused = torch.randn(setup.images, 5 * anchors, *grid, generator=generator) * 0.5
        fused = fused.to(setup.device, setup.dtype).contiguous(memory_format=torch.channels_last)
        maps += [fused[:, :anchors], fused[:, anchors:]]
    sizes = torch.tensor([[height, width]] * setup.images, device=setup.device)
    sides, shapes = (
        torch.tensor([32.0, 64, 128, 256, 512]),
        torch.tensor([[2**0.5, 0.5**0.5], [1, 1], [0.5**0.5, 2**0.5]]),
    )
    half = sides[:, None, None] * shapes / 2
    cells = torch.cat([-half, half], 2).round().to(setup.device)
    options: dict[str, Any] = {"pre_nms_top_n": 1000, "post_nms_top_n": 1000, "nms_threshold": 0.7}

    def ours() -> object:
        return ops.propose(
            sizes, cells, *maps, strides=STRIDES, strides_from_grid=True, min_size=1e-3, score_threshold=0.0, **options
        )

    name = f"propose, {setup}5 levels of {height}x{width}, 1000 candidates each"
    return Case(name, ours, _torchvision_proposals(maps, (height, width)))


def _torchvision_proposals(maps: list[Tensor], size: tuple[int, int]) -> Work | None:
    """Its whole region proposal network but for the head, whose outputs it is given."""
    rpn, anchors = (
        peer_module("torchvision.models.detection.rpn"),
        peer_module("torchvision.models.detection.anchor_utils"),
    )
    if rpn is None or anchors is None:
        return None
    images = len(maps[0])
    maker = anchors.AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), ((0.5, 1.0, 2.0),) * 5)
    numbers = ({"training": 1000, "testing": 1000},) * 2
    head = lambda _: (list(maps[::2]), list(maps[1::2]))  # noqa: E731
    network = rpn.RegionProposalNetwork(maker, head, 0.7, 0.3, 256, 0.5, *numbers, 0.7).eval()
    pictures = anchors.ImageList(maps[0].new_zeros(images, 3, *size), [size] * images)
    features = {str(level): each for level, each in enumerate(maps[::2])}
    return lambda: network(pictures, features)


def suppression(setup: Setup, count: int, classes: int) -> Case:
    boxes = random_boxes(count, 4000, 4000, seed=3, sides=(8, 64)).to(setup.device)  # sparse: nearly all stay
    generator = torch.Generator().manual_seed(4)
    scores = torch.rand(count, generator=generator).to(setup.device)
    labels = torch.randint(classes, (count,), generator=generator).to(setup.device) if classes > 1 else None
    peer, module = None, peer_module("torchvision.ops")
    if module and labels is None:
        peer = lambda: module.nms(boxes, scores, 0.5)  # noqa: E731
    elif module:
        peer = lambda: module.batched_nms(boxes, scores, labels, 0.5)  # noqa: E731
    kinds = f" of {classes} classes" if classes > 1 else ""
    return Case(f"nms, {count} sparse boxes{kinds}", lambda: ops.nms(boxes, scores, 0.5, labels), peer, host=True)


def selection(setup: Setup, count: int, classes: int) -> Case:
    generator = torch.Generator().manual_seed(5)
    rows = setup.images * count
    logits = (torch.randn(rows, classes, generator=generator) * 0.1).to(setup.device)  # every class near 1 / classes
    deltas = (torch.randn(rows, 4 * classes, generator=generator) * 0.1).to(setup.device)
    proposals, size = boxes_of_images(setup, count, 800, 1088, seed=6), (800, 1088)
    counts = torch.full((setup.images,), count, device=setup.device)
    sizes = torch.tensor([size] * setup.images, device=setup.device)
    weights, threshold = (10.0, 10.0, 5.0, 5.0), 1e-3

    def ours() -> object:
        return ops.select_detections(
            logits,
            deltas,
            proposals,
            counts,
            sizes,
            score_threshold=threshold,
            nms_threshold=0.5,
            max_detections=100,
            box_weights=list(weights),
            min_size=1e-2,
        )

    peer = None
    if module := peer_module("torchvision.models.detection.roi_heads"):
        heads = module.RoIHeads(None, None, None, 0.5, 0.5, 512, 0.25, weights, threshold, 0.5, 100)
        peer = lambda: heads.postprocess_detections(logits, deltas, list(proposals), [size] * setup.images)  # noqa: E731
    name = f"select_detections, {setup}{count} proposals x {classes} classes, all above threshold"
    return Case(name, ours, peer)


def encoding(setup: Setup, count: int, height: int, width: int) -> Case:
    total = setup.images * count
    probs = torch.rand(total, 8, 8, generator=torch.Generator().manual_seed(7))
    probs = torch.nn.functional.interpolate(probs[None], (28, 28), mode="bilinear")[0].to(setup.device)  # blobs
    boxes = boxes_of_images(setup, count, height, width, seed=8).flatten(0, 1)
    sizes = torch.tensor([[height, width]]).repeat(total, 1).to(setup.device)
    thresholds = torch.full((total,), 0.5, device=setup.device)
    paste, coco = peer_module("torchvision.models.detection.roi_heads"), peer_module("pycocotools.mask")

    def ours() -> tuple[Tensor, Tensor]:
        counts, offsets = ops.encode_rle(probs, boxes, sizes, thresholds, rule="integer", inclusive=False)
        return counts.cpu(), offsets.cpu()

    def peer() -> None:
        for some, corners in zip(probs.split(count), boxes.split(count), strict=True):
            planes = paste.paste_masks_in_image(some[:, None], corners, (height, width))[:, 0] > 0.5  # type: ignore[union-attr]
            stack = planes.to(torch.uint8).permute(1, 2, 0).cpu().numpy()
            if coco:
                coco.encode(stack.copy(order="F"))

    does = "paste, threshold, pycocotools" if coco else "paste, threshold, copy; no pycocotools here, so no encoding"
    name = f"encode_rle, {setup}{count} masks, {height}x{width} (torchvision: {does})"
    return Case(name, ours, peer if paste else None, host=True)


def resizing(setup: Setup) -> Case:
    generator = torch.Generator().manual_seed(9)
    shape = (setup.images, 960, 1280, 3)
    pictures = torch.randint(256, shape, generator=generator, dtype=torch.uint8).to(setup.device)
    sizes = torch.tensor([[800, 1066]] * setup.images)
    peer = None
    if module := peer_module("torchvision.models.detection.transform"):
        transform = module.GeneralizedRCNNTransform(800, 1333, MEAN, STD).eval()
        planar = pictures.permute(0, 3, 1, 2).contiguous()
        peer = lambda: transform(list(planar / 255.0))  # noqa: E731
    return Case(
        f"resize_normalize, {setup}1280x960 -> 1066x800 on a canvas of 1088x800",
        lambda: ops.resize_normalize(list(pictures), sizes, 800, 1088, mean=MEAN, std=STD),
        peer,
    )


CASES: tuple[Callable[[Setup], Case], ...] = (
    lambda setup: pooling(setup, 1000, 7),
    lambda setup: pooling(setup, 100, 14),
    proposing,
    lambda setup: suppression(setup, 12_000, 1),
    lambda setup: suppression(setup, 12_000, 80),
    lambda setup: selection(setup, 1000, 91),
    lambda setup: encoding(setup, 100, 800, 1333),
    lambda setup: encoding(setup, 100, 427, 640),
    resizing,
)
