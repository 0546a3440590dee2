"""What is installed: Python packages, and the Java libraries inside the jar of TorchServe that tell a version."""

import re
import zipfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path

UNTOLD = "not told"
# The jar is one file made of many libraries whose own manifests are gone. A version stands where each one keeps it for
# itself; those of the others are not told, and folders of classes say only that they are there.
_NETTY = "META-INF/io.netty.versions.properties"
_DEPENDENCIES = "META-INF/DEPENDENCIES"
_GROOVY = "META-INF/groovy-release-info.properties"
_CONSTANTS = {"grpc": "io/grpc/internal/GrpcUtil.class", "gson": "com/google/gson/internal/GsonBuildConfig.class"}
_FOLDERS = {
    "grpc-netty-shaded": "io/grpc/netty/shaded/io/netty/",
    "guava": "com/google/common/",
    "protobuf": "com/google/protobuf/",
    "snakeyaml": "org/yaml/snakeyaml/",
    "prometheus": "io/prometheus/client/",
}


@dataclass(frozen=True, order=True)
class Component:
    """One library.

    Attributes:
        name: In the spelling of the package index, or of Maven without the group.
        version: Its version, or :data:`UNTOLD`.
        kind: ``package`` or ``jar``.
    """

    name: str
    version: str
    kind: str


def normalised(name: str) -> str:
    """A package's name as the index compares it. Source: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_packages() -> list[Component]:
    """All Python packages of this environment, by name."""
    found = {Component(normalised(each.name), each.version, "package") for each in distributions() if each.name}
    return sorted(found)


def bundled_jars() -> list[Component]:
    """The libraries inside the jar of the installed TorchServe; none where it is not installed."""
    try:
        jar = Path(str(distribution("torchserve").locate_file("ts/frontend/model-server.jar")))
    except PackageNotFoundError:
        return []
    return libraries_of(jar)


def libraries_of(jar: Path) -> list[Component]:
    """The libraries inside one jar.

    Args:
        jar: A file made of several libraries.
    """
    with zipfile.ZipFile(jar) as archive:
        names = set(archive.namelist())
        texts = {
            name: archive.read(name).decode("latin-1")
            for name in (_NETTY, _DEPENDENCIES, _GROOVY, *_CONSTANTS.values())
            if name in names
        }
    versions = dict.fromkeys(
        (name for name, folder in _FOLDERS.items() if any(each.startswith(folder) for each in names)), UNTOLD
    )
    versions |= _told(texts)
    return sorted(Component(name, version, "jar") for name, version in versions.items())


def _told(texts: dict[str, str]) -> dict[str, str]:
    told = dict(re.findall(r":([a-z0-9-]+):jar:([0-9][\w.]*)", texts.get(_DEPENDENCIES, "")))
    for name, pattern, place in (
        ("netty", r"(?m)^netty-codec-http\.version=(\S+)", _NETTY),
        ("groovy", r"(?m)^ImplementationVersion=(\S+)", _GROOVY),
        *((name, r"[^\d.](\d+\.\d+\.\d+)[^\d.]", place) for name, place in _CONSTANTS.items()),
    ):
        if found := re.search(pattern, texts.get(place, "")):
            told[name] = found[1]
    return told
