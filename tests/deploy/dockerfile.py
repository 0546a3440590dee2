"""deploy/Dockerfile as its stages say it: what is copied where, and how the container starts."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.served import ROOT

PATH = ROOT / "deploy" / "Dockerfile"
# Of Debian's images.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Copy:
    """One COPY from the build context.

    Attributes:
        sources: In the context.
        target: In the image, absolute; a folder where it ends in ``/``.
    """

    sources: tuple[str, ...]
    target: str


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        base: An image, or the name of an earlier stage.
        instructions: Name and the rest of each line.
    """

    base: str
    instructions: tuple[tuple[str, str], ...]

    def of(self, name: str) -> list[str]:
        """What stands after each instruction of that name."""
        return [rest for each, rest in self.instructions if each == name]


@dataclass(frozen=True)
class Image:
    """What a stage and those that it is built on amount to.

    Attributes:
        copies: From the context, in order.
        environment: Of its processes.
        folder: They run in.
        user: They run as.
        command: That it starts with.
    """

    copies: tuple[Copy, ...]
    environment: dict[str, str]
    folder: str
    user: str
    command: tuple[str, ...]


def lines(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction on one line, without comments."""
    joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text))
    for line in filter(None, map(str.strip, joined.splitlines())):
        name, _, rest = line.partition(" ")
        yield name, " ".join(rest.split())


def stages() -> dict[str, Stage]:
    """The stages by their names, in order."""
    found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    instructions: list[tuple[str, str]] = []  # those before the first stage are of none
    for name, rest in lines(PATH.read_text()):
        if name == "FROM":
            base, _, stage = rest.partition(" AS ")
            instructions = []
            found[stage] = base, instructions
        else:
            instructions.append((name, rest))
    return {stage: Stage(base, tuple(each)) for stage, (base, each) in found.items()}


def chain(stage: str) -> list[Stage]:
    """The stages that a stage is built on, and itself."""
    known = stages()
    below = known[stage].base
    return [*(chain(below) if below in known else []), known[stage]]


def image(stage: str = "baked") -> Image:
    """What a stage amounts to, with the arguments that the file gives."""
    values, environment = {"PATH": SYSTEM_PATH}, {"PATH": SYSTEM_PATH}
    copies, last = [], {"WORKDIR": "/", "USER": "root", "ENTRYPOINT": "[]", "CMD": "[]"}
    for name, rest in (each for part in chain(stage) for each in part.instructions):
        rest = rest if name == "RUN" else _filled_in(rest, values)
        if name == "ARG":
            values |= dict([rest.split("=", 1)])
        elif name == "ENV":
            environment |= dict(pair.split("=", 1) for pair in rest.split())
            values |= environment
        elif name == "COPY" and not rest.startswith("--from="):
            *sources, target = rest.split()
            copies.append(Copy(tuple(sources), _absolute(target, last["WORKDIR"])))
        elif name in last:
            last[name] = rest
    command = (*json.loads(last["ENTRYPOINT"]), *json.loads(last["CMD"]))
    return Image(tuple(copies), environment, last["WORKDIR"], last["USER"], command)


def _filled_in(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda match: values.get(match[1], ""), text)


def _absolute(target: str, folder: str) -> str:
    if target.startswith("/"):
        return target
    return f"{folder}/" if target == "./" else f"{folder}/{target}"


def place(copy: Copy, root: Path) -> list[tuple[Path, Path]]:
    """Each source in this checkout, and where below ``root`` it comes to lie."""
    target = root / copy.target.lstrip("/")
    into = copy.target.endswith("/")
    return [(ROOT / source, target / Path(source).name if into else target) for source in copy.sources]
