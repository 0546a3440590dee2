import argparse
import hashlib
import io
import os
import pickle
import re
import struct
import tarfile
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export.checkpoint import load_checkpoint
from export.errors import ExportError
from tests.export import python2

WEIGHT = torch.arange(6.0).reshape(2, 3)
ARRAY = WEIGHT.numpy()
LAYOUTS: dict[str, dict[str, Any]] = {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False}}


def saved(content: Any, folder: Path, layout: str = "zip") -> Path:
    path = folder / "weights.pth"
    torch.save(content, path, **LAYOUTS[layout])
    return path


def pickled(content: Any, folder: Path, protocol: int = 4) -> Path:
    return written(pickle.dumps(content, protocol), folder)


def written(content: bytes, folder: Path) -> Path:
    path = folder / "weights.pkl"
    path.write_bytes(content)
    return path


def trained() -> dict[str, Any]:
    """What maskrcnn-benchmark saves while it trains; Detectron2 adds NumPy's numbers."""
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(WEIGHT).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4])
    state = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(), "iteration": 7}
    return {"model": OrderedDict({"a.weight": WEIGHT}), **state}


NUMPY_NUMBERS = {"best_metric": np.float64(38.6), "seen": np.int64(3), "curve": np.arange(3.0), "flag": np.bool_(True)}


def test_a_changed_value_is_noticed(tmp_path: Path) -> None:
    path = saved({"a.weight": torch.full((100,), 7.0)}, tmp_path, "zip")
    content = bytearray(path.read_bytes())
    content[content.index(struct.pack("<f", 7.0) * 10)] ^= 1
    path.write_bytes(content)
    with pytest.raises(ExportError, match=r"the checksum of .*/data/0 is wrong"):
        load_checkpoint(path)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("content", "nested_under"),
    [
        ({"a.weight": WEIGHT}, None),
        ({"model": {"a.weight": WEIGHT}, "epoch": 3, "optimizer": {"state": {}}}, "model"),
        ({"state_dict": {"a.weight": WEIGHT}}, "state_dict"),
        ({"model_state": {"a.weight": WEIGHT}, "epoch": 1}, "model_state"),
        ({"epoch": 1, "model_state_dict": {"a.weight": WEIGHT}, "loss": WEIGHT}, "model_state_dict"),
        ({"model": {"a.weight": WEIGHT}, "args": argparse.Namespace(lr=0.02)}, "model"),
        ({"module.a.weight": WEIGHT}, None),
        ({"model": {"module.a.weight": WEIGHT}}, "model"),
        ({"model": {"model": {"a.weight": WEIGHT}, "epoch": 3}}, "model.model"),
        ({"n_averaged": torch.tensor(9), "module.a.weight": WEIGHT}, None),
        ({"_orig_mod.a.weight": WEIGHT}, None),
        ({"module._orig_mod.a.weight": WEIGHT}, None),
        ({"_orig_mod.module.a.weight": WEIGHT}, None),
        (trained(), "model"),
        (trained() | {"trainer": NUMPY_NUMBERS}, "model"),
        ({"model": {"a.weight": ARRAY}}, "model"),
        ({"model": {"a.weight": torch.nn.Parameter(WEIGHT)}}, "model"),
        ({"a.weight": torch.stack([WEIGHT, WEIGHT], dim=2)[:, :, 1]}, None),
        ({"model": {"a.weight": WEIGHT}, "odd": [{1}, Counter([2]), torch.Size([3]), torch.device("cpu")]}, "model"),
    ],
    ids=[
        "bare",
        "nested",
        "nested as state_dict",
        "nested as pycls does",
        "nested as tutorials do",
        "with options",
        "parallel",
        "nested and parallel",
        "nested twice",
        "averaged",
        "compiled",
        "compiled, then parallel",
        "parallel, then compiled",
        "in training",
        "with NumPy's numbers",
        "arrays as weights",
        "parameter",
        "view",
        "with odd things beside",
    ],
)
def test_finds_the_weights(content: dict[str, Any], nested_under: str | None, layout: str, tmp_path: Path) -> None:
    path = saved(content, tmp_path, layout)
    checkpoint = load_checkpoint(path)
    assert list(checkpoint.tensors) == ["a.weight"]
    assert torch.equal(checkpoint.tensors["a.weight"], WEIGHT)
    assert not checkpoint.tensors["a.weight"].requires_grad
    assert checkpoint.nested_under == nested_under
    assert checkpoint.file_name == "weights.pth"
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert checkpoint.container == "torch"
    assert checkpoint.config is None


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reads_a_whole_state_dict(layout: str, tmp_path: Path) -> None:
    expected = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).state_dict()
    tensors = load_checkpoint(saved(expected, tmp_path, layout)).tensors
    assert list(tensors) == list(expected)
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


