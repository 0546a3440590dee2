"""The worker of an archive without any server, to compare others with."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import torch
import yaml

from handler.worker import Worker


@contextmanager
def one_thread_worker(archive: Path, folder: Path) -> Iterator[Worker]:
    """The demo model in this process, on one thread, which the process then has, too.

    Args:
        archive: A ``.mar``.
        folder: An empty one, for what is in it.
    """
    threads = torch.get_num_threads()
    with ZipFile(archive) as file:
        file.extractall(folder)
    config = yaml.safe_load((folder / "model-config.yaml").read_text())
    try:
        yield Worker.load(folder, config | {"detection": config["detection"] | {"threads": 1}}, "demo", "1.0")
    finally:
        torch.set_num_threads(threads)
