"""Reads a checkpoint file into plain tensors, without running anything that the file brings along."""

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from torch import Tensor

from export.errors import ExportError
from export.reading import torch_file
from export.reading.byte_reader import ByteReader, UnreadableError, shown
from export.reading.file_kind import HEAD_BYTES, FileKind, recognise
from export.reading.numpy_pickle import NUMPY_NAMES, ArrayRecord, to_tensor
from export.reading.pickle_machine import PickleMachine, StandIn
from export.reading.torch_pickle import TensorRecord

Container = Literal["torch", "pickle"]

# Training scripts save the weights beside the optimiser's state; these are the names they use: Detectron2,
# maskrcnn-benchmark and torchvision "model", Lightning "state_dict", PyTorch's tutorials "model_state_dict", pycls
# "model_state", Caffe2 "blobs".
NESTED_UNDER = ("model", "state_dict", "model_state_dict", "model_state", "blobs")
# Where Caffe2's Detectron keeps its configuration, as yaml.
CONFIG_UNDER = "cfg"
# Caffe2 keeps the optimiser's state among the weights.
MOMENTUM_SUFFIX = "_momentum"
# And blobs that a run did not use: those of the network that it was fine-tuned from.
PRESERVED_PREFIX = "__preserve__/"
# What DataParallel and DistributedDataParallel, and torch.compile, put before every name; one inside the other.
WRAPPERS = ("module.", "_orig_mod.")
# The counter that torch.optim.swa_utils.AveragedModel keeps beside the weights that it averages.
AVERAGED = "n_averaged"
# A checkpoint may hold another: "model" in "model".
MOST_NESTED = 3
# What a pickle may hold beside its arrays, such as the name of its author.
BARE_VALUES = (str, bytes, int, float, type(None))
LOOKED_FOR = f"the weights are looked for at the top level and under {', '.join(NESTED_UNDER)}"


@dataclass(frozen=True)
class Checkpoint:
    """The weights of one checkpoint file, still under the names of the framework that wrote them.

    Attributes:
        tensors: Name to tensor, on the CPU, in the dtype of the file.
        file_name: Name of the file without its folder: a model card must not carry a path.
        sha256: Of the whole file, in hexadecimal.
        nested_under: Key under which the weights were found; None for a bare state dict.
        config: The yaml text that a Caffe2 file carries; None where there is none.
        container: Whether ``torch.save`` or ``pickle.dump`` wrote the file.
    """

    tensors: dict[str, Tensor]
    file_name: str
    sha256: str
    nested_under: str | None = None
    config: str | None = None
    container: Container = "torch"


