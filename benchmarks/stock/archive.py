"""Packs the demo's checkpoint as TorchServe's example does: an eager model, its state dict, the built-in handler."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from benchmarks.running import ROOT
from demo.scenes import CLASSES

# What the stock handler imports in the worker, and what packs the archive.
NEEDED = ("torchvision", "captum", "ts", "model_archiver")
_ARCHIVER = "from model_archiver.model_packaging import generate_model_archive as run; run()"


def missing() -> list[str]:
    """Packages that the recipe needs and that are not there."""
    return [name for name in NEEDED if find_spec(name) is None]


def pack(store: Path, name: str, batch_size: int, max_batch_delay: int, workers: int) -> Path:
    """Make ``store/name.mar``.

    Args:
        store: An existing folder.
        name: Of the model.
        batch_size: TorchServe's default is 1.
        max_batch_delay: Milliseconds.
        workers: Processes.
    """
    work = store / f"{name}-files"
    work.mkdir()
    labels = {str(number): label for number, label in enumerate(CLASSES)}
    (work / "index_to_name.json").write_text(json.dumps(labels))
    options = {"batchSize": batch_size, "maxBatchDelay": max_batch_delay, "minWorkers": workers, "maxWorkers": workers}
    (work / "model-config.yaml").write_text("".join(f"{key}: {value}\n" for key, value in options.items()))
    command: list[str | Path] = [
        sys.executable,
        "-c",
        _ARCHIVER,
        "--model-name",
        name,
        "--version",
        "1.0",
        "--export-path",
        store,
    ]
    command += ["--model-file", ROOT / "benchmarks/stock/shapes_model.py", "--handler", "object_detector"]
    command += ["--serialized-file", ROOT / "demo/shapes.pth", "--extra-files", work / "index_to_name.json"]
    command += ["--config-file", work / "model-config.yaml"]
    # The archiver empties a folder of the model's name in the temporary folder first: it gets one of its own.
    subprocess.run(command, check=True, env=os.environ | {"TMPDIR": str(work)})
    return store / f"{name}.mar"
