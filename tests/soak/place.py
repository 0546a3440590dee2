"""The server under test: two workers, a short queue, ports and folders of its own."""

import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.repack import Options, repack
from server import tokens
from server.addresses import HOST, Addresses
from server.torchserve import TorchServe, start
from tests.served import MODEL, ROOT
from tests.soak.sending import Target

WORKERS, BATCH, QUEUE = 2, 4, 32
TOKEN_SPARE = 3300.0  # seconds that a scenario may take; a token lives 3600


def _options(of: Options) -> Options:
    """The workers of this suite; all else as it is."""
    return of | {"minWorkers": WORKERS, "maxWorkers": WORKERS, "batchSize": BATCH}


class Place:
    """A server and where it lives.

    Attributes:
        archive: What it serves.
        server: As it runs now.
    """

    def __init__(self, archive: Path, folder: Path, say: Callable[[str], None]) -> None:
        self._home, self._addresses = folder / "home", Addresses.free()
        (folder / "store").mkdir()
        self.archive = repack(archive, folder / "store" / f"{MODEL}.mar", _options)
        self._config = folder / "config.properties"
        text, found = re.subn(
            r"(?m)^job_queue_size=.*$", f"job_queue_size={QUEUE}", (ROOT / "config.properties").read_text()
        )
        if found != 1:
            raise ValueError("config.properties must set job_queue_size once")
        self._config.write_text(text)
        self._say = say
        self.server: TorchServe = self.started()

    def started(self) -> TorchServe:
        """Start it, also where a killed one was; wait until it truly answers."""
        self.server = start(self._home, {MODEL: self.archive}, self._config, self._addresses)
        self._say(f"server ready after {self.server.wait_until_ready(MODEL):.1f} s")
        return self.server

    def target(self) -> Target:
        """Where requests go, with a token that lives long enough for a scenario."""
        token = tokens.headers(self.server.home, "inference", self.server.addresses.management_url, TOKEN_SPARE)
        return Target(HOST, self.server.addresses.inference, token)

    def key_file(self) -> Path:
        """Of the tokens, for the command."""
        return self.server.home / tokens.FILE_NAME

    def worker_pids(self) -> set[int]:
        """Of the workers that are ready, as the frontend sees them; none while it does not answer."""
        return {int(each["pid"]) for each in self.server.workers(MODEL) if each["status"] == "READY"}

    def temporary_files(self) -> set[str]:
        """All files in its temporary folder."""
        folder = self.server.temporary
        return {str(each.relative_to(folder)) for each in folder.rglob("*") if not each.is_dir()}
