import argparse
import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from export.checkpoint import load_checkpoint
from export.errors import ExportError

WEIGHT = torch.arange(6.0).reshape(2, 3)


def saved(content: Any, folder: Path) -> Path:
    path = folder / "weights.pth"
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("content", "nested_under"),
    [
        ({"a.weight": WEIGHT}, None),
        ({"model": {"a.weight": WEIGHT}, "epoch": 3, "optimizer": {"state": {}}}, "model"),
        ({"state_dict": {"a.weight": WEIGHT}}, "state_dict"),
        ({"model": {"a.weight": WEIGHT}, "args": argparse.Namespace(lr=0.02)}, "model"),
        ({"module.a.weight": WEIGHT}, None),
        ({"model": {"module.a.weight": WEIGHT}}, "model"),
    ],
    ids=["bare", "nested", "nested as state_dict", "with options", "parallel", "nested and parallel"],
)
def test_finds_the_weights(content: dict[str, Any], nested_under: str | None, tmp_path: Path) -> None:
    path = saved(content, tmp_path)
    checkpoint = load_checkpoint(path)
    assert list(checkpoint.tensors) == ["a.weight"]
    assert torch.equal(checkpoint.tensors["a.weight"], WEIGHT)
    assert checkpoint.nested_under == nested_under
    assert checkpoint.file_name == "weights.pth"
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_keeps_a_prefix_that_only_some_names_have(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(saved({"module.a": WEIGHT, "b": WEIGHT}, tmp_path))
    assert set(checkpoint.tensors) == {"module.a", "b"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.nn.Linear(2, 2), "it holds a torch.nn.modules.linear.Linear"),
        ({"model": {"a": WEIGHT}, "path": Path()}, "it holds a pathlib"),
        ([WEIGHT], "must hold a state dict, got list"),
        ({"a": WEIGHT, "epoch": 3}, "'epoch' must be a tensor, got int"),
        ({}, "holds no weights"),
        ({"a": WEIGHT.to_sparse()}, "'a' must be a dense tensor with values, got a torch.sparse_coo one"),
        ({"a": WEIGHT.to("meta")}, "'a' must be a dense tensor with values, got a meta one"),
    ],
    ids=["whole module", "an object", "list", "number", "empty", "sparse", "meta"],
)
def test_refuses_all_else(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message):
        load_checkpoint(saved(content, tmp_path))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 no zip"], ids=["empty", "text", "broken zip"])
def test_refuses_what_is_no_torch_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(ExportError, match="not a file that torch.save wrote"):
        load_checkpoint(path)


def test_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"nowhere\.pth does not exist"):
        load_checkpoint(tmp_path / "nowhere.pth")


def test_names_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="is not a file"):
        load_checkpoint(tmp_path)
