"""The locks hold every requirement at its version with hashes, and all that those need."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

from tests.audit.inventory import normalised

ROOT = Path(__file__).parent.parent
LOCKS = {
    "requirements.lock": ["requirements.txt", "requirements-dev.txt"],
    "requirements-serve.lock": ["requirements.txt"],
    "requirements-java.lock": ["requirements-java.txt"],
    "requirements-ray.lock": ["requirements-ray.txt"],
}
# The user chooses its build; its own metadata pins the CUDA libraries.
NOT_LOCKED = {"torch"}
SYSTEMS = [
    {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": machine, "python_version": python}
    | {"python_full_version": f"{python}.0", "implementation_name": "cpython", "os_name": "posix"}
    for machine in ("x86_64", "aarch64")
    for python in ("3.11", "3.12", "3.13", "3.14")
]
LINE = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==(?P<version>[^\s;]+)\s*(?:;(?P<marker>[^\\]+))?")


def required(name: str) -> dict[str, str]:
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
    found = [LINE.match(line) for line in lines]
    assert all(found), lines
    return {normalised(each["name"]): each["version"] for each in found if each}


def locked(name: str, system: dict[str, str]) -> dict[str, str]:
    """What one system would get of a lock; every entry must have hashes."""
    found = {}
    for entry in re.split(r"(?m)^(?=[A-Za-z0-9])", re.sub(r"(?m)^\s*#.*\n", "", (ROOT / name).read_text())):
        if match := LINE.match(entry):
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), match["name"]
            requirement = Requirement(entry.partition("\\")[0].strip())
            if requirement.marker is None or requirement.marker.evaluate(dict(default_environment()) | system):
                assert normalised(match["name"]) not in found, match["name"]
                found[normalised(match["name"])] = match["version"]
    return found


@pytest.mark.parametrize(
    "system", SYSTEMS, ids=lambda system: f"{system['platform_machine']}-{system['python_version']}"
)
@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_locked_at_its_version(lock: str, system: dict[str, str]) -> None:
    wanted = {name: pin for file in LOCKS[lock] for name, pin in required(file).items() if name not in NOT_LOCKED}
    found = locked(lock, system)
    assert {name: found.get(name) for name in wanted} == wanted


@pytest.mark.parametrize("system", SYSTEMS[:1], ids=["linux"])
def test_ray_comes_beside_the_rest(system: dict[str, str]) -> None:
    """Into the same environment: what both locks have, they have at one version."""
    rest, ray = locked("requirements.lock", system), locked("requirements-ray.lock", system)
    assert {name: rest[name] for name in rest.keys() & ray.keys()} == {
        name: ray[name] for name in rest.keys() & ray.keys()
    }
    assert "numpy" in rest.keys() & ray.keys()


def needed_by(name: str) -> set[str]:
    try:
        needs = [Requirement(each) for each in requires(name) or []]
    except PackageNotFoundError:  # of another lock, or newer than this environment
        return set()
    return {normalised(each.name) for each in needs if each.marker is None or each.marker.evaluate({"extra": ""})}


def test_all_that_is_needed_is_locked() -> None:
    """Here: of what is installed. ``pip install --require-hashes`` checks it for good, as `.ci/run` does."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = locked("requirements.lock", {"python_version": here, "python_full_version": f"{here}.0"})
    lacking = {need: name for name in found for need in needed_by(name) if need not in found.keys() | NOT_LOCKED}
    assert lacking == {}


@pytest.mark.parametrize(
    "system", SYSTEMS, ids=lambda system: f"{system['platform_machine']}-{system['python_version']}"
)
def test_an_image_serves_with_what_was_tested_and_without_what_tests(system: dict[str, str]) -> None:
    served, tested = locked("requirements-serve.lock", system), locked("requirements.lock", system)
    assert served.items() < tested.items()
    assert not served.keys() & required("requirements-dev.txt").keys()


def test_what_pytorch_needs_besides_cuda_is_told_to_the_lock() -> None:
    (told,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["dependency-metadata"]
    assert told["version"] == required("requirements.txt")["torch"]
    if version("torch").partition("+")[0] != told["version"]:
        pytest.skip("another PyTorch is installed")
    needs = [Requirement(each) for each in requires("torch") or []]
    plain = {str(each) for each in needs if each.marker is None}
    assert {str(Requirement(each)) for each in told["requires-dist"]} == plain


def test_pip_takes_the_locks_and_nothing_without_a_hash() -> None:
    make = (ROOT / "Makefile").read_text()
    assert "--require-hashes --only-binary :all:" in make
    installs = re.findall(r"(?m)^\t.*pip install.*$", make)
    unlocked = [line for line in installs if "LOCKED" not in line]
    assert len(unlocked) == 2  # PyTorch and, for `make lock` alone, uv
    assert all("torch==" in line or "uv==" in line for line in unlocked)


def test_a_wrong_hash_is_refused(tmp_path: Path) -> None:
    """By pip itself, on a wheel that is made here: the option that the Makefile gives does what it says."""
    wheel = tmp_path / "made_up-1.0-py3-none-any.whl"
    wheel.write_bytes(b"anything")
    (tmp_path / "lock").write_text(f"made-up==1.0 --hash=sha256:{'0' * 64}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-index", "--find-links", str(tmp_path), "--no-deps"]
    command += ["--require-hashes", "-r", str(tmp_path / "lock"), "-d", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr


def test_no_lock_has_packages_of_cuda() -> None:
    """They belong to one build of PyTorch, which whoever installs it chooses."""
    locked = "\n".join((ROOT / name).read_text() for name in LOCKS)
    assert not re.findall(r"(?m)^(?:nvidia-|cuda-|triton)\S*", locked)