def test_the_weights_can_be_written_to(tmp_path: Path) -> None:
    load_checkpoint(pickled({"a": ARRAY}, tmp_path)).tensors["a"].add_(1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_keeps_the_dtype_of_a_torch_file(dtype: torch.dtype, layout: str, tmp_path: Path) -> None:
    expected = WEIGHT.to(dtype)
    tensor = load_checkpoint(saved({"a": expected}, tmp_path, layout)).tensors["a"]
    assert tensor.dtype == dtype
    assert torch.equal(tensor, expected)


def test_keeps_8_bit_floats(tmp_path: Path) -> None:
    expected = WEIGHT.to(torch.float8_e4m3fn)
    tensor = load_checkpoint(saved({"a": expected}, tmp_path)).tensors["a"]
    assert torch.equal(tensor.view(torch.uint8), expected.view(torch.uint8))


ARRAYS = {
    "float32": ARRAY,
    "float16": ARRAY.astype("f2"),
    "float64": ARRAY.astype("f8"),
    "int64": ARRAY.astype("i8"),
    "uint8": ARRAY.astype("u1"),
    "bool": ARRAY > 2,
    "big-endian": ARRAY.astype(">f4"),
    "Fortran order": np.asfortranarray(ARRAY),
    "every second": np.arange(24, dtype="f4").reshape(4, 6)[::2, ::2],
    "axes exchanged": np.ascontiguousarray(np.arange(24, dtype="f4").reshape(2, 3, 4)).transpose(1, 0, 2),
    "10 dimensions": np.ones((1, 2) * 5, "f4"),
    "0 dimensions": np.array(3.0, "f4"),
    "scalar": np.float32(3.0),
    "integer scalar": np.int64(3),
    "no values": np.zeros((0, 4), "f4"),
    "NaN": np.array([np.nan, np.inf], "f4"),
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_reads_every_array_of_a_pickle(array: Any, protocol: int, tmp_path: Path) -> None:
    tensor = load_checkpoint(pickled({"a": array}, tmp_path, protocol)).tensors["a"]
    assert str(tensor.dtype) == f"torch.{array.dtype.name}"
    np.testing.assert_array_equal(tensor.numpy(), array)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.filterwarnings("ignore:numpy.core.* is deprecated:DeprecationWarning")
@pytest.mark.parametrize("home", ["numpy.core", "numpy._core"])
def test_reads_pickles_of_either_numpy(
    home: str, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NumPy 1 wrote numpy.core, NumPy 2 writes numpy._core."""
    find = pickle.whichmodule  # type: ignore[attr-defined]
    monkeypatch.setattr(pickle, "whichmodule", lambda thing, name: re.sub(r"numpy\._?core", home, find(thing, name)))
    content = pickle._dumps({"a": ARRAY, "b": np.float32(2)}, protocol)  # type: ignore[attr-defined]
    assert home.encode() in content
    tensors = load_checkpoint(written(content, tmp_path)).tensors
    assert torch.equal(tensors["a"], WEIGHT)
    assert tensors["b"] == 2


@pytest.mark.parametrize("protocol", range(6))
def test_reads_a_pickle_of_detectron2(protocol: int, tmp_path: Path) -> None:
    content = {"model": {"a.weight": ARRAY}, "__author__": "Caffe2", "matching_heuristics": True}
    checkpoint = load_checkpoint(pickled(content, tmp_path, protocol))
    assert list(checkpoint.tensors) == ["a.weight"]
    assert (checkpoint.nested_under, checkpoint.container, checkpoint.config) == ("model", "pickle", None)


CAFFE2 = {"conv1_w": ARRAY, "conv1_w_momentum": ARRAY, "__preserve__/pred_w": ARRAY}
BOOKKEEPING = {"lr": 0.02, "iter": 7, "note": "trained", "nothing": None}


@pytest.mark.parametrize(
    "content",
    [
        python2.pickled({"blobs": CAFFE2, "cfg": "MODEL:\n  TYPE: é\n"}, 0),
        python2.pickled({"blobs": CAFFE2, "cfg": "MODEL:\n  TYPE: é\n"}, 2),
        pickle.dumps({"blobs": CAFFE2 | BOOKKEEPING, "cfg": "MODEL:\n  TYPE: é\n"}, 2),
        pickle.dumps({"blobs": OrderedDict(CAFFE2), "cfg": "MODEL:\n  TYPE: é\n"}, 4),
    ],
    ids=["Python 2, protocol 0", "Python 2, protocol 2", "with bookkeeping", "ordered"],
)
def test_reads_a_network_of_caffe2(content: bytes, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(written(content, tmp_path))
    assert list(checkpoint.tensors) == ["conv1_w"]
    assert torch.equal(checkpoint.tensors["conv1_w"], WEIGHT)
    assert (checkpoint.nested_under, checkpoint.container) == ("blobs", "pickle")
    assert checkpoint.config == "MODEL:\n  TYPE: é\n"


@pytest.mark.parametrize("protocol", [0, 2])
def test_reads_a_bare_body_of_caffe2(protocol: int, tmp_path: Path) -> None:
    long = np.arange(100, dtype="f4")  # more than a short string holds
    checkpoint = load_checkpoint(written(python2.pickled({"conv1_w": ARRAY, "long": long}, protocol), tmp_path))
    assert list(checkpoint.tensors) == ["conv1_w", "long"]
    assert np.array_equal(checkpoint.tensors["long"], long)
    assert (checkpoint.nested_under, checkpoint.config) == (None, None)


def test_keeps_a_prefix_that_only_some_names_have(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(saved({"module.a": WEIGHT, "b": WEIGHT}, tmp_path))
    assert set(checkpoint.tensors) == {"module.a", "b"}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            torch.nn.Linear(2, 2),
            r"holds a torch\.nn\.modules\.linear\.Linear, .* run code .*torch\.save\(model\.state_d",
        ),
        ({"model": {"a": WEIGHT}, "path": Path()}, "holds a pathlib.*, .* run code"),
        ([WEIGHT], "must hold a state dict, got list"),
        (WEIGHT, "must hold a state dict, got Tensor"),
        (ARRAY, "must hold a state dict, got ndarray"),
        ({"a": WEIGHT, "epoch": 3}, "'epoch', which must be a tensor, got int"),
        ({"a": WEIGHT, 3: WEIGHT}, "has 3 where the name of a tensor should be"),
        (
            {"a": {"b": WEIGHT}},
            r"'a', a dictionary of tensors; .*save\(checkpoint\['a'\].*looked for at the top",
        ),
        ({"a": {"b": 1}}, "'a', which must be a tensor, got dict; the weights are looked for at the top .* blobs"),
        ({}, "holds no weights"),
        ({"model": {}}, "holds no weights"),
        ({"a": WEIGHT.to_sparse()}, "holds a torch.sparse_coo tensor, and only dense ones"),
        ({"a": WEIGHT.to("meta")}, "holds a meta tensor, which has a shape but no values"),
        ({"a": torch.ones(1).expand(5)}, "5 values up to number 1 of a storage that holds 1: .*contiguous"),
        ({"a": np.array(["text"])}, "holds an array of dtype U4, whose values are no weights"),
    ],
)
def test_refuses_all_else(content: Any, message: str, layout: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message):
        load_checkpoint(saved(content, tmp_path, layout))


@pytest.mark.parametrize(
    ("layout", "message"), [("zip", "protocol 4, which"), ("legacy", "pickle protocol of its own")]
)
def test_refuses_other_protocols_of_torch(layout: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"a": WEIGHT}, path, pickle_protocol=4, **LAYOUTS[layout])
    with pytest.raises(ExportError, match=message):
        load_checkpoint(path)


def traced() -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(3, 2), WEIGHT), file)
    return file.getvalue()


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("weights.pth"))
    return file.getvalue()


OTHER_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is empty"),
    "text": (lambda: b"hello", "is a text file"),
    "yaml": (lambda: "conv: größer\n".encode() * 100, "is a text file"),
    "noise": (lambda: bytes(range(128, 256)), "is of no known kind"),
    "web page": (lambda: b"\n<!DOCTYPE html>\n<html><head>", "is an HTML page: the download failed"),
    "cloud error": (lambda: b"<?xml version='1.0'?><Error><Code>AccessDenied", "is an XML page: the download failed"),
    "git lfs": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "git lfs pull"),
    "gzip": (lambda: b"\x1f\x8b\x08" + bytes(20), "compressed with gzip: unpack"),
    "tar": (tarred, "is a tar archive: unpack it"),
    "safetensors": (lambda: b'\x1c\0\0\0\0\0\0\0{"__metadata__":{"x":"y"}}    ', "is a safetensors file, .*convert it"),
    "onnx": (lambda: b"\x08\x08\x12\x07pytorch\x1a\x05" + bytes(20), "is an ONNX model"),
    "keras": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(20), "is an HDF5 file"),
    "array": (lambda: b"\x93NUMPY\x01\x00", "is a single NumPy array"),
    "traced": (traced, r"is a traced or scripted module \(torch.jit.save\), not weights"),
    "mar": (lambda: zipped("model.pt", "MAR-INF/MANIFEST.json"), r"is a model archive \(.mar\)"),
    "zip of else": (lambda: zipped("photos/cat.jpg"), "is a zip without data.pkl"),
    "empty zip": (zipped, "is an empty zip"),
    "broken zip": (lambda: b"PK\x03\x04 no zip", "is cut off or damaged .*download it again"),
    "number": (lambda: pickle.dumps(3), "must hold a state dict, got int"),
    "newer pickle": (lambda: b"\x80\x06.", "is of no known kind"),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_says_what_is_no_checkpoint(name: str, tmp_path: Path) -> None:
    make, message = OTHER_FILES[name]
    with pytest.raises(ExportError, match=message):
        load_checkpoint(written(make(), tmp_path))


def test_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"nowhere\.pth does not exist"):
        load_checkpoint(tmp_path / "nowhere.pth")


def test_names_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="is not a file"):
        load_checkpoint(tmp_path)


def test_does_not_wait_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ExportError, match="is not a file"):
        load_checkpoint(tmp_path / "pipe")


def test_says_that_a_file_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved({"a": WEIGHT}, tmp_path)
    path.chmod(0)
    if os.geteuid() == 0:  # to whom nothing is forbidden: ask as somebody else, in a folder where anybody may be
        monkeypatch.chdir(tmp_path)
        os.seteuid(65534)
    try:
        with pytest.raises(ExportError, match=r"weights\.pth cannot be read: Permission denied"):
            load_checkpoint(Path("weights.pth") if os.geteuid() == 65534 else path)
    finally:
        os.seteuid(os.getuid())
