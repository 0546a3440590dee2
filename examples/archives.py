"""The worker of an archive without TorchServe, for any front end."""

import asyncio
import hashlib
import json
import logging
import os
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from handler.replies.reply import Reply
    from handler.requests.incoming import Incoming
    from handler.worker import Worker

logger = logging.getLogger(__name__)

TRY_AGAIN = "try again in a few seconds: the worker is replaced by a new one"


def unpacked(archive: str) -> Path:
    """The folder of an archive: a folder as it is, a ``.mar`` unpacked into the cache, once for all processes.

    Not into a folder that goes with the process: those that are killed would each leave one.

    Raises:
        OSError: There is none, or no room.
        zipfile.BadZipFile: It is damaged.
    """
    path = Path(archive)
    if path.is_dir():
        return path
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = Path(os.environ.get("MASKRCNN_CACHE") or "~/.cache/maskrcnn-serve").expanduser() / "unpacked" / digest
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # what is in it is run
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as holder:
            whole = Path(holder) / digest
            with zipfile.ZipFile(path) as contents:
                contents.extractall(whole)
            try:
                whole.rename(folder)
            except OSError:
                if not folder.exists():  # else another process was first
                    raise
    return folder


def worker_of(folder: Path, name: str, threads: int, batch: int, gpu_id: int | None = None) -> "Worker":
    """Load the model of an unpacked archive, with the handler and the ops that came in it.

    Args:
        folder: The unpacked archive.
        name: Of the model, in its replies.
        threads: Of this worker, instead of what the archive's ``model-config.yaml`` says.
        batch: Most requests of a batch, likewise.
        gpu_id: None: the CPU.
    """
    sys.path.insert(0, str(folder))
    from handler.worker import Worker

    config = (yaml.safe_load((folder / "model-config.yaml").read_text()) or {}) | {"batchSize": batch}
    config["detection"] = (config.get("detection") or {}) | {"threads": threads}
    manifest = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_text())["model"]
    return Worker.load(folder, config, name, manifest.get("modelVersion", ""), gpu_id)


def answer(worker: "Worker", requests: "Sequence[Incoming]") -> "tuple[list[Reply], bool]":
    """One reply a request, and whether the device is broken for good: then this process should end.

    Args:
        worker: Answers; what it raises is more than a request that fails.
        requests: One batch.
    """
    from handler.errors import RequestError, internal_error
    from handler.failures import breaks_the_device
    from handler.metrics import ignore
    from handler.replies.errors import error_reply

    try:
        return worker.answer(requests, ignore), False
    except Exception as error:
        logger.exception("a batch failed")
        broken = breaks_the_device(error)
        failed = RequestError("device_failed", "the device failed while this batch was computed", TRY_AGAIN, 503)
        return [error_reply(failed if broken else internal_error(type(error).__name__))] * len(requests), broken


class WorkerThread:
    """A worker in a thread of its own, so that its process goes on receiving while it computes.

    One thread, the one that loaded it: PyTorch starts a pool of threads for each thread that calls it.

    Attributes:
        model: Name under which it answers.
        version: Of the archive.
    """

    def __init__(self, archive: str, name: str, threads: int, batch: int, gpu_id: int | None = None) -> None:
        """Unpack and load; see ``worker_of``."""
        self._thread, self._broken = ThreadPoolExecutor(1), False
        self._worker = self._thread.submit(worker_of, unpacked(archive), name, threads, batch, gpu_id).result()
        self.model, self.version = self._worker.model, self._worker.version

    async def answer(self, requests: "Sequence[Incoming]") -> "list[Reply]":
        """One reply a request, see ``answer``."""
        ran = asyncio.get_running_loop().run_in_executor(self._thread, answer, self._worker, requests)
        replies, broken = await ran
        self._broken = self._broken or broken
        return replies

    def check(self) -> None:
        """Whether it may go on.

        Raises:
            RuntimeError: The device is broken for good: only another process can use it.
        """
        if self._broken:
            raise RuntimeError("the device failed: this process must end")
