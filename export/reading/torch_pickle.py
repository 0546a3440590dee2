"""What stands in for PyTorch's functions while a checkpoint is checked, before ``torch.load`` may read it.

``torch.load(weights_only=True)`` runs no code of the file, but it makes whatever sizes the file asks for. Here every
storage and every tensor is first measured against the bytes that are really there.
"""

import argparse
import math
from dataclasses import dataclass
from typing import Any

import torch

from export.reading.byte_reader import UnreadableError, damaged, shown
from export.reading.numpy_pickle import NUMPY_NAMES
from export.reading.pickle_machine import Buildable, Names, StandIn, set_items

# Class of a storage to the bytes of one value.
STORAGES = {
    **dict.fromkeys(("torch.ByteStorage", "torch.CharStorage", "torch.BoolStorage", "torch.storage.UntypedStorage"), 1),
    **dict.fromkeys(("torch.HalfStorage", "torch.BFloat16Storage", "torch.ShortStorage"), 2),
    **dict.fromkeys(("torch.FloatStorage", "torch.IntStorage"), 4),
    **dict.fromkeys(("torch.DoubleStorage", "torch.LongStorage", "torch.ComplexFloatStorage"), 8),
    "torch.ComplexDoubleStorage": 16,
}
DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}


@dataclass(frozen=True)
class StorageRecord:
    """Values that tensors share.

    Attributes:
        key: Name of the storage in the file.
        item_size: Bytes of one value.
        count: Number of values.
    """

    key: str
    item_size: int
    count: int


class TensorRecord:
    """A dense tensor of the file, whose values are all there."""


class NamespaceRecord(Buildable):
    """The options of a training script, a bag of attributes: not needed."""

    def build(self, state: Any) -> None:
        """Take no notice of the attributes."""
        if type(state) is not dict or not all(isinstance(name, str) for name in state):
            raise damaged("the options beside the weights have no names")


class Storages:
    """Collects the storages that a checkpoint points at.

    Attributes:
        found: Key to what the checkpoint says of it.
    """

    def __init__(self) -> None:
        self.found: dict[str, StorageRecord] = {}

    def __call__(self, persistent_id: Any) -> StorageRecord:
        """Check one pointer: ("storage", its class, key, device, number of values)."""
        fields = persistent_id if type(persistent_id) is tuple else ()
        if len(fields) == 6 and fields[5] is None:  # the older layout may name a part of a storage; none does since 0.4
            fields = fields[:5]
        if len(fields) != 5 or fields[0] != "storage" or not isinstance(fields[1], StandIn):
            raise damaged("a tensor points at no storage")
        _, kind, key, device, count = fields
        if not isinstance(key, str) or not isinstance(device, str) or not _is_length(count):
            raise damaged("a tensor points at no storage")
        record = StorageRecord(key, _item_size(kind), count)
        if self.found.setdefault(key, record) != record:
            raise damaged(f"two descriptions of storage {shown(key)}")
        return record


def _item_size(kind: StandIn) -> int:
    if kind.name not in STORAGES:
        raise damaged(f"{kind.name} is no storage")
    return STORAGES[kind.name]


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 2**48


def _make_nothing(*_: Any) -> None:
    """A class or a dtype, which only stands as an argument."""
    raise damaged("it calls what is no function")


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, item_size: int | None = None) -> TensorRecord:
    if not isinstance(storage, StorageRecord) or type(size) is not tuple or type(stride) is not tuple:
        raise damaged("a tensor without storage, size or stride")
    if len(size) != len(stride) or not all(_is_length(number) for number in (offset, *size, *stride)):
        raise damaged("a tensor's size and stride do not fit each other")
    held = storage.count * storage.item_size // (item_size or storage.item_size)
    count = math.prod(size)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if count and (count > held or last >= held):
        raise UnreadableError(
            f"describes a tensor of {count} values up to number {last + 1} of a storage that holds {held}: damaged, or "
            "an expanded tensor; save it after .contiguous()"
        )
    return TensorRecord()


def _rebuild_tensor_v2(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, metadata: Any = None
) -> TensorRecord:
    _check_plain(requires_grad, hooks, metadata)
    return _rebuild_tensor(storage, offset, size, stride)


def _rebuild_tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, dtype: Any, metadata: Any = None
) -> TensorRecord:
    _check_plain(requires_grad, hooks, metadata)
    name = dtype.name.removeprefix("torch.") if isinstance(dtype, StandIn) else ""
    if name not in DTYPES:
        raise damaged("a tensor of an unknown dtype")
    return _rebuild_tensor(storage, offset, size, stride, DTYPES[name].itemsize)


def _rebuild_parameter(tensor: Any, requires_grad: Any, hooks: Any) -> TensorRecord:
    if not isinstance(tensor, TensorRecord):
        raise damaged("a parameter without a tensor")
    _check_plain(requires_grad, hooks, None)
    return tensor


def _check_plain(requires_grad: Any, hooks: Any, metadata: Any) -> None:
    if type(requires_grad) is not bool or hooks != {} or metadata not in (None, {}):
        raise UnreadableError("holds a tensor with hooks or marks of its own; save the tensors after .detach()")


def _rebuild_sparse(layout: Any, _parts: Any) -> TensorRecord:
    raise UnreadableError(f"holds a {shown(layout)} tensor, and only dense ones are read: save it after .to_dense()")


def _rebuild_meta(_dtype: Any, _size: Any, _stride: Any, _requires_grad: Any) -> TensorRecord:
    raise UnreadableError("holds a meta tensor, which has a shape but no values: load the model before you save it")


def _layout(name: Any) -> str:
    return shown(name)


def _size(lengths: Any) -> tuple[int, ...]:
    if type(lengths) not in (tuple, list) or not all(_is_length(length) for length in lengths):
        raise damaged("a torch.Size that is no size")
    return tuple(lengths)


def _device(kind: Any, index: Any = None) -> str:
    if type(kind) is not str or not (index is None or _is_length(index)):
        raise damaged("a torch.device that is none")
    return kind


def _counter(counts: Any) -> dict[Any, Any]:
    if type(counts) is not dict:
        raise damaged("a Counter without counts")
    return dict(counts)


def _set(items: Any) -> frozenset[Any]:
    if type(items) not in (tuple, list):
        raise damaged("a set of nothing")
    made: dict[Any, None] = {}
    set_items(made, list(items), [None] * len(items))
    return frozenset(made)


TORCH_NAMES: Names = {
    **NUMPY_NAMES,
    **{("torch", name): _make_nothing for name in DTYPES},
    **{(name.rpartition(".")[0], name.rpartition(".")[2]): _make_nothing for name in STORAGES},
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_sparse_tensor"): _rebuild_sparse,
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _rebuild_meta,
    ("torch.serialization", "_get_layout"): _layout,
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
    ("collections", "Counter"): _counter,
    ("builtins", "set"): _set,
    ("__builtin__", "set"): _set,
    (argparse.Namespace.__module__, argparse.Namespace.__qualname__): NamespaceRecord,
}
