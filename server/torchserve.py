"""One TorchServe process of our own: started in a folder, asked whether it truly answers, stopped by its pid."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request

import psutil

from server import tokens
from server.addresses import Addresses, open_url
from server.java import java_home

STATE_FILE = "server.json"
LOG_FILE = "torchserve.log"
LOG_CONFIG = Path(__file__).with_name("log4j2.xml")
PROGRAMS = Path(__file__).with_name("bin")
LONGEST_FOLDER = 65  # bytes: "/torchserve-12345678/.ts.sock.12345" comes on top
# The smallest picture there is: a real prediction that costs next to nothing.
ONE_PIXEL_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de00"
    "00000c4944415478da63686868000003040181752e01bc0000000049454e44ae426082"
)


class ServerError(RuntimeError):
    """TorchServe did not do what was asked; the text says what to do."""


@dataclass(frozen=True)
class TorchServe:
    """A TorchServe that was started by :func:`start`.

    Attributes:
        home: Folder it runs in: key file, logs, the configuration it was given.
        temporary: Its TMPDIR, short because of the sockets in it: extracted models, pid file.
        pid: The Java process.
        fingerprint: Of the configuration and the archives; another one means that a restart is due.
        addresses: Where it listens.
    """

    home: Path
    temporary: Path
    pid: int
    fingerprint: str
    addresses: Addresses

    @classmethod
    def load(cls, home: Path) -> "TorchServe | None":
        """The server that was started in ``home``, if it still runs."""
        server = cls._read(home)
        return server if server and server.is_running() else None

    @classmethod
    def _read(cls, home: Path) -> "TorchServe | None":
        """The server that was last started in ``home``; none where that cannot be read."""
        try:
            state = json.loads((home / STATE_FILE).read_text())
            state |= {"temporary": Path(state["temporary"]), "addresses": Addresses(**state["addresses"])}
            return cls(**state | {"home": home})
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def save(self) -> None:
        """Remember this server in its folder."""
        state = asdict(self) | {"home": str(self.home), "temporary": str(self.temporary)}
        partial = self.home / f"{STATE_FILE}.partial"
        partial.write_text(json.dumps(state, indent=2))
        partial.replace(self.home / STATE_FILE)  # at once: half a file would be a server that nothing can stop

    def is_running(self) -> bool:
        """Whether the very process that was started is alive."""
        try:
            # A recycled pid has no such word. When a process was created is no mark of it: Linux moves that by a second
            # each time the clock has been set by one in all.
            return f"-Djava.io.tmpdir={self.temporary}" in psutil.Process(self.pid).cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def models(self) -> list[str]:
        """Names of the models that are registered; none where the server does not tell."""
        try:
            status, body = self.request("management", "/models?limit=1000")
        except URLError:  # the port is not open yet
            return []
        return [each["modelName"] for each in json.loads(body)["models"]] if status == 200 else []

    def workers(self, model: str, version: str | None = None) -> list[dict[str, Any]]:
        """The workers of ``model`` as the management API lists them; none where it is not registered."""
        try:
            status, body = self.request("management", f"/models/{_with_version(model, version)}")
        except URLError:  # the port is not open yet
            return []
        return list(json.loads(body)[0]["workers"]) if status == 200 else []

    def is_ready(self, model: str, version: str | None = None, timeout: float = 120.0) -> bool:
        """Whether every worker is up and a picture is answered: ``/ping`` says Healthy long before.

        Args:
            model: Its name.
            version: One of its versions; None: the default one.
            timeout: Seconds for the prediction.

        Raises:
            ServerError: The model can never be served as it is.
            TimeoutError: The prediction took longer.
        """
        workers = self.workers(model, version)
        if not workers or any(worker["status"] != "READY" for worker in workers):
            return False
        where = f"/predictions/{_with_version(model, version)}"
        status, body = self.request("inference", where, ONE_PIXEL_PNG, timeout=timeout)
        _refuse_not_loaded(model, body)
        return status == 200

    def has_loaded(self, model: str, timeout: float = 3.0) -> bool:
        """Whether a worker is up that has loaded the model; no picture is computed, so it may be asked for ever.

        Args:
            model: Its name.
            timeout: Seconds for the worker's word. Without it the answer is True: what asks a worker waits in the
                queue, and a server that is only busy must not lose its clients to another that is as busy.

        Raises:
            ServerError: The worker that was asked cannot load the model.
        """
        if not any(worker["status"] == "READY" for worker in self.workers(model)):
            return False
        with suppress(TimeoutError):
            _, body = self.request("management", f"/models/{model}?customized=true", timeout=timeout)
            if isinstance(found := json.loads(body), list):  # else an error of TorchServe's own: the queue is full
                _refuse_not_loaded(model, json.dumps(found[0].get("customizedMetadata")).encode())
        return True

    def wait_until_ready(self, model: str, timeout: float = 180.0, version: str | None = None) -> float:
        """Wait until :meth:`is_ready`.

        Args:
            model: Name of a model that was named at the start.
            timeout: Seconds to wait at the most.
            version: One of its versions; None: the default one.

        Returns:
            Seconds waited.

        Raises:
            ServerError: The server ended, cannot load the model, or is not ready in time.
        """
        begin = time.monotonic()
        while not self.is_ready(model, version):
            if not self.is_running():
                raise ServerError(f"TorchServe ended while it loaded {model}; {self._last_words()}")
            if time.monotonic() - begin > timeout:
                raise ServerError(f"{model} was not ready within {timeout:.0f} s; see {self.home / LOG_FILE}")
            time.sleep(0.2)
        return time.monotonic() - begin

    def _last_words(self, most: int = 10) -> str:
        """The end of its log, without Java's stack traces."""
        log = self.home / LOG_FILE
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        said = [line for line in lines if not re.match(r"\s+at |\s*$", line)]
        return "\n".join([f"the last lines of {log}:", *said[-most:]])

    def predict(self, model: str, picture: bytes, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Send one picture; the answer's status and body, whatever they are."""
        return self.request("inference", f"/predictions/{model}", picture, headers)

    def request(
        self,
        kind: tokens.Kind,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        method: str | None = None,
        timeout: float = 120.0,
    ) -> tuple[int, bytes]:
        """One request with the token it needs.

        Args:
            kind: Which API.
            path: With the query.
            body: Of a POST.
            headers: Further ones.
            method: None: POST where there is a body, else GET.
            timeout: Seconds in which something must come.

        Raises:
            URLError: Nothing answers.
        """
        base = self.addresses.inference_url if kind == "inference" else self.addresses.management_url
        token = tokens.headers(self.home, kind, self.addresses.management_url)
        request = Request(
            base + path, data=body, headers={"Content-Type": "image/*"} | token | (headers or {}), method=method
        )
        try:
            with open_url(request, timeout=timeout) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            with error:
                return error.code, error.read()

    def metrics(self) -> str:
        """What a Prometheus scrape gets."""
        with open_url(f"{self.addresses.metrics_url}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def worker_bytes(self) -> int:
        """Resident memory of all workers together, in bytes."""
        return sum(worker.memory_info().rss for worker in psutil.Process(self.pid).children(recursive=True))

    def stop(self, timeout: float = 30.0) -> None:
        """End the server and its workers, and remove what it left in its temporary folder."""
        processes = []
        if self.is_running():
            frontend = psutil.Process(self.pid)
            processes = [frontend, *frontend.children(recursive=True)]
            frontend.terminate()
        _, alive = psutil.wait_procs(processes, timeout=timeout)
        left = {*alive, *self._workers_without_frontend()}
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=timeout)  # or one could still write into what is removed now
        shutil.rmtree(self.temporary, ignore_errors=True)
        (self.home / STATE_FILE).unlink(missing_ok=True)
        (self.home / tokens.FILE_NAME).unlink(missing_ok=True)

    def _workers_without_frontend(self) -> list[psutil.Process]:
        """Its workers that still run: one whose frontend was killed before it had called waits for ever."""
        sockets = str(self.temporary / ".ts.sock.")
        running = psutil.process_iter(["cmdline"])
        return [each for each in running if any(word.startswith(sockets) for word in each.info["cmdline"] or ())]


def _refuse_not_loaded(model: str, said: bytes) -> None:
    if re.search(rb'"code":\s*"model_not_loaded"', said):
        raise ServerError(f"{model} cannot be served: {said.decode()}")


def _with_version(model: str, version: str | None) -> str:
    return model if version is None else f"{model}/{version}"


def fingerprint_of(config: Path, archives: dict[str, Path], addresses: Addresses) -> str:
    """Changes when the configuration, an archive or a port does."""
    facts: list[object] = [config.read_text(), asdict(addresses)]
    for name, archive in sorted(archives.items()):
        stat = archive.stat()
        facts.append([name, str(archive), stat.st_size, stat.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def start(home: Path, archives: dict[str, Path], config: Path, addresses: Addresses | None = None) -> TorchServe:
    """Start TorchServe on some archives of one model store.

    Args:
        home: Folder to run in; made if it is not there.
        archives: Model name to ``.mar``, all in one folder.
        config: The config.properties to obey.
        addresses: Other ports than those of ``config``.

    Raises:
        ServerError: An archive is missing, a port is taken, or the process ended at once.
        FileNotFoundError: There is no Java.
    """
    addresses = addresses or Addresses()
    stores = {archive.resolve().parent for archive in archives.values()}
    for archive in archives.values():
        if not archive.is_file():
            raise ServerError(f"{archive} is missing; make it with `make mar`")
    if len(stores) != 1:
        raise ServerError(f"archives must lie in one model store, got {sorted(map(str, stores))}")
    refuse_taken(_taken_after_a_kill(home, addresses))
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)  # TorchServe writes the tokens first and takes others' right to read them afterwards
    home = home.resolve()
    own_config = home / "config.properties"
    own_config.write_text(addresses.write_into(config.read_text()))
    if (last := TorchServe._read(home)) and not last.is_running():
        last.stop()  # killed from outside, it left its extracted models behind
    temporary = Path(tempfile.mkdtemp(prefix="torchserve-", dir=_folder_for_sockets()))
    try:
        pid = _launch(home, temporary, stores.pop(), archives, own_config)
    except Exception:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    server = TorchServe(home, temporary, pid, fingerprint_of(config, archives, addresses), addresses)
    server.save()
    return server


def _taken_after_a_kill(home: Path, addresses: Addresses, patience: float = 10.0) -> list[int]:
    """The ports that are taken; those of a server that was killed here a moment ago are free in seconds."""
    last, end = TorchServe._read(home), time.monotonic() + patience
    killed = last is not None and last.addresses == addresses and not last.is_running()
    while (ports := addresses.taken()) and killed and time.monotonic() < end:
        time.sleep(0.2)
    return ports


def refuse_taken(ports: list[int]) -> None:
    """Refuse to start where another process listens.

    Args:
        ports: Those of ours that are taken.

    Raises:
        ServerError: There are some.
    """
    if ports:
        raise ServerError(f"port {ports[0]} is taken by another process; choose others with PORT=...")


def _folder_for_sockets() -> str:
    """The folder for temporary files, or /tmp where its name leaves a socket's path too little of its 104 bytes."""
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) <= LONGEST_FOLDER else "/tmp"  # noqa: S108


def environment(temporary: Path) -> dict[str, str]:
    """What TorchServe is started with: this process's environment, its Java, its programs and its temporary folder.

    Args:
        temporary: Takes the unpacked models, so it must not be mounted ``noexec``.

    Raises:
        FileNotFoundError: There is no Java.
    """
    changed = os.environ | {"JAVA_HOME": str(java_home()), "TEMP": str(temporary), "TMPDIR": str(temporary)}
    # Last, so that the machine's own is taken where it has one.
    changed["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), str(PROGRAMS)])
    # What stands on it would be imported instead of what the archive carries.
    changed.pop("PYTHONPATH", None)
    # gRPC then speaks the Open Inference Protocol besides TorchServe's own; no setting of config.properties does that.
    changed.setdefault("TS_OPEN_INFERENCE_PROTOCOL", "oip")
    return changed


def _launch(home: Path, temporary: Path, store: Path, archives: dict[str, Path], config: Path) -> int:
    """Run the plain command that a user would type; the pid of the Java process it leaves behind."""
    command = [sys.executable, "-m", "ts.model_server", "--start", "--ncs"]
    command += ["--model-store", str(store), "--ts-config", str(config)]
    command += ["--log-config", str(LOG_CONFIG)]
    command += ["--models", *(f"{name}={archive.name}" for name, archive in archives.items())]
    with (home / LOG_FILE).open("wb") as log:
        subprocess.run(
            command, cwd=home, env=environment(temporary), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, check=False,
        )  # fmt: skip
    pid_file = temporary / ".model_server.pid"
    if not pid_file.is_file():
        raise ServerError(f"TorchServe did not start: {(home / LOG_FILE).read_text().strip()}")
    return int(pid_file.read_text())
