"""How the demo checkpoint is made, where torchvision is installed (it is not part of the set-up)."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from demo import train
from demo.scenes import draw

CHECKPOINT = Path(__file__).parent.parent / "demo" / "shapes.pth"


def test_changes_keep_picture_and_truth_together() -> None:
    scene = draw(7)
    for seed in range(12):
        changed = train.change(scene, np.random.default_rng(seed))
        assert sorted(changed.masks.sum((1, 2))) == sorted(scene.masks.sum((1, 2)))
        assert changed.masks.shape[1:] == changed.image.shape[:2]
        image, truth = train.as_tensors(changed)
        assert image.shape[1:] == truth["masks"].shape[1:]
        assert float(image.min()) >= 0
        assert float(image.max()) <= 1
        for mask, box in zip(truth["masks"], truth["boxes"], strict=True):
            rows, columns = mask.nonzero().unbind(1)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_the_rate_rises_and_falls() -> None:
    arguments = argparse.Namespace(iterations=1000, rate=0.02)
    rates = [train.learning_rate(step, arguments) for step in range(1000)]
    assert max(rates) == pytest.approx(0.02)
    assert rates.index(max(rates)) in (49, 50)
    assert rates[0] < 1e-3
    assert 0 < rates[-1] < 1e-6 < rates[500]


def test_the_model_has_the_shapes_of_the_checkpoint() -> None:
    pytest.importorskip("torchvision")
    made = train.build_model().state_dict()
    kept = torch.load(CHECKPOINT)
    assert {name: value.shape for name, value in made.items()} == {name: value.shape for name, value in kept.items()}
