"""Runs every CUDA kernel once on small inputs: what compute-sanitizer watches (``benchmarks/gpu_check.py``).

The inputs reach past the edges, are empty, tie, and have odd numbers of channels; results are not looked at here.
"""

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor

import ops
from benchmarks.op_cases import MEAN, STD, random_boxes

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
IMAGES, HEIGHT, WIDTH = 2, 96, 128


def levels(device: torch.device, dtype: torch.dtype, channels: int) -> list[Tensor]:
    maps = [torch.randn(IMAGES, channels, HEIGHT // stride, WIDTH // stride, device=device) for stride in (4, 8, 16)]
    return [each.to(dtype).contiguous(memory_format=torch.channels_last) for each in maps]


def boxes(device: torch.device, count: int) -> Tensor:
    """(IMAGES, count, 4), some reaching past the canvas."""
    both = [random_boxes(count, HEIGHT, WIDTH, seed, (2, 100)) + 10 * seed for seed in range(IMAGES)]
    return torch.stack(both).to(device)


def pool(device: torch.device, dtype: torch.dtype) -> None:
    scales = [1 / 4, 1 / 8, 1 / 16]
    for channels, ratio in ((16, 2), (5, 0)):
        maps = levels(device, dtype, channels)
        for count in (37, 0):
            rows = boxes(device, count)
            counts = torch.tensor([count, count // 2], device=device)
            for side in (7, 14):
                ops.pyramid_roi_align(
                    rows,
                    counts,
                    *maps,
                    spatial_scales=scales,
                    pooled_height=side,
                    pooled_width=side,
                    sampling_ratio=ratio,
                )
            places = torch.zeros(count, 1, device=device)
            ops.roi_align(maps[0], torch.cat([places, rows[1]], 1), 1 / 4, 7, 7, ratio, aligned=True)


def deform(device: torch.device, dtype: torch.dtype) -> None:
    for channels, groups, offset_groups in ((16, 1, 1), (32, 2, 2), (6, 2, 3)):  # vectors, and single values
        features = levels(device, dtype, channels)[0]
        weight, bias = torch.randn(4, channels // groups, 3, 3, device=device), torch.randn(4, device=device)
        height, width = HEIGHT // 8, WIDTH // 8
        offset = torch.randn(IMAGES, 18 * offset_groups, height, width, device=device) * 10  # past the edges too
        mask = torch.rand(IMAGES, 9 * offset_groups, height, width, device=device)
        given = [each.to(dtype) for each in (weight, offset, mask, bias)]
        ops.deform_conv2d(features, *given, stride=2, padding=1)
        ops.deform_conv2d(features, *given[:2], stride=2, padding=1)


def propose(device: torch.device, dtype: torch.dtype) -> None:
    sizes = torch.tensor([[HEIGHT, WIDTH], [50, 60]], device=device)
    cells = torch.tensor([[-8.0, -8, 8, 8], [-11, -6, 11, 6], [-6, -11, 6, 11]], device=device).repeat(3, 1, 1)
    maps = [each[:, start:end] for each in levels(device, dtype, 15) for start, end in ((0, 3), (3, 15))]
    for pre in (1000, 40):
        ops.propose(
            sizes, cells, *maps, strides=[4, 8, 16], pre_nms_top_n=pre, post_nms_top_n=300, nms_threshold=0.7,
            strides_from_grid=True,
        )  # fmt: skip


def select(device: torch.device, dtype: torch.dtype) -> None:
    rows = boxes(device, 150)
    counts, sizes = torch.tensor([150, 7], device=device), torch.tensor([[HEIGHT, WIDTH]] * IMAGES, device=device)
    for classes in (2, 21):
        logits = torch.randn(IMAGES * 150, classes, device=device).to(dtype)
        deltas = torch.randn(IMAGES * 150, 4 * classes, device=device).to(dtype)
        for threshold in (0.05, -1.0, 1.0):
            ops.select_detections(
                logits, deltas, rows, counts, sizes, score_threshold=threshold, nms_threshold=0.5, max_detections=100,
                box_weights=[10.0, 10.0, 5.0, 5.0],
            )  # fmt: skip


def suppress(device: torch.device) -> None:
    for count in (0, 1, 700):
        rows, scores = boxes(device, count)[0], torch.rand(count, device=device).mul(20).round()  # ties
        ops.nms(rows, scores, 0.5)
        ops.nms(rows, scores, 0.5, torch.arange(count, device=device) % 3)


def masks(device: torch.device) -> None:
    for count in (0, 25):
        probs, rows = torch.rand(count, 28, 28, device=device), boxes(device, count)[1]
        thresholds, sizes = torch.full((count,), 0.5, device=device), torch.tensor([[HEIGHT, WIDTH]], device=device)
        for rule in ("integer", "exact"):
            ops.encode_rle(probs, rows, sizes.repeat(count, 1), thresholds, rule=rule)
            ops.paste_masks(probs, rows, HEIGHT, WIDTH, rule=rule)


def resize(device: torch.device) -> None:
    pictures = [
        torch.randint(256, (height, width, 3), device=device, dtype=torch.uint8)
        for height, width in ((61, 83), (1, 1), (200, 301))
    ]
    sizes = torch.tensor([[HEIGHT, WIDTH], [17, 31], [90, 128]])
    for rule in ("bilinear", "pillow"):
        for dtype in DTYPES:
            ops.resize_normalize(pictures, sizes, HEIGHT, WIDTH, mean=MEAN, std=STD, filter=rule, dtype=dtype)


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.every_kernel", description=__doc__)
    parser.add_argument("--device", type=torch.device, default="cuda")
    device = parser.parse_args(given).device
    torch.manual_seed(0)
    with torch.inference_mode():
        for dtype in DTYPES:
            pool(device, dtype)
            deform(device, dtype)
            propose(device, dtype)
            select(device, dtype)
        suppress(device)
        masks(device)
        resize(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    print("every kernel ran")


if __name__ == "__main__":
    main()