def load_checkpoint(path: Path) -> Checkpoint:
    """Read the weights of a ``.pth``, ``.pt``, ``.pyth`` or ``.pkl`` file; its content says which it is.

    Args:
        path: A file that ``torch.save`` wrote, or a pickle of NumPy arrays as Caffe2 and Detectron2 write it: a
            dictionary of weights, bare or nested under one of ``NESTED_UNDER``.

    Returns:
        The tensors, less the prefix of each of ``WRAPPERS`` where every name has it, without the optimiser's state.

    Raises:
        ExportError: The file cannot be opened, is no checkpoint, holds more than tensors, or holds no weights.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # asked first: to open a pipe would wait for its other end
            raise ExportError(f"checkpoint {path} is not a file")
        with path.open("rb") as file:
            return _read(file, path)
    except FileNotFoundError as error:
        raise ExportError(f"checkpoint {path} does not exist") from error
    except OSError as error:
        raise ExportError(f"checkpoint {path} cannot be read: {error.strerror or error}") from error
    except UnreadableError as error:
        raise ExportError(f"checkpoint {path} {error}") from error


def _read(file: BufferedReader, path: Path) -> Checkpoint:
    size = os.fstat(file.fileno()).st_size
    kind = recognise(file.read(HEAD_BYTES), size)
    outline = OUTLINES[kind](file, size)
    weights, nested_under = _unwrap(outline)
    names = _names(weights, bare_values="drop" if kind == "pickle" else "refuse")
    # A pickle's outline holds its arrays; for what torch.save wrote it has only shown that they may be read.
    values = weights if kind == "pickle" else _unwrap(torch_file.load(file))[0]
    return Checkpoint(
        tensors=_unwrapped_names({name: _tensor(values.pop(name)) for name in names}),
        file_name=path.name,
        sha256=_sha256(file),
        nested_under=nested_under,
        config=_config(outline),
        container="pickle" if kind == "pickle" else "torch",
    )


def _outline_of_pickle(file: BinaryIO, size: int) -> Any:
    file.seek(0)
    outline = PickleMachine(ByteReader(file, size), NUMPY_NAMES).run()
    if outline == torch_file.LEGACY_MAGIC:
        raise UnreadableError("was saved by an old PyTorch with a pickle protocol of its own: save it again without")
    return outline


OUTLINES: dict[FileKind, Callable[[BinaryIO, int], Any]] = {
    "zip": torch_file.outline_of_zip,
    "legacy": torch_file.outline_of_legacy,
    "pickle": _outline_of_pickle,
}


def _unwrap(loaded: Any) -> tuple[dict[Any, Any], str | None]:
    if not isinstance(loaded, dict):
        raise UnreadableError(f"must hold a state dict, got {_kind(loaded)}")
    nested_under: list[str] = []
    while len(nested_under) < MOST_NESTED:
        key = next((key for key in NESTED_UNDER if isinstance(loaded.get(key), dict)), None)
        if key is None:
            break
        loaded = loaded[key]
        nested_under.append(key)
    return loaded, ".".join(nested_under) or None


def _names(weights: dict[Any, Any], bare_values: Literal["drop", "refuse"]) -> list[str]:
    """Names of the weights, after a look at what stands under each name."""
    kept = []
    for name, value in weights.items():
        if not isinstance(name, str):
            raise UnreadableError(f"has {shown(name)} where the name of a tensor should be; {LOOKED_FOR}")
        if bare_values == "drop" and (_is_optimiser_state(name) or isinstance(value, BARE_VALUES)):
            continue
        if isinstance(value, dict) and any(isinstance(inner, (TensorRecord, ArrayRecord)) for inner in value.values()):
            raise UnreadableError(
                f"holds {shown(name)!r}, a dictionary of tensors; if those are the weights, save them alone: "
                f"torch.save(checkpoint[{shown(name)!r}], 'weights.pth'); {LOOKED_FOR}"
            )
        if not isinstance(value, (TensorRecord, ArrayRecord)):
            raise UnreadableError(f"holds {shown(name)!r}, which must be a tensor, got {_kind(value)}; {LOOKED_FOR}")
        kept.append(name)
    if not kept:
        raise UnreadableError(f"holds no weights; {LOOKED_FOR}")
    return kept


def _is_optimiser_state(name: str) -> bool:
    return name.endswith(MOMENTUM_SUFFIX) or name.startswith(PRESERVED_PREFIX)


def _tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    return to_tensor(value.array if isinstance(value, ArrayRecord) else np.asarray(value))


def _unwrapped_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    others = [name for name in tensors if name != AVERAGED]
    if AVERAGED in tensors and all(name.startswith(WRAPPERS[0]) for name in others):
        tensors = {name: tensors[name] for name in others}
    for prefix in (*WRAPPERS, *WRAPPERS[:1]):  # what was compiled may have been parallel before, or become so
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _config(outline: dict[Any, Any]) -> str | None:
    config = outline.get(CONFIG_UNDER)
    return config if isinstance(config, str) else None


def _kind(value: Any) -> str:
    """What a value is, in the words of its writer."""
    return {TensorRecord: "Tensor", ArrayRecord: "ndarray", StandIn: "class"}.get(type(value), type(value).__name__)


def _sha256(file: BufferedReader) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()
