"""COCO's strings, against pycocotools and against damage."""

import numpy as np
import pytest
from pycocotools import mask as coco

from handler.run_lengths import run_lengths, runs_inside


@pytest.mark.parametrize("seed", range(20))
def test_lengths_are_those_of_the_plane(seed: int) -> None:
    rng = np.random.default_rng(seed)
    plane = np.repeat(rng.random((rng.integers(1, 9), 11)) < 0.5, rng.integers(1, 3000), axis=0)
    counts = coco.encode(np.asfortranarray(plane, dtype=np.uint8))["counts"].decode()
    flat = plane.ravel(order="F").astype(int)
    changes = np.flatnonzero(np.diff(np.concatenate(([0], flat))))
    assert run_lengths(counts).tolist() == np.diff([0, *changes, flat.size]).tolist()
    begins, ends = runs_inside(counts)
    padded = np.diff(np.concatenate(([0], flat, [0])))
    assert begins.tolist() == np.flatnonzero(padded == 1).tolist()
    assert ends.tolist() == np.flatnonzero(padded == -1).tolist()


def test_none() -> None:
    assert run_lengths("").tolist() == []
    assert [each.tolist() for each in runs_inside("")] == [[], []]


@pytest.mark.parametrize("counts", ["P", "1P", "PPPPPPPPP1"])
def test_damaged_strings_are_refused(counts: str) -> None:
    with pytest.raises(ValueError, match="mask: "):
        run_lengths(counts)


def test_runs_that_touch_are_one() -> None:
    assert [each.tolist() for each in runs_inside("12010")] == [[1], [6]]  # 1 outside, 2 inside, 0 outside, 3 inside
