"""The container of deploy/Dockerfile and the Deployment without a container engine: the kernel's own parts of one.

Namespaces of its own for mounts and processes, a root file system that nobody can write, the manifest's volumes as
tmpfs, the image's user without any capability. What lies in it is what the Dockerfile copies; Python and the packages
are this machine's, put where the image has them.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.deploy.dockerfile import Image, place

SYSTEM = ("usr", "etc", "sys", "dev")
LINKED = ("bin", "sbin", "lib", "lib64")  # of which Debian makes links into /usr
# Of what puts the container together: what leads the tests may lead nowhere in it.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
WITHOUT_RIGHTS = ("--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs", "--clear-groups")


def can_be_made() -> bool:
    """Whether this process may make namespaces and mounts: root on a machine of its own may."""
    command = ["unshare", "--mount", "--pid", "--fork", "mount", "--make-rprivate", "/"]
    try:
        return os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


class Container:
    """One container.

    Attributes:
        log: What its processes printed.
    """

    def __init__(
        self, image: Image, folder: Path, variables: dict[str, str], mounts: dict[str, Path], tmp: str
    ) -> None:
        """Start it.

        Args:
            image: What to run.
            folder: An empty one, for its root and its log.
            variables: Of the manifest.
            mounts: Folder in the container to the one of this machine that lies there, read-only.
            tmp: Options of the file system at /tmp.
        """
        self.log = folder / "container.log"
        self._image, self._variables = image, image.environment | variables
        root = folder / "root"
        root.mkdir()
        script = "\n".join(["set -eu", *_mounts(image, root, mounts, tmp), f"exec chroot {root} {self._inside()}"])
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, env=ENVIRONMENT, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while self.is_running() and not self._is_inside() and time.monotonic() < end:
            time.sleep(0.05)

    def _is_inside(self) -> bool:
        """Whether process 1 is the image's command yet, and no longer what put its root together."""
        children = psutil.Process(self._process.pid).children()
        return bool(children) and children[0].name().startswith(("python", "java"))

    def _inside(self, *arguments: str) -> str:
        """A command of the image, as its user, in its folder, with its environment and nothing else."""
        user, _, group = self._image.user.partition(":")
        command = ["setpriv", f"--reuid={user}", f"--regid={group}", *WITHOUT_RIGHTS]
        command += ["env", "--ignore-environment", f"--chdir={self._image.folder}"]
        command += [f"{name}={value}" for name, value in self._variables.items()]
        return shlex.join([*command, *(arguments or self._image.command)])

    @property
    def process(self) -> psutil.Process:
        """Process 1 of the container, as this machine sees it."""
        if not self.is_running():
            raise RuntimeError(f"the container ended by itself: {self.log.read_text()[-2000:]}")
        (first,) = psutil.Process(self._process.pid).children()
        return first

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as an exec probe or a hook is run."""
        enter = ["nsenter", f"--target={self.process.pid}", "--mount", "--pid", "--root"]
        command = [*enter, "sh", "-c", f"exec {self._inside(*arguments)}"]
        return subprocess.run(command, cwd="/", env=ENVIRONMENT, capture_output=True, text=True, timeout=200)

    def is_running(self) -> bool:
        """Whether process 1 lives."""
        return self._process.poll() is None

    def end(self, timeout: float = 60.0) -> int:
        """Ask process 1 to end, as a cluster does; the exit code of the container."""
        if self.is_running():
            self.process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout)

    def kill(self) -> None:
        """End whatever still runs in it."""
        if self.is_running():
            self.process.kill()  # with it all others; --kill-child means nothing once a process is another user's
            self._process.wait()


def _mounts(image: Image, root: Path, mounts: dict[str, Path], tmp: str) -> list[str]:
    """The commands that put the root together; the last of them closes it."""
    user, _, group = image.user.partition(":")
    read_only = {f"/{name}": Path("/") / name for name in SYSTEM} | mounts
    # A link to an interpreter, as in the image, and that interpreter where the link leads to.
    read_only |= {"/opt/venv": Path(sys.prefix).resolve(), sys.base_prefix: Path(sys.base_prefix)}
    commands = ["mount --make-rprivate /", f"mount -t tmpfs -o mode=755 tmpfs {root}"]
    commands += [f"cp -P /{name} {root}/{name}" for name in LINKED if Path("/", name).is_symlink()]
    for copy in image.copies:
        for source, target in place(copy, root):
            if source.exists():  # the archive is mounted
                commands += [
                    f"mkdir -p {shlex.quote(str(target.parent))}",
                    shlex.join(["cp", "-R", *map(str, (source, target))]),
                ]
    for inside, outside in read_only.items():
        target = shlex.quote(f"{root}{inside}")
        commands += [f"mkdir -p {target}", f"mount --rbind -o ro {shlex.quote(str(outside))} {target}"]
    commands += [f"mkdir -p {root}/proc {root}/tmp {root}/run/torchserve", f"mount -t proc proc {root}/proc"]
    commands += [f"mount -t tmpfs -o mode=1777,{tmp} tmpfs {root}/tmp"]
    commands += [f"mount -t tmpfs -o uid={user},gid={group},mode=700 tmpfs {root}/run/torchserve"]
    return [*commands, f"mount -o remount,ro {root}"]
