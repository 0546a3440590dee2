"""Packs a ``.mar``: the model, its card, the handler and the compiled ops, and nothing from elsewhere.

torch-model-archiver makes it; then times, modes and the order of the entries are set alike, so that the same input
gives the same bytes.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from export.errors import ExportError
from export.failures import full_disk_named
from handler.compiled import PACKAGE_FILE
from handler.loading import MODEL_FILE
from handler.model_card import FILE_NAME, ModelCard

REPOSITORY = Path(__file__).resolve().parent.parent
HANDLER = "maskrcnn_handler.py"
# What a worker imports. The sources of the ops and of the build stay at home.
PACKAGES = {"handler": ("**/*.py", "replies/*.html", "replies/*.json"), "ops": ("*.py", "lib/*.so")}

_MANIFEST = "MAR-INF/MANIFEST.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")  # file names may have 255
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,19}")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can say
_MODE = 0o100644


def check_name(name: str) -> str:
    """Refuse a model name that TorchServe or an URL would not take.

    Raises:
        ExportError: See above.
    """
    if not _NAME.fullmatch(name):
        raise ExportError(f"model name must be at most 200 letters, digits, '_', '-' and '.', got {name!r}")
    return name


def check_version(version: str) -> str:
    """Refuse a version that TorchServe or an URL would not take.

    Raises:
        ExportError: See above.
    """
    if not _VERSION.fullmatch(version):
        raise ExportError(f"--version must be at most 20 letters, digits, '_', '-' and '.', got {version!r}")
    return version


def check_store(store: Path) -> None:
    """Refuse a folder that could not be written; nothing is made in it yet.

    Args:
        store: Where the ``.mar`` will go; it need not be there.

    Raises:
        ExportError: It, or the folder in which it would be made, cannot be written.
    """
    try:
        nearest = next(folder for folder in (store, *store.absolute().parents) if folder.exists())
        with TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise ExportError(f"--out {store}: the folder cannot be made or written: {error.strerror}") from error


def stage(folder: Path, model: Path, card: ModelCard, config: str) -> None:
    """Lay out in a folder what an archive is made of.

    Args:
        folder: Exists and is empty.
        model: The saved trace or package, under the name that it has in an archive.
        card: Its model card.
        config: Text of ``model-config.yaml``.

    Raises:
        ExportError: The ops were not built.
    """
    shutil.copyfile(model, folder / model.name)
    shutil.copyfile(REPOSITORY / "handler" / HANDLER, folder / HANDLER)
    (folder / "model-config.yaml").write_text(config)
    # The archiver copies what a folder holds, not the folder: packages go one level deeper.
    packages = folder / "packages"
    packages.mkdir()
    (packages / FILE_NAME).write_text(card.to_json())
    for package, patterns in PACKAGES.items():
        for pattern in patterns:
            _copy_matching(REPOSITORY / package, pattern, packages / package)


def _copy_matching(source: Path, pattern: str, target: Path) -> None:
    files = sorted(source.glob(pattern))
    if not files:
        raise ExportError(f"nothing matches {source / pattern}; build the ops first: make ops")
    for file in files:
        copied = target / file.relative_to(source)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copied)


def archive(folder: Path, name: str, version: str, store: Path, file_name: str | None = None) -> Path:
    """Pack a staged folder.

    Args:
        folder: What ``stage`` laid out.
        name: Name of the model, in the URL.
        version: Version of the model.
        store: Where the ``.mar`` goes; made if it is not there. An older one of that name is replaced at once,
            and of two exports at a time the last one's stays, whole.
        file_name: Of the ``.mar``; None: the model's name with this ending.

    Returns:
        The path of the ``.mar``.

    Raises:
        ExportError: torch-model-archiver failed; the text is what it said. Or the disk is full.
    """
    target = store / (file_name or f"{check_name(name)}.mar")
    with TemporaryDirectory(prefix="archive-") as scratch:
        _run_archiver(folder, name, version, Path(scratch))
        with full_disk_named(store, f"{target} was not written; free some space or choose another folder with --out"):
            _put_in_place(Path(scratch, f"{name}.mar"), target)
    return target


def _put_in_place(made: Path, target: Path) -> None:
    """Write beside the target, under a name that is nobody else's: a rename cannot cross file systems."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.stem}.{secrets.token_hex(8)}.partial")
    try:
        normalise(made, partial)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _run_archiver(folder: Path, name: str, version: str, scratch: Path) -> None:
    command = [sys.executable, "-m", "model_archiver.model_packaging"]
    command += ["--model-name", name, "--version", version, "--export-path", str(scratch)]
    model = next(folder / file for file in (MODEL_FILE, PACKAGE_FILE) if (folder / file).is_file())
    command += ["--serialized-file", str(model), "--handler", str(folder / HANDLER)]
    command += ["--extra-files", str(folder / "packages"), "--config-file", str(folder / "model-config.yaml")]
    command += ["--archive-format", "zip-store"]  # weights do not compress: a second, not a minute
    work = scratch / "work"  # the archiver deletes $TMPDIR/<name> without asking: it gets a TMPDIR of its own
    work.mkdir()
    done = subprocess.run(command, env=os.environ | {"TMPDIR": str(work)}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ExportError(f"torch-model-archiver failed:\n{done.stderr[-3000:]}")


def normalise(source: Path, target: Path) -> None:
    """Copy a zip with its entries in order of name, without times, and all of them readable.

    Args:
        source: As torch-model-archiver wrote it.
        target: The same content, the same bytes each time.
    """
    with ZipFile(source) as old, ZipFile(target, "w", ZIP_STORED) as new:
        for name in sorted(info.filename for info in old.infolist() if not info.is_dir()):
            entry = ZipInfo(name, _EPOCH)
            entry.external_attr = _MODE << 16
            entry.create_system = 3  # Unix, whatever wrote it
            entry.file_size = old.getinfo(name).file_size
            with old.open(name) as read, new.open(entry, "w") as write:
                _copy_entry(name, read, write)


def _copy_entry(name: str, read: IO[bytes], write: IO[bytes]) -> None:
    if name != _MANIFEST:
        shutil.copyfileobj(read, write, 1 << 20)
        return
    manifest = json.load(read) | {"createdOn": "01/01/1980 00:00:00"}
    write.write(json.dumps(manifest, indent=2, sort_keys=True).encode())
