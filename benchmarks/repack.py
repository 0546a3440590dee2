"""An archive with other options of its deployment: no new export, the model in it stays as it is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

CONFIG = "model-config.yaml"
Options = dict[str, Any]


@dataclass(frozen=True)
class Deployment:
    """What an operator chooses for one machine.

    Attributes:
        workers: Processes.
        threads: Of each; None: cores divided by workers, which the handler finds itself.
        batch_size: Most requests of a batch.
        max_batch_delay: Milliseconds that TorchServe waits for them.
    """

    workers: int = 1
    threads: int | None = None
    batch_size: int = 4
    max_batch_delay: int = 10

    def change(self, options: Options) -> Options:
        """The same options with these instead."""
        detection = options.get("detection", {}) | {"threads": self.threads or "auto"}
        return options | {
            "minWorkers": self.workers,
            "maxWorkers": self.workers,
            "batchSize": self.batch_size,
            "maxBatchDelay": self.max_batch_delay,
            "detection": detection,
        }


def repack(archive: Path, to: Path, change: Callable[[Options], Options]) -> Path:
    """Write an archive again, its ``model-config.yaml`` changed.

    Args:
        archive: A ``.mar``.
        to: The file to write; may be the same.
        change: From the options to others.

    Returns:
        ``to``.
    """
    import yaml  # here: on a GPU machine it may come with the wheels only

    with ZipFile(archive) as file:
        entries = {info: file.read(info) for info in file.infolist()}
    with ZipFile(to, "w", ZIP_STORED) as file:
        for info, content in entries.items():
            if info.filename == CONFIG:
                content = yaml.safe_dump(change(yaml.safe_load(content)), sort_keys=False).encode()
            file.writestr(info, content)
    return to
