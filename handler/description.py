"""What a worker serves, for the reply to ``GET /models/NAME?customized=true``."""

import hashlib
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch

from handler.detector import Detector
from handler.device import torch_dtype
from handler.requests.options import OptionReader
from ops.library import CUDA_LIBRARY, LIBRARY


def describe_served(detector: Detector, options: OptionReader, model: str, version: str) -> dict[str, Any]:
    """The model card as it was exported, and beside it what this deployment makes of it.

    Args:
        detector: The model.
        options: Reads the options of its requests.
        model: Name under which it is served.
        version: Its version on the server.

    Returns:
        The fields of ``model_card.json`` (``class_names``, ``proof``, ``versions`` at export ...), and ``serving``:
        ``model``, ``version``, ``device``, ``dtype``, ``threads``, ``options`` (of each, what it takes, for people,
        and its default, null where none is set), ``limits`` and ``versions`` running now. All of it is JSON.
    """
    serving = {
        "model": model,
        "version": version,
        "device": _device(detector.device),
        "dtype": str(torch_dtype(detector.settings)).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "options": _options(options),
        "limits": _limits(detector),
        "versions": _versions(detector.device),
    }
    return asdict(detector.card) | {"serving": serving}


def _device(device: torch.device) -> dict[str, str]:
    named = {} if device.type == "cpu" else {"name": torch.cuda.get_device_name(device)}
    return {"type": device.type} | named


def _options(reader: OptionReader) -> dict[str, dict[str, Any]]:
    """Of each option what it takes and what holds where it is not given, as the reader itself says both."""
    read = reader.read({})
    defaults = {
        "score_threshold": read.selection.score_threshold,
        "max_detections": read.selection.max_detections,
        "classes": None,
        "masks": read.masks,
        "mask_threshold": read.selection.mask_threshold,
        "format": read.format,
        "image_id": read.image_id,
    }
    return {name: {"allowed": allowed, "default": defaults[name]} for name, allowed in reader.allowed.items()}


def _limits(detector: Detector) -> dict[str, int]:
    """Past these a request is refused, or its batch is cut; TorchServe lists ``batchSize`` itself."""
    settings = detector.settings
    return {
        "max_pixels": settings.max_pixels,
        "max_reply_bytes": settings.max_reply_bytes,
        "max_pass_size": settings.max_pass_size,
    }


def _versions(device: torch.device) -> dict[str, str]:
    """What runs. The ops have no number of their own, so the file that is loaded is named by its checksum."""
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "ops": _sha256(LIBRARY),
    }
    return versions if device.type == "cpu" else versions | {"ops_cuda": _sha256(CUDA_LIBRARY)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}"
