"""Sizes to the pixel of the three frameworks, passes, and the way back."""

from pathlib import Path

import numpy as np
import pytest
import torch

from handler.canvas import Pass, boxes_on_image, canvas_size, plan_passes, resized_size
from handler.model_card import SizeRule
from tests.handler.cards import sized

GOLDEN = Path(__file__).parent.parent / "golden"


def test_torchvision_golden_sizes() -> None:
    golden = np.load(GOLDEN / "transform.npz")
    preprocessing = sized("torchvision")
    for (height, width), expected in zip(golden["sizes_in"], golden["sizes_out_resized_padded"], strict=True):
        resized = resized_size(int(height), int(width), preprocessing)
        assert [*resized, *canvas_size(*resized, preprocessing)] == expected.tolist()


# What the transforms of the three frameworks made of pictures when they were run.
RUNS: list[tuple[tuple[int, int], tuple[int, int], dict[SizeRule, tuple[int, int]]]] = [
    (
        (480, 640),
        (800, 1333),
        {"torchvision": (800, 1066), "detectron2": (800, 1067), "maskrcnn_benchmark": (800, 1066)},
    ),
    (
        (1080, 1920),
        (800, 1333),
        {"torchvision": (749, 1333), "detectron2": (750, 1333), "maskrcnn_benchmark": (750, 1333)},
    ),
    (
        (640, 426),
        (800, 1333),
        {"torchvision": (1201, 800), "detectron2": (1202, 800), "maskrcnn_benchmark": (1201, 800)},
    ),
    ((119, 171), (192, 320), {"torchvision": (192, 275), "detectron2": (192, 276), "maskrcnn_benchmark": (192, 275)}),
    ((171, 119), (96, 128), {"torchvision": (128, 89), "detectron2": (128, 89), "maskrcnn_benchmark": (127, 89)}),
    ((90, 333), (160, 256), {"torchvision": (69, 256), "detectron2": (69, 256), "maskrcnn_benchmark": (69, 255)}),
    ((64, 64), (100, 133), {"torchvision": (100, 100), "detectron2": (100, 100), "maskrcnn_benchmark": (100, 100)}),
]


@pytest.mark.parametrize(("image", "limits", "expected"), RUNS)
def test_each_framework_rounds_in_its_own_way(
    image: tuple[int, int], limits: tuple[int, int], expected: dict[SizeRule, tuple[int, int]]
) -> None:
    assert {rule: resized_size(*image, sized(rule, *limits)) for rule in expected} == expected


@pytest.mark.parametrize("rule", ["torchvision", "detectron2", "maskrcnn_benchmark"])
@pytest.mark.parametrize("image", [(1, 1), (1, 100_000), (100_000, 1), (3, 40_000), (800, 800)])
def test_sides_are_at_least_one_and_within_the_limit(rule: SizeRule, image: tuple[int, int]) -> None:
    height, width = resized_size(*image, sized(rule))
    assert {height, width} <= set(range(1, 1334))


@pytest.mark.parametrize(
    ("size", "divisor", "expected"),
    [
        ((800, 1066), 32, (800, 1088)),
        ((1, 1), 32, (32, 32)),
        ((33, 64), 32, (64, 64)),
        ((37, 53), 1, (37, 53)),  # single-level models pad nothing
    ],
)
def test_canvas_is_rounded_up(size: tuple[int, int], divisor: int, expected: tuple[int, int]) -> None:
    assert canvas_size(*size, sized("torchvision", divisor=divisor)) == expected


def test_only_equal_canvases_share_a_pass() -> None:
    wide, tall = (800, 1088), (1088, 800)
    assert plan_passes([wide, tall, wide, wide, tall], max_pass_size=8) == [
        Pass(wide, (0, 2, 3)),
        Pass(tall, (1, 4)),
    ]


def test_passes_have_a_limit() -> None:
    passes = plan_passes([(32, 32)] * 7, max_pass_size=3)
    assert [each.indices for each in passes] == [(0, 1, 2), (3, 4, 5), (6,)]


def test_no_pictures_no_passes() -> None:
    assert plan_passes([], max_pass_size=3) == []


def test_torchvision_golden_boxes() -> None:
    golden = np.load(GOLDEN / "transform.npz")
    boxes = torch.from_numpy(golden["resize_boxes_in"])[None]
    on_image = boxes_on_image(boxes, torch.tensor([[800, 1067]]), torch.tensor([[240, 320]]), clip=False)
    assert torch.equal(on_image[0], torch.from_numpy(golden["resize_boxes_800x1067_to_240x320"]))


def test_each_picture_has_its_own_ratio() -> None:
    boxes = torch.tensor([[[10.0, 20.0, 30.0, 40.0]], [[10.0, 20.0, 30.0, 40.0]]])
    on_image = boxes_on_image(
        boxes, torch.tensor([[100, 200], [50, 50]]), torch.tensor([[50, 50], [100, 200]]), clip=False
    )
    assert on_image.tolist() == [[[2.5, 10.0, 7.5, 20.0]], [[40.0, 40.0, 120.0, 80.0]]]


def test_clipping_where_the_framework_clips() -> None:
    boxes = torch.tensor([[[-3.0, -2.0, 70.0, 90.0], [5.0, 95.0, 8.0, 99.0]]])
    sizes = torch.tensor([[90, 60]])
    assert boxes_on_image(boxes, sizes, sizes, clip=True).tolist() == [[[0.0, 0.0, 60.0, 90.0], [5.0, 90.0, 8.0, 90.0]]]
    assert torch.equal(boxes_on_image(boxes, sizes, sizes, clip=False), boxes)
