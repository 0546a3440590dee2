"""Checkpoints with keys deleted, doubled, renamed and reshaped at random: a message or a model, never a traceback."""

import re
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import torch
from torch import Tensor

from export.checkpoint import load_checkpoint
from export.choices import Choices, decide
from export.errors import ExportError
from export.model import MaskRCNN
from export.network.weights import import_weights
from tests.export.frameworks import NETWORKS, trained

Tensors = dict[str, Tensor]
# One of every kind of body, pyramid and head; the slow run takes all networks.
FEW = [
    ("torchvision", "v2"),
    ("torchvision", "mobilenet_v3_large"),
    ("maskrcnn-benchmark", "dcn_v2"),
    ("maskrcnn-benchmark", "faster_c4"),
    ("caffe2", "fpn"),
    ("caffe2", "c4"),
    ("detectron2", "cascade"),
    ("detectron2", "basic_blocks"),
]
NUMBERS = ("0", "1", "2", "3", "4", "5", "7", "12", "999999999", "1" + "0" * 15)
SHAPES = ((), (0,), (1,), (3,), (4, 4), (8, 8, 1, 1), (20, 16, 3, 3), (1,) * 10)


def renamed(name: str, random: Random) -> str:
    numbers = list(re.finditer(r"\d+", name))
    if numbers and random.random() < 0.5:
        number = random.choice(numbers)
        return name[: number.start()] + random.choice(NUMBERS) + name[number.end() :]
    return random.choice([f"{name}_x", name.rpartition(".")[0] or "x", name.replace("weight", "bias"), name[1:]])


def reshaped(tensor: Tensor, random: Random) -> Tensor:
    shape = list(tensor.shape) or [1]
    axis = random.randrange(len(shape))
    shape[axis] = random.choice([0, 1, 2, 3, 5, 20, shape[axis] + 1, 2 * shape[axis]])
    return random.choice([tensor.flatten(), tensor[None], torch.ones(shape), torch.ones(random.choice(SHAPES))])


def delete(tensors: Tensors, name: str, random: Random) -> None:
    del tensors[name]


def delete_like(tensors: Tensors, name: str, random: Random) -> None:
    """A whole layer, block or head."""
    start = name[: random.randrange(len(name) // 2, len(name) + 1)]
    for other in [other for other in tensors if other.startswith(start)]:
        del tensors[other]


def double(tensors: Tensors, name: str, random: Random) -> None:
    tensors[renamed(name, random)] = tensors[name]


def rename(tensors: Tensors, name: str, random: Random) -> None:
    tensors[renamed(name, random)] = tensors.pop(name)


def reshape(tensors: Tensors, name: str, random: Random) -> None:
    tensors[name] = reshaped(tensors[name], random)


def swap(tensors: Tensors, name: str, random: Random) -> None:
    tensors[name] = tensors[random.choice(list(tensors))]


CHANGES: tuple[Callable[[Tensors, str, Random], None], ...] = (delete, delete_like, double, rename, reshape, swap)


def ruined(tensors: Tensors, random: Random) -> Tensors:
    made = dict(tensors)
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        random.choice(CHANGES)(made, random.choice(list(made)), random)
        if not made:
            break
    return made


def check(framework: str, variant: str, folder: Path, times: int) -> int:
    """How many of the checkpoints got a message."""
    tensors, refused = load_checkpoint(trained(framework, variant).save(folder)).tensors, 0
    for seed in range(times):
        random = Random(f"{framework} {variant} {seed}")
        try:
            imported = import_weights(ruined(tensors, random), random.choice([None, framework]))
            MaskRCNN(imported.weights, imported.architecture, decide(Choices(), imported).conventions)
        except ExportError as error:
            refused += 1
            assert len(str(error)) > 30  # noqa: PT017
    return refused


@pytest.mark.parametrize(("framework", "variant"), FEW)
def test_a_ruined_checkpoint_is_refused_in_words(framework: str, variant: str, tmp_path: Path) -> None:
    assert check(framework, variant, tmp_path, 50) >= 40


@pytest.mark.slow
@pytest.mark.parametrize(("framework", "variant"), NETWORKS)
def test_a_ruined_checkpoint_of_any_kind_is_refused_in_words(framework: str, variant: str, tmp_path: Path) -> None:
    assert check(framework, variant, tmp_path, 100) >= 80
