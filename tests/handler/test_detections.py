"""What leaves the detector."""

from dataclasses import replace

import pytest
import torch

from handler.detections import unpack_masks
from tests.handler.found import made_up


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match=r"must have one length, got \[1, 2\]"):
        replace(made_up(4, 4, count=2), labels=torch.tensor([1]))


@pytest.mark.parametrize("texts", [[], ["04"], ["abc", "", "de"], [""]])
def test_masks_are_cut_at_the_offsets(texts: list[str]) -> None:
    counts = torch.tensor(list("".join(texts).encode()), dtype=torch.uint8)
    offsets = torch.tensor([0] + [len(text) for text in texts]).cumsum(0)
    assert unpack_masks(counts, offsets) == texts
