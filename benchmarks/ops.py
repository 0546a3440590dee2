"""Times every compiled op against what torchvision does for the same work, where torchvision is installed.

Run ``python -m benchmarks.ops``: a Markdown table on the standard output, ``--out FILE`` for JSON.
"""

import argparse
import importlib
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import ops
from benchmarks.machine import describe

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
STRIDES = (4, 8, 16, 32)
Work = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One row: the work done by our op, and by torchvision (None where it is not installed)."""

    name: str
    ours: Work
    peer: Work | None


@dataclass(frozen=True)
class Timing:
    """Milliseconds, medians of the runs."""

    name: str
    ours_ms: float
    peer_ms: float | None


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


def pooling(count: int, size: int) -> Case:
    height, width = 800, 1088
    generator = torch.Generator().manual_seed(1)
    levels = [
        torch.randn(1, 256, height // stride, width // stride, generator=generator).contiguous(
            memory_format=torch.channels_last
        )
        for stride in STRIDES
    ]
    boxes, counts = random_boxes(count, height, width, seed=2), torch.tensor([count])

    def ours() -> Tensor:
        return ops.pyramid_roi_align(
            boxes,
            counts,
            *levels,
            spatial_scales=[1 / stride for stride in STRIDES],
            pooled_height=size,
            pooled_width=size,
            sampling_ratio=2,
        )

    peer = None
    if module := peer_module("torchvision.ops"):
        pool = module.MultiScaleRoIAlign([str(i) for i in range(4)], size, 2)
        named = {str(i): level.contiguous() for i, level in enumerate(levels)}  # its fast layout
        peer = lambda: pool(named, [boxes], [(height, width)])  # noqa: E731
    return Case(f"pyramid_roi_align, {count} rois {size}x{size}, 256 channels, {height}x{width}", ours, peer)


def suppression(count: int) -> Case:
    boxes = random_boxes(count, 4000, 4000, seed=3, sides=(8, 64))  # sparse: nearly all stay
    scores = torch.rand(count, generator=torch.Generator().manual_seed(4))
    module = peer_module("torchvision.ops")
    peer = (lambda: module.nms(boxes, scores, 0.5)) if module else None
    return Case(f"nms, {count} sparse boxes", lambda: ops.nms(boxes, scores, 0.5), peer)


def selection(count: int, classes: int) -> Case:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(count, classes, generator=generator) * 0.1  # every class near 1 / classes
    deltas = torch.randn(count, 4 * classes, generator=generator) * 0.1
    proposals, size = random_boxes(count, 800, 1088, seed=6), (800, 1088)
    weights, threshold = (10.0, 10.0, 5.0, 5.0), 1e-3

    def ours() -> object:
        return ops.select_detections(
            logits,
            deltas,
            proposals[None],
            torch.tensor([count]),
            torch.tensor([size]),
            score_threshold=threshold,
            nms_threshold=0.5,
            max_detections=100,
            box_weights=list(weights),
            min_size=1e-2,
        )

    peer = None
    if module := peer_module("torchvision.models.detection.roi_heads"):
        heads = module.RoIHeads(None, None, None, 0.5, 0.5, 512, 0.25, weights, threshold, 0.5, 100)
        peer = lambda: heads.postprocess_detections(logits, deltas, [proposals], [size])  # noqa: E731
    return Case(f"select_detections, {count} proposals x {classes} classes, all above threshold", ours, peer)


def encoding(count: int, height: int, width: int) -> Case:
    probs = torch.rand(count, 8, 8, generator=torch.Generator().manual_seed(7))
    probs = torch.nn.functional.interpolate(probs[None], (28, 28), mode="bilinear")[0]  # blobs, as masks are
    boxes, sizes = random_boxes(count, height, width, seed=8), torch.tensor([[height, width]]).repeat(count, 1)
    thresholds = torch.full((count,), 0.5)
    paste, coco = peer_module("torchvision.models.detection.roi_heads"), peer_module("pycocotools.mask")

    def peer() -> object:
        planes = paste.paste_masks_in_image(probs[:, None], boxes, (height, width))[:, 0] > 0.5  # type: ignore[union-attr]
        stack = planes.to(torch.uint8).permute(1, 2, 0).numpy()
        return coco.encode(stack.copy(order="F"))  # type: ignore[union-attr]

    return Case(
        f"encode_rle, {count} masks, {height}x{width} (torchvision: paste, threshold, pycocotools)",
        lambda: ops.encode_rle(probs, boxes, sizes, thresholds, rule="integer", inclusive=False),
        peer if paste and coco else None,
    )


def resizing() -> Case:
    picture = torch.randint(256, (960, 1280, 3), generator=torch.Generator().manual_seed(9), dtype=torch.uint8)
    sizes = torch.tensor([[800, 1066]])
    peer = None
    if module := peer_module("torchvision.models.detection.transform"):
        transform = module.GeneralizedRCNNTransform(800, 1333, MEAN, STD).eval()
        planar = picture.permute(2, 0, 1).contiguous()
        peer = lambda: transform([planar / 255.0])  # noqa: E731
    return Case(
        "resize_normalize, 1280x960 -> 1066x800 on a canvas of 1088x800",
        lambda: ops.resize_normalize([picture], sizes, 800, 1088, mean=MEAN, std=STD),
        peer,
    )


CASES: tuple[Callable[[], Case], ...] = (
    lambda: pooling(1000, 7),
    lambda: pooling(100, 14),
    lambda: suppression(12_000),
    lambda: selection(1000, 91),
    lambda: encoding(100, 800, 1333),
    lambda: encoding(100, 427, 640),
    resizing,
)


def median_ms(work: Work, runs: int) -> float:
    """Median of the runs after a warm-up of three."""
    for _ in range(3):
        work()
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return 1000 * statistics.median(times)


def measure(case: Case, runs: int) -> Timing:
    with torch.inference_mode():
        return Timing(case.name, median_ms(case.ours, runs), case.peer and median_ms(case.peer, runs))


def machine() -> dict[str, object]:
    peer = peer_module("torchvision")
    return describe() | {"torchvision": peer.__version__ if peer else None}


def markdown_row(timing: Timing) -> str:
    peer = "-" if timing.peer_ms is None else f"{timing.peer_ms:.1f}"
    ratio = "-" if timing.peer_ms is None else f"{timing.peer_ms / timing.ours_ms:.1f}x"
    return f"| {timing.name} | {timing.ours_ms:.1f} | {peer} | {ratio} |"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ops", description=__doc__)
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file, too")
    parser.add_argument("--runs", type=int, default=20, help="timed runs of each side (default: 20)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of PyTorch")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    about = machine()
    print(", ".join(f"{key} {value}" for key, value in about.items() if value is not None))
    print("\n| work (float32) | ours, ms | torchvision, ms | ratio |\n|---|---|---|---|")
    timings = []
    for build in CASES:
        case = build()
        if arguments.only in case.name:
            timings.append(measure(case, arguments.runs))
            print(markdown_row(timings[-1]), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps({"machine": about, "timings": [asdict(t) for t in timings]}, indent=2))


if __name__ == "__main__":
    main()
