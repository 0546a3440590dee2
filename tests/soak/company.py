"""The command beside the load: ``python -m handler.client``, again and again, while things break."""

import json
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

from tests.served import MODEL, ROOT
from tests.soak.cases import pictures
from tests.soak.comparing import difference
from tests.soak.expected import Expected
from tests.soak.place import Place

RETRIES = 8  # a frontend that was killed takes longer to come back than five retries do
HUNG = 900.0  # seconds; eight pictures take no longer, whatever is done to the server
NO_SERVER = 2  # what the command exits with where there is none, or no token, as it begins


@dataclass
class Company:
    """Runs of the command in a thread, until it is left.

    Attributes:
        place: The server.
        folder: Where the pictures are written.
        expected: The plain answer to each picture.
        may_be_down: There may be no server as the command begins, which it says and is not wrong then.
        asked: Pictures that it was given, where it found a server.
        answered: Those that it answered rightly.
        wrong: What it said of the others.
    """

    place: Place
    folder: Path
    expected: list[Expected | None]
    may_be_down: bool = False
    asked: int = 0
    answered: int = 0
    wrong: list[str] = field(default_factory=list)

    def __enter__(self) -> "Company":
        self.folder.mkdir(exist_ok=True)
        for number, picture in enumerate(pictures()):
            (self.folder / f"{number:02}.jpg").write_bytes(picture)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def findings(self) -> list[str]:
        """What was wrong, and that it asked nothing, if it did not."""
        return self.wrong + ([] if self.asked else ["it never found a server to ask"])

    def _run(self) -> None:
        """Eight pictures at a time; the last time when all is over, and then there must be a server."""
        first, last = 0, False
        while not last:
            last = self._stop.is_set()
            chosen = [(first + each) % len(pictures()) for each in range(8)]
            try:
                self._check(chosen, *self._command(chosen), may_be_down=self.may_be_down and not last)
            except Exception as error:  # noqa: BLE001 - in this thread nobody would hear of it
                self.wrong.append(f"{type(error).__name__}: {error}")
                return
            first += 8

    def _command(self, chosen: list[int]) -> tuple[int, str, str]:
        url = f"{self.place.server.addresses.inference_url}/predictions/{MODEL}"
        options = ["--json", "--jobs", "1", "--retries", str(RETRIES), "--token-file", str(self.place.key_file())]
        done = subprocess.run(
            [sys.executable, "-m", "handler.client", url, *map(self._file, chosen), *options],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=HUNG,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:02}.jpg"

    def _check(self, chosen: list[int], code: int, out: str, err: str, may_be_down: bool) -> None:
        lines = [json.loads(line) for line in out.splitlines()]
        if may_be_down and code == NO_SERVER and not lines:
            self._stop.wait(0.3)
            return
        self.asked += len(chosen)
        answered = sorted(str(line["file"]) for line in lines)
        if code != 0 or answered != sorted(str(self._file(number)) for number in chosen):
            self.wrong.append(f"exit code {code}, {answered} of {chosen}: {err.strip()[:500]}")
        for line in lines:
            file = line.pop("file")
            expected = self.expected[int(Path(file).stem)]
            body = json.dumps(line).encode()
            wrong = "no answer" if expected is None else difference("json", expected.body, body, "")
            self.answered += wrong is None
            self.wrong += [f"{file}: {wrong}"] if wrong else []
