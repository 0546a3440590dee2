"""``python -m server.pod COMMAND``: TorchServe in a container, by what Kubernetes asks of one.

``run`` becomes TorchServe, so that it is the container's process 1 and its end is the container's; ``started`` and
``ready`` are its probes; ``drain`` is what runs before it is ended. What they work on stands in the environment, where
image and manifests say it once: MODEL_NAME and, where they are others than in the image, MODEL_STORE,
TORCHSERVE_CONFIG, TORCHSERVE_HOME and TEMP.
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from server.addresses import Addresses
from server.management import Management
from server.torchserve import LOG_CONFIG, ServerError, TorchServe, environment


@dataclass(frozen=True)
class Pod:
    """One container with one TorchServe and one model.

    Attributes:
        model: Name in the address.
        store: Folder of its archive.
        config: The config.properties to obey, as it is.
        home: Folder to run in: it takes the logs.
        temporary: Folder that takes the unpacked model and the workers' sockets.
    """

    model: str
    store: Path
    config: Path
    home: Path
    temporary: Path

    @classmethod
    def described_by(cls, variables: Mapping[str, str]) -> "Pod":
        """What the environment says.

        Raises:
            ServerError: It names no model.
        """
        if not variables.get("MODEL_NAME"):
            raise ServerError("the environment must name the model: MODEL_NAME=demo serves /models/demo.mar")
        return cls(
            variables["MODEL_NAME"],
            Path(variables.get("MODEL_STORE", "/models")),
            Path(variables.get("TORCHSERVE_CONFIG", "/app/config.properties")),
            Path(variables.get("TORCHSERVE_HOME", "/run/torchserve")),
            Path(variables.get("TEMP", "/tmp")),  # noqa: S108
        )

    def archive(self) -> Path:
        """The archive of its name, or the only one there is: KServe names models after their service.

        Raises:
            ServerError: There is neither.
        """
        archives = sorted(self.store.glob("*.mar"))
        named = self.store / f"{self.model}.mar"
        if named not in archives and len(archives) != 1:
            found = ", ".join(path.name for path in archives) or "none"
            raise ServerError(f"{self.store} must have {named.name}, or one .mar of another name, got {found}")
        return named if named in archives else archives[0]

    def server(self) -> TorchServe:
        """The TorchServe that runs here: asked by its ports alone, for nothing else can listen on them."""
        addresses = Addresses.in_properties(self.config.read_text(encoding="utf-8"))
        return TorchServe(self.home, self.temporary, 1, "", addresses)

    def command(self, java: Path) -> list[str]:
        """The command that ``torchserve --start --ncs`` leaves behind it, to become instead of to start.

        Args:
            java: The program.

        Raises:
            ServerError: There is no archive to serve, or no TorchServe to serve it.
        """
        package = find_spec("ts")
        if package is None or package.origin is None:
            raise ServerError("torchserve is not installed here")
        packages = Path(package.origin).resolve().parent.parent
        options = re.findall(r"(?m)^vmargs=(.*)$", self.config.read_text(encoding="utf-8"))
        command = [
            str(java),
            f"-Dmodel_server_home={packages}",
            f"-Dlog4j.configurationFile=file://{LOG_CONFIG.resolve()}",
        ]
        command += [f"-Djava.io.tmpdir={self.temporary}", *" ".join(options).split()]
        command += ["-cp", f".:{packages / 'ts' / 'frontend' / '*'}", "org.pytorch.serve.ModelServer"]
        command += ["--python", sys.executable, "-f", str(self.config), "-s", str(self.store), "-ncs"]
        return [*command, "-m", f"{self.model}={self.archive().name}"]


def run(pod: Pod) -> None:
    """Become TorchServe: its signals, its output and its exit code are the container's."""
    variables = environment(pod.temporary)
    command = pod.command(Path(variables["JAVA_HOME"]) / "bin" / "java")
    pod.home.mkdir(parents=True, exist_ok=True)
    os.chdir(pod.home)
    os.execve(command[0], command, variables)


def started(pod: Pod) -> None:
    """Exit with 0 only if every worker is up and a picture is answered: the startup probe."""
    if not pod.server().is_ready(pod.model, timeout=25):
        raise _not_ready(pod)


def ready(pod: Pod) -> None:
    """Exit with 0 only if a worker is up that has loaded the model, busy or not: the readiness probe."""
    if not pod.server().has_loaded(pod.model):
        raise _not_ready(pod)


def _not_ready(pod: Pod) -> ServerError:
    states = ", ".join(worker["status"] for worker in pod.server().workers(pod.model))
    return ServerError(f"{pod.model} is not ready (workers: {states or 'none'})")


def drain(pod: Pod, leave: float = 10.0, timeout: float = 130.0) -> None:
    """Return once all that was asked is answered: the hook before the end, which ends what is under way.

    Args:
        pod: This container.
        leave: Seconds first, in which the cluster stops sending requests here.
        timeout: Seconds to wait then; a request may take as long as responseTimeout.

    Raises:
        ServerError: Some are still under way.
    """
    time.sleep(leave)
    management = Management(pod.server(), pod.model)
    for version in management.versions():
        if version.waiting or "READY" in version.workers:  # one that loads has been asked nothing
            management.wait_until_quiet(version.number, timeout)


COMMANDS: dict[str, Callable[[Pod], None]] = {"run": run, "started": started, "ready": ready, "drain": drain}


def main() -> int:
    """Run one command; 2 where it could not do what was asked."""
    parser = argparse.ArgumentParser(prog="python -m server.pod", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    command = COMMANDS[parser.parse_args().command]
    try:
        command(Pod.described_by(os.environ))
    except (ServerError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
