"""Numbers and texts as they stand in a reply."""

import math

import pytest
import torch

from handler.replies.json_text import rounded, to_json

TIES = [0.0625, 0.1875, -0.0625, 2.5e-05, 1.0005, 8191.9995, 65499.9995, 0.0005, 0.0015]
ODD = [0.0, -0.0, -0.0001, 1e-9, 1e-45, 65500.0, 1e9, 0.1, 0.999999, 0.9999995]


@pytest.mark.parametrize("decimals", [3, 6])
def test_rounds_as_python_does(decimals: int) -> None:
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(20_000, generator=generator)
    halves = torch.arange(-2000, 2000) / 16  # every fourth is a tie at three decimals
    values = torch.cat([uniform, uniform * 70_000 - 100, uniform**8, halves, torch.tensor(TIES + ODD)])
    expected = [round(value, decimals) for value in values.tolist()]
    assert list(map(repr, rounded(values, decimals))) == list(map(repr, expected))  # repr: -0.0 is not 0.0


def test_keeps_the_shape_also_of_nothing() -> None:
    assert rounded(torch.tensor([[1.23456, 2], [3, 4]]), 3) == [[1.235, 2.0], [3.0, 4.0]]
    assert rounded(torch.empty(0, 4), 3) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_loud(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"score": rounded(torch.tensor([value]), 6)})


def test_is_compact() -> None:
    assert to_json({"a": [1, 2.5], "é": None}) == b'{"a":[1,2.5],"\\u00e9":null}'
