"""Weights that are not those that were exported."""

from pathlib import Path

import pytest
import torch

from handler.intact import check_intact


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "model.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(64, 64), torch.zeros(1, 64)), path)
    return path


def test_what_pytorch_wrote_is_intact(trace: Path) -> None:
    check_intact(trace)


def test_one_bit_is_noticed_which_pytorch_loads_without_a_word(trace: Path) -> None:
    content = bytearray(trace.read_bytes())
    weights = torch.jit.load(trace).weight.detach().numpy().tobytes()
    content[content.index(weights) + 1000] ^= 1
    trace.write_bytes(content)
    torch.jit.load(trace)
    with pytest.raises(ValueError, match=r"model.pt is damaged: the checksum of .*data/"):
        check_intact(trace)


@pytest.mark.parametrize("kept", [0, 1, 100, 5000])
def test_a_cut_file_is_noticed(trace: Path, kept: int) -> None:
    trace.write_bytes(trace.read_bytes()[:kept])
    with pytest.raises(ValueError, match="damaged or cut off"):
        check_intact(trace)


def test_whatever_a_damaged_file_makes_the_reader_raise_is_told_as_damage(trace: Path) -> None:
    content, told = trace.read_bytes(), 0
    for place in range(0, len(content), 97):
        trace.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        try:
            check_intact(trace)  # padding may hold anything
        except ValueError as error:
            told += "damaged" in str(error) or pytest.fail(repr(error))
    assert told > 100
