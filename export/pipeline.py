"""One export, stage by stage: checkpoint, model, trace, proof, archive."""

import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

from export import archive, trace
from export.architecture import Architecture
from export.checkpoint import Checkpoint, load_checkpoint
from export.class_names import fitting_class_names
from export.conventions import Conventions
from export.model import MaskRCNN
from export.proof_cases import proof_cases
from export.serving import Serving
from export.verify import Proof, verify
from export.weights import import_torchvision
from handler.model_card import ModelCard

VERSION = "1.0"
# Packages whose version may change what comes out.
_RECORDED = ("torch", "torch-model-archiver", "torchserve")


@dataclass(frozen=True)
class Export:
    """One export, as asked for.

    Attributes:
        checkpoint: The file with the weights.
        name: Name of the model.
        conventions: What the checkpoint cannot say.
        serving: What goes into ``model-config.yaml``.
        store: Folder of the ``.mar``.
    """

    checkpoint: Path
    name: str
    conventions: Conventions
    serving: Serving
    store: Path


def run(asked: Export) -> tuple[Path, Proof]:
    """Turn a checkpoint into a ``.mar``; nothing is written unless the proof holds.

    Returns:
        The ``.mar``, and what was proved.

    Raises:
        ExportError: Something of the user's does not fit, or the trace does not hold.
    """
    archive.check_name(asked.name)
    with step(f"read {asked.checkpoint}"):
        checkpoint = load_checkpoint(asked.checkpoint)
        weights, architecture = import_torchvision(checkpoint.tensors)
        names = fitting_class_names(asked.conventions.class_names, architecture.classes)
    with step(f"build the model: {summary(architecture)}"):
        model = MaskRCNN(weights, architecture, asked.conventions)
    with TemporaryDirectory(prefix="export-") as scratch:
        traced, staged = Path(scratch, archive.TRACE), Path(scratch, "archive")
        staged.mkdir()
        with step("trace it"):
            trace.save(trace.trace(model), traced)
        with step("prove the trace in a fresh process: other sizes, batches 1-8, blank pictures, other dtypes"):
            proof = verify(model, traced, proof_cases(asked.conventions.preprocessing, architecture))
        with step(f"pack {asked.store / asked.name}.mar"):
            card = model_card(checkpoint, architecture, asked.conventions, names, proof)
            archive.stage(staged, traced, card, asked.serving.to_yaml())
            return archive.archive(staged, asked.name, VERSION, asked.store), proof


def model_card(
    checkpoint: Checkpoint, architecture: Architecture, conventions: Conventions, names: tuple[str, ...], proof: Proof
) -> ModelCard:
    """Everything that the archive says about itself."""
    return ModelCard(
        class_names=names,
        preprocessing=conventions.preprocessing,
        postprocessing=conventions.postprocessing(),
        source={"file": checkpoint.file_name, "sha256": checkpoint.sha256, "format": "torchvision"},
        architecture=asdict(architecture),
        conventions={
            section: values
            for section, values in asdict(conventions).items()
            if section not in ("preprocessing", "answers", "class_names")  # these have their own place in the card
        },
        versions=versions(),
        proof=proof.as_card(),
    )


def versions() -> dict[str, str]:
    """Versions of what made the archive; a package that is not installed is left out."""
    found = {"python": platform.python_version()}
    for package in _RECORDED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def summary(a: Architecture) -> str:
    """One line on an architecture."""
    layers = sum(a.depths) * (3 if a.block == "bottleneck" else 2) + 2
    return f"ResNet-{layers} ({a.block} blocks {list(a.depths)}), FPN {a.fpn_channels}, {a.classes} classes"


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print what is being done, and how long it took."""
    print(f"{what} ...", end=" ", file=sys.stderr, flush=True)
    start = time.perf_counter()
    try:
        yield
    except BaseException:
        print("failed", file=sys.stderr)
        raise
    print(f"{time.perf_counter() - start:.1f} s", file=sys.stderr)
