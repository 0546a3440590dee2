"""Reads a checkpoint file into plain tensors, without running anything that the file brings along."""

import argparse
import hashlib
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from export.errors import ExportError

# Training scripts save the weights beside the optimiser's state; these are the names they use.
NESTED_UNDER = ("model", "state_dict", "model_state")
# What torch.nn.DataParallel and DistributedDataParallel put before every name.
PARALLEL_PREFIX = "module."


@dataclass(frozen=True)
class Checkpoint:
    """The weights of one checkpoint file, still under the names of the framework that wrote them.

    Attributes:
        tensors: Name to tensor, on the CPU, in the dtype of the file.
        file_name: Name of the file without its folder: a model card must not carry a path.
        sha256: Of the whole file, in hexadecimal.
        nested_under: Key under which the weights were found; None for a bare state dict.
    """

    tensors: dict[str, Tensor]
    file_name: str
    sha256: str
    nested_under: str | None = None


def load_checkpoint(path: Path) -> Checkpoint:
    """Read the weights of a ``.pth`` or ``.pt`` file.

    Args:
        path: A file that ``torch.save`` wrote: a state dict, bare or nested under "model".

    Returns:
        The tensors, with one ``module.`` prefix removed where every name has it.

    Raises:
        ExportError: The file is missing, is no torch file, holds more than tensors, or holds no weights.
    """
    if not path.is_file():
        raise ExportError(f"checkpoint {path} {'is not a file' if path.exists() else 'does not exist'}")
    weights, nested_under = _unwrap(_read(path), path)
    tensors = _without_parallel_prefix(_only_tensors(weights, path))
    return Checkpoint(tensors, path.name, _sha256(path), nested_under)


def _read(path: Path) -> Any:
    try:
        # torchvision's training script saves its options beside the weights: a bag of attributes, harmless.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ExportError(
            f"checkpoint {path} cannot be read with torch.load(weights_only=True): {_reason(error)}\n"
            "Only plain tensors are read, because unpickling anything else runs code from the file. "
            "Where you trained, run: torch.save(model.state_dict(), 'weights.pth')"
        ) from error


def _reason(error: Exception) -> str:
    """Why, without PyTorch's advice to read the file unsafely."""
    if forbidden := re.search(r"GLOBAL (\S+)", str(error)):
        return f"it holds a {forbidden[1]}"
    return "it is not a file that torch.save wrote, or it is cut off"


def _unwrap(loaded: Any, path: Path) -> tuple[Mapping[str, Any], str | None]:
    if not isinstance(loaded, Mapping):
        raise ExportError(f"checkpoint {path} must hold a state dict, got {type(loaded).__name__}")
    for key in NESTED_UNDER:
        if isinstance(loaded.get(key), Mapping):
            return loaded[key], key
    return loaded, None


def _only_tensors(weights: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ExportError(
                f"checkpoint {path}: {name!r} must be a tensor, got {type(value).__name__}; "
                f"the weights are looked for at the top level and under {', '.join(NESTED_UNDER)}"
            )
        if value.layout != torch.strided or value.is_meta:
            form = "meta" if value.is_meta else value.layout
            raise ExportError(f"checkpoint {path}: {name!r} must be a dense tensor with values, got a {form} one")
    if not weights:
        raise ExportError(f"checkpoint {path} holds no weights")
    return dict(weights)


def _without_parallel_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    if not all(name.startswith(PARALLEL_PREFIX) for name in tensors):
        return tensors
    return {name.removeprefix(PARALLEL_PREFIX): tensor for name, tensor in tensors.items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
