"""The management API of a running server, with its answers put plainly.

What TorchServe 0.12.0 was seen to do decides the order of the steps: a version that is unregistered while requests of
it wait or are computed never answers them, its clients hang; a model whose last worker is taken away refuses all.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import quote, urlencode

import psutil

from server.torchserve import ServerError, TorchServe

QUIET_SECONDS = 2.0  # a worker that computed nothing for so long has nothing in its hands
MOST_WORKERS = 1000
MOST_TRIES = 5  # of a request that met workers which came or went at that moment


@dataclass(frozen=True)
class Version:
    """One version of a model on the server.

    Attributes:
        number: As the archive names it.
        file: The archive, in the model store.
        workers: Status of each, READY for one that answers.
        waiting: Requests in its queue.
        default: It answers those who name no version.
        pids: Processes of the workers.
        response_timeout: Seconds after which a request is given up.
    """

    number: str
    file: str
    workers: tuple[str, ...]
    waiting: int
    default: bool
    pids: tuple[int, ...] = ()
    response_timeout: float = 120.0

    def __str__(self) -> str:
        state = f"{self.workers.count('READY')} of {len(self.workers)} workers ready, {self.waiting} requests waiting"
        return f"{self.number:<10} {self.file:<30} {state}{', default' if self.default else ''}"


@dataclass(frozen=True)
class Management:
    """Manages one model of a server.

    Attributes:
        server: It must run, with ``enable_model_api=true``.
        model: Name in the address.
    """

    server: TorchServe
    model: str

    def versions(self) -> list[Version]:
        """What is registered under the name.

        Raises:
            ServerError: Nothing is.
        """
        found = self._ask("GET", f"{self._path()}/all")
        default = self._ask("GET", self._path())[0]["modelVersion"]
        return [_version(each, default) for each in found]

    def register(self, archive: str, workers: int | None = None) -> str:
        """Add a version, wait until it truly answers, and let it answer from now on.

        The version that answered until then keeps its workers and may be rolled back to.

        Args:
            archive: Name of a file in the model store.
            workers: How many; None: as many as the archive's own settings say.

        Returns:
            The number of the new version.

        Raises:
            ServerError: It cannot be registered, is of another model, or does not answer: it is then taken away again.
        """
        if Path(archive).name != archive:
            raise ServerError(f"an archive is named by its file name in the model store, got {archive}")
        before = self._numbers()
        asked = {"url": archive, "model_name": self.model, "initial_workers": workers or 1, "synchronous": "true"}
        self._ask("POST", f"/models?{urlencode(asked)}")
        (number,) = self._numbers() - before
        try:
            self.server.wait_until_ready(self.model, version=number)
        except ServerError:
            if before:
                self._ask("DELETE", self._path(number))
            raise
        self.make_default(number)
        return number

    def make_default(self, number: str) -> None:
        """Let a version answer those who name none; not before it does answer.

        Raises:
            ServerError: There is no such version, or it does not answer.
        """
        known = self._numbers()
        if number not in known:
            raise ServerError(f"{self.model} has no version {number}, only {', '.join(sorted(known)) or 'none'}")
        if not self.server.is_ready(self.model, number):
            raise ServerError(f"version {number} does not answer; see `make versions`")
        self._ask("PUT", f"{self._path(number)}/set-default")

    def scale(self, workers: int, number: str | None = None) -> None:
        """Start or end workers of a version, and wait until those that stay answer.

        Args:
            workers: At least one.
            number: The version; None: the default one.

        Raises:
            ServerError: There is no such version, or they do not start.
        """
        if not 1 <= workers <= MOST_WORKERS:
            raise ServerError(f"workers must be from 1 to {MOST_WORKERS}, got {workers}; without any, all get 503")
        asked = {"min_worker": workers, "max_worker": workers, "synchronous": "true"}
        self._ask("PUT", f"{self._path(number)}?{urlencode(asked)}")
        self.server.wait_until_ready(self.model, version=number)

    def unregister(self, number: str, timeout: float = 150.0) -> None:
        """Take a version away once it has answered all that it was asked.

        Args:
            number: Not the default version.
            timeout: Seconds to wait for that.

        Raises:
            ServerError: It is the default, is not there, or is still asked by name.
        """
        version = self._version(number)
        if version.default:
            raise ServerError(f"version {number} is the default; let another answer first: make rollback VERSION=...")
        self.wait_until_quiet(number, timeout)
        self._ask("DELETE", self._path(number))

    def wait_until_quiet(self, number: str, timeout: float) -> None:
        """Wait until nothing waits and no worker has computed for a while.

        TorchServe tells how many wait, but not what a worker has taken: its processor time does.

        Args:
            number: The version.
            timeout: Seconds to wait at the most.

        Raises:
            ServerError: It is still asked after that time.
        """
        end = time.monotonic() + timeout
        quiet_since, spent = time.monotonic(), -1.0
        while time.monotonic() - quiet_since < QUIET_SECONDS:
            version = self._version(number)
            now = _processor_seconds(version.pids)
            if version.waiting or now != spent:
                quiet_since, spent = time.monotonic(), now
            if time.monotonic() > end:
                raise ServerError(f"version {number} is still asked for after {timeout:.0f} s: somebody names it")
            time.sleep(0.1)

    def _version(self, number: str) -> Version:
        return _version(self._ask("GET", self._path(number))[0], self._ask("GET", self._path())[0]["modelVersion"])

    def _numbers(self) -> set[str]:
        status, body = self.server.request("management", f"{self._path()}/all")
        return {each["modelVersion"] for each in json.loads(body)} if status == 200 else set()

    def _path(self, number: str | None = None) -> str:
        return f"/models/{quote(self.model, safe='')}" + (f"/{quote(number, safe='')}" if number else "")

    def _ask(self, method: str, path: str) -> Any:
        """The answer; what may be asked twice is asked again where TorchServe stumbled over its own list of workers."""
        for tries_left in reversed(range(MOST_TRIES if method in ("GET", "PUT") else 1)):
            try:
                status, body = self.server.request("management", path, method=method)
            except (URLError, TimeoutError) as error:
                raise ServerError(f"the management API does not answer ({error})") from None
            if b"ConcurrentModificationException" not in body or not tries_left:
                break
            time.sleep(0.2)
        if status >= 300:
            raise ServerError(_plainly(status, body))
        return json.loads(body)


def _version(found: dict[str, Any], default: str) -> Version:
    workers, queue = found["workers"], found.get("jobQueueStatus", {})
    return Version(
        found["modelVersion"],
        found["modelUrl"],
        tuple(each["status"] for each in workers),
        queue.get("pendingRequests", 0),
        found["modelVersion"] == default,
        tuple(each["pid"] for each in workers),
        found.get("responseTimeout", 120),
    )


def _processor_seconds(pids: tuple[int, ...]) -> float:
    spent = 0.0
    for pid in pids:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.NoSuchProcess:
            continue
        spent += times.user + times.system
    return spent


# What TorchServe says by type or text, and what to do.
_PLAINLY = (
    ("already registered", "export it with another version: make register VERSION=..."),
    ("Model not found at", "the file must lie in the model store that the server was started with"),
    ("InvalidModelVersionException", "the default version stays: let another answer first"),
    ("InvalidKeyException", "the server was started in another folder, or its key file was replaced"),
    ("MethodNotAllowed", "config.properties must say enable_model_api=true when the server is started"),
    ("NotFoundException", "`make versions` lists what there is"),
)


def _plainly(status: int, body: bytes) -> str:
    """An error of TorchServe with what to do."""
    text = body.decode(errors="replace")
    try:
        message = str(json.loads(text)["message"]).rstrip(". ")
    except (ValueError, KeyError, TypeError):
        message = text.strip() or "nothing more is said"
    hint = next((f"; {hint}" for sign, hint in _PLAINLY if sign in text), "")
    return f"{message} (HTTP {status}){hint}"
