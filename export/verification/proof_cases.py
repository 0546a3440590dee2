"""What the proof runs: pictures, canvases and batches that the trace was not made with."""

from dataclasses import dataclass

import torch
from torch import Tensor

from export.conventions import Conventions
from export.network.architecture import Architecture
from handler.model_card import Preprocessing

# Batch and canvas sides. Every batch from 1 to 8, wide and tall, and one canvas that is no multiple of 32.
CANVASES = (
    (1, 416, 320),
    (2, 224, 352),
    (3, 64, 160),
    (4, 96, 64),
    (5, 64, 64),
    (6, 32, 96),
    (7, 64, 32),
    (8, 32, 64),
    (1, 250, 333),
)


@dataclass(frozen=True)
class Case:
    """One call of one method.

    Attributes:
        name: For messages.
        method: ``forward``, ``detect``, ``explain`` or ``segment``.
        inputs: Its arguments.
        dtype: Of the weights.
        device: Where it runs.
    """

    name: str
    method: str
    inputs: tuple[Tensor, ...]
    dtype: str = "float32"
    device: str = "cpu"


def proof_cases(architecture: Architecture, conventions: Conventions) -> list[Case]:
    """All cases, the same ones each time.

    Args:
        architecture: Gives the shapes of the maps that ``segment`` takes.
        conventions: Give the range of values that the network was trained on.
    """
    generator = torch.Generator().manual_seed(2017)
    cases = [_scene_case(*canvas, conventions.preprocessing, generator) for canvas in CANVASES]
    blank = torch.zeros(2, 3, 128, 96)
    cases.append(Case("blank pictures", "forward", (blank, torch.tensor([[128, 96], [100, 90]]))))
    cases.append(Case("pictures of one pixel", "forward", (torch.zeros(2, 3, 32, 32), torch.ones(2, 2).long())))
    cases.append(Case("detect", "detect", cases[1].inputs))
    cases.append(Case("explain", "explain", cases[1].inputs))
    cases.append(_segment_case("masks of no box", 0, 0, architecture, conventions, generator))
    cases.append(_segment_case("masks of boxes and padding", 7, 3, architecture, conventions, generator))
    return cases


def _scene_case(batch: int, height: int, width: int, rules: Preprocessing, generator: torch.Generator) -> Case:
    """Scenes of various sizes on one canvas, padded with zeros right and below."""
    images = torch.zeros(batch, 3, height, width)
    sizes = torch.tensor([(height - 3 * index, width - 2 * index) for index in range(batch)])
    mean, std = (torch.tensor(values)[:, None, None] for values in (rules.mean, rules.std))
    for image, (rows, columns) in zip(images, sizes.tolist(), strict=True):
        image[:, :rows, :columns] = (scene(rows, columns, generator) * (255 / rules.pixel_divisor) - mean) / std
    return Case(f"batch {batch} of {height}x{width}", "forward", (images, sizes))


def scene(height: int, width: int, generator: torch.Generator) -> Tensor:
    """Discs and squares on a gradient, (3, height, width) in [0, 1]: something that may be detected."""
    rows, columns = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)
    picture = (0.3 + 0.3 * rows + 0.2 * columns).repeat(3, 1, 1)
    picture += 0.02 * torch.randn(3, height, width, generator=generator)
    for index in range(6):
        x, y, radius, red, green, blue = torch.rand(6, generator=generator).tolist()
        across, down = (columns - x).abs() * width, (rows - y).abs() * height
        reach = (0.06 + 0.14 * radius) * max(height, width)
        inside = torch.maximum(across, down) < reach if index % 2 else across**2 + down**2 < reach**2
        picture = torch.where(inside, torch.tensor([red, green, blue])[:, None, None], picture)
    return picture.clamp(0, 1)


def _segment_case(
    name: str, boxes: int, padding: int, a: Architecture, conventions: Conventions, generator: torch.Generator
) -> Case:
    """Boxes on two pictures, as a caller that knows what it wants would give them."""
    corners = 100 * torch.rand(boxes + padding, 2, generator=generator)
    sides = 1 + 100 * torch.rand(boxes + padding, 2, generator=generator)
    labels = torch.randint(a.classes - 1, (boxes + padding,), generator=generator)  # of every framework
    counts = torch.tensor([boxes // 2, boxes - boxes // 2])
    levels = [
        torch.randn(2, a.map_channels, -(-192 // stride), -(-224 // stride), generator=generator)
        for stride in a.strides(conventions.body.last_dilation)[: a.pooled_levels]
    ]
    return Case(name, "segment", (torch.cat([corners, corners + sides], dim=1), labels, counts, *levels))
