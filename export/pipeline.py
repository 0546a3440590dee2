"""One export, stage by stage: checkpoint, model, trace or package, proof, archive."""

import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from torch import Tensor

from export import archive, trace
from export.checkpoint import Checkpoint, load_checkpoint
from export.choices import Choices, Decision, decide
from export.compile import CompiledDevice, Runtime, Target, check_target, compile_model
from export.errors import ExportError
from export.failures import full_disk_named, refusals_of_pytorch
from export.limits import check_limits
from export.model import MaskRCNN
from export.network.description import summary
from export.network.recognise import without_wrapper
from export.network.weights import Imported, import_weights
from export.prove import Framework, Source, SourceProof, prove, source_framework
from export.prove.pictures import pictures
from export.serving import Serving
from export.verification.proof_cases import Case, proof_cases
from export.verification.verify import Proof, verify
from export.verification.verify_package import verify_package
from handler.compiled import PACKAGE_FILE
from handler.loading import MODEL_FILE
from handler.model_card import FILE_NAME, Compiled, ModelCard

FIRST_VERSION = "1.0"
# Packages whose version may change what comes out.
_RECORDED = ("torch", "torch-model-archiver", "torchserve")


@dataclass(frozen=True)
class Export:
    """One export, as asked for.

    Attributes:
        checkpoint: The file with the weights.
        name: Name of the model.
        choices: What the user says of it.
        serving: What goes into ``model-config.yaml``.
        store: Folder of the ``.mar``.
        prove: Pictures for a proof against the framework itself; none: scenes are drawn; None: no such proof.
        version: Of the model; None: the first.
        runtime: What runs the model: TorchScript (``trace``) or AOTInductor (``aoti``).
    """

    checkpoint: Path
    name: str
    choices: Choices
    serving: Serving
    store: Path
    prove: tuple[Path, ...] | None = None
    version: str | None = None
    runtime: Runtime = "trace"

    @property
    def compiled_for(self) -> CompiledDevice:
        """The device of a package: unlike a trace it runs on one kind only."""
        return "cuda" if self.serving.device == "gpu" else "cpu"

    @property
    def file_name(self) -> str:
        """Of the ``.mar``; a version that is named lies beside the others, in the same store."""
        return f"{self.name}.mar" if self.version is None else f"{self.name}-{self.version}.mar"


def run(asked: Export) -> tuple[Path, Proof]:
    """Turn a checkpoint into a ``.mar``; nothing is written unless the proof holds.

    Returns:
        The ``.mar``, and what was proved.

    Raises:
        ExportError: Something of the user's does not fit, or the trace does not hold.
    """
    archive.check_name(asked.name)
    number = archive.check_version(FIRST_VERSION if asked.version is None else asked.version)
    archive.check_store(asked.store)
    if asked.runtime == "aoti":
        check_runtime(asked)
    with step(f"read {asked.checkpoint}"):
        checkpoint = load_checkpoint(asked.checkpoint)
        imported = import_weights(checkpoint.tensors, asked.choices.format)
        decision = decide(asked.choices, imported)
        check_limits(decision.conventions, decision.origin)
    bare = replace(checkpoint, tensors=without_wrapper(checkpoint.tensors))  # as the framework itself would name them
    source = proof_of_source(asked, Source(bare, imported, asked.choices, decision))
    building = step(f"build the model: {summary(imported.architecture)}; conventions: {decision.origin}")
    with building, refusals_of_pytorch("building the model"):
        model = MaskRCNN(imported.weights, imported.architecture, decision.conventions)
    with _scratch() as scratch:
        staged = scratch / "archive"
        staged.mkdir()
        cases = proof_cases(imported.architecture, decision.conventions)
        saved, proof, compiled = (
            traced(model, scratch, cases)
            if asked.runtime == "trace"
            else packaged(model, scratch, cases, asked, decision.conventions.preprocessing.size_divisor)
        )
        card = replace(model_card(checkpoint, imported, decision, proof), compiled=compiled)
        if source:
            proof = replace(proof, source_framework=prove_source(*source, card, scratch))
            card = replace(card, proof=proof.as_card())
        with step(f"pack {asked.store / asked.file_name}"):
            archive.stage(staged, saved, card, asked.serving.to_yaml())
            return archive.archive(staged, asked.name, number, asked.store, asked.file_name), proof


def check_runtime(asked: Export) -> None:
    """Refuse a package that cannot be made here, or not be proved as asked, before the minutes of an export.

    Raises:
        ExportError: See above.
    """
    check_target(asked.compiled_for)
    if asked.prove is not None and (asked.compiled_for, asked.serving.dtype) != ("cpu", "float32"):
        raise ExportError(
            "--prove compares on the CPU in float32, which this --runtime aoti is not compiled for: leave one of the "
            "options out"
        )


def traced(model: MaskRCNN, folder: Path, cases: Sequence[Case]) -> tuple[Path, Proof, None]:
    """Trace a model and prove the trace; the file, what was proved, and that it is tied to no machine."""
    path = folder / MODEL_FILE
    with step("trace it"):
        with refusals_of_pytorch("tracing the model"):
            module = trace.trace(model)
        trace.save(module, path)
    with step("prove the trace in a fresh process: other sizes, batches 1-8, blank pictures, other dtypes"):
        return path, verify(model, path, cases), None


def packaged(
    model: MaskRCNN, folder: Path, cases: Sequence[Case], asked: Export, side_divisor: int
) -> tuple[Path, Proof, Compiled]:
    """Compile a model and prove the package; the file, what was proved, and what the package is tied to."""
    path, target = folder / PACKAGE_FILE, Target(asked.serving.dtype, asked.compiled_for, side_divisor)
    with step(f"compile it for {target.device} in {target.dtype}, which takes a minute or more"):
        compiled = compile_model(model, target, path)
    with step("prove the package in a fresh process: other sizes, batches 1-8, blank pictures"):
        return path, verify_package(model, path, cases, compiled, side_divisor), compiled


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for what is made on the way."""
    remedy = "free some space (an export needs about four times its float32 weights) or name another folder with TMPDIR"
    with full_disk_named(Path(gettempdir()), remedy), TemporaryDirectory(prefix="export-") as folder:
        yield Path(folder)


def proof_of_source(asked: Export, source: Source) -> tuple[Framework, dict[str, Tensor]] | None:
    """The framework of the checkpoint and the pictures for it, where that is asked for: at once, not after minutes."""
    if asked.prove is None:
        return None
    with step(f"build {source.imported.format}'s own model, for the proof"):
        return source_framework(source), pictures(asked.prove, asked.serving.max_pixels)


def prove_source(framework: Framework, shown: dict[str, Tensor], card: ModelCard, folder: Path) -> SourceProof:
    """Serve pictures from the folder of the trace, and compare."""
    with step(f"prove it against {framework.name} {framework.version}: {len(shown)} pictures, as they are served"):
        (folder / FILE_NAME).write_text(card.to_json())
        return prove(framework, folder, shown)


def model_card(checkpoint: Checkpoint, imported: Imported, decision: Decision, proof: Proof) -> ModelCard:
    """Everything that the archive says about itself."""
    conventions = decision.conventions
    return ModelCard(
        class_names=decision.class_names,
        preprocessing=conventions.preprocessing,
        postprocessing=replace(conventions.postprocessing(), masks=imported.architecture.mask is not None),
        source={
            "file": checkpoint.file_name,
            "sha256": checkpoint.sha256,
            "format": imported.format,
            "conventions": [decision.origin, *decision.notes],
        },
        architecture=asdict(imported.architecture) | {"summary": summary(imported.architecture)},
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
