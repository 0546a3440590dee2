"""deploy/Dockerfile: linted, its set-up that of the Makefile, and its facts those of the code and the manifests."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from server.addresses import Addresses
from server.pod import COMMANDS, Pod
from tests.deploy.dockerfile import PATH, Copy, chain, image, lines, place, stages
from tests.deploy.manifests import CONFIG, CONTAINER, POD, VOLUMES
from tests.served import ROOT

HADOLINT = Path(sys.executable).with_name("hadolint")
ALLOWED = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]


def test_the_linter_finds_nothing() -> None:
    done = subprocess.run([HADOLINT, "--no-color", PATH], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_linter_would_find_something(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(PATH.read_text().replace("python:${PYTHON}-slim-bookworm", "python"))
    done = subprocess.run([HADOLINT, "--no-color", tmp_path / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "DL3006" in done.stdout


def copies_of(stage: str) -> list[Copy]:
    return list(image(stage).copies)


def test_the_context_holds_what_is_copied_and_nothing_else() -> None:
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
    copied = {source for stage in stages() for copy in copies_of(stage) for source in copy.sources}
    assert {"server" if each.startswith("server/") else each for each in copied} == {
        each.replace("*", "demo") for each in ALLOWED
    }


def test_what_is_copied_is_there() -> None:
    for stage in stages():
        for copy in copies_of(stage):
            for source in copy.sources:
                # An archive is made by whoever builds the image.
                assert source.startswith("model_store/") or (ROOT / source).exists(), source


def laid_out(stage: str, root: Path) -> Path:
    """The folder that a stage works in, with what was copied there."""
    for copy in copies_of(stage):
        for source, target in place(copy, root):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return root / image(stage).folder.lstrip("/")


def commands_of_setup(folder: Path, *arguments: str) -> list[str]:
    command = ["make", "--dry-run", "setup", "VENV=/nowhere/venv", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_packages_come_by_the_makefiles_own_commands(tmp_path: Path) -> None:
    """The step needs no other file than those copied, and differs from `make setup` by its arguments alone."""
    (run,) = stages()["packages"].of("RUN")
    assert run == 'make setup VENV=/opt/venv LOCK=requirements-serve.lock TORCH_INDEX="${TORCH_INDEX}"'
    index = next(rest.partition("=")[2] for rest in stages()["packages"].of("ARG"))
    build = laid_out("packages", tmp_path)
    ours = commands_of_setup(build, "LOCK=requirements-serve.lock", f"TORCH_INDEX={index}")
    everyday = commands_of_setup(ROOT, f"TORCH_INDEX={index}")
    assert [line.replace("requirements-serve.lock", "requirements.lock") for line in ours] == everyday
    assert any("--require-hashes --only-binary :all: -r requirements-serve.lock" in line for line in ours)
    assert any("-m server.java" in line for line in ours)


def test_without_an_index_pytorch_is_the_package_indexs_own(tmp_path: Path) -> None:
    ours = commands_of_setup(laid_out("packages", tmp_path), "LOCK=requirements-serve.lock", "TORCH_INDEX=")
    (torch,) = [line for line in ours if "torch==" in line]
    assert "index-url" not in torch


def test_both_images_have_their_python_in_one_place() -> None:
    """The virtual environment of the one is a link to the interpreter that it has in the other."""
    bases = [stages()[name].base for name in ("packages", "server")]
    assert bases == ["python:${PYTHON}-bookworm", "python:${PYTHON}-slim-bookworm"]
    (given,) = [rest for name, rest in lines(PATH.read_text()) if name == "ARG" and rest.startswith("PYTHON=")]
    least, most = re.findall(r"\((\d, \d+)\)", (ROOT / "Makefile").read_text())[:2]
    version = tuple(map(int, given.removeprefix("PYTHON=").split(".")))
    assert tuple(map(int, least.split(", "))) <= version <= tuple(map(int, most.split(", ")))


def test_the_server_needs_nothing_else_of_this_checkout() -> None:
    """What server/ imports of ours lies in server/: an image has neither handler/ nor export/."""
    imported = {
        name
        for path in (ROOT / "server").glob("*.py")
        for name in re.findall(r"(?m)^\s*(?:from|import) (\w+)", path.read_text())
    }
    assert not imported & {"handler", "export", "ops", "tests", "benchmarks"}


def test_the_user_has_a_number_that_the_manifests_name() -> None:
    assert image().user == "10001:10001"
    security = POD["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"], security["fsGroup"]) == (10001, 10001, 10001)
    (added,) = [run for run in chain("server")[0].of("RUN") if "useradd" in run]
    assert "--uid 10001" in added


def test_the_image_starts_the_command_that_the_code_has() -> None:
    *module, command = image().command
    assert module == ["python", "-m", "server.pod"]
    assert command == "run"
    assert set(COMMANDS) >= {command}


def test_the_folders_are_those_of_the_code() -> None:
    """The defaults of server/pod.py are the image's, and what is written lies on the manifests' volumes."""
    pod = Pod.described_by(image().environment)
    placed = [target for copy in image().copies for _, target in place(copy, Path("/"))]
    assert pod.config in placed
    assert pod.store / f"{pod.model}.mar" in placed
    assert {str(pod.home), str(pod.temporary)} == {
        mount["mountPath"] for mount in CONTAINER["volumeMounts"] if "emptyDir" in VOLUMES[mount["name"]]
    }
    assert image().environment["TMPDIR"] == image().environment["TEMP"]
    assert image().environment["HOME"] == str(pod.home)  # what libraries keep for their user


def test_the_ports_are_those_of_the_configuration() -> None:
    ports = Addresses.in_properties(CONFIG)
    (exposed,) = chain("server")[0].of("EXPOSE")
    assert exposed.split() == [str(ports.inference), str(ports.metrics)]


@pytest.mark.parametrize("word", ["sudo", "ADD", "latest", "--privileged", "trusted-host"])
def test_nothing_of_the_kind_is_in_it(word: str) -> None:
    assert word not in "\n".join(f"{name} {rest}" for name, rest in lines(PATH.read_text()))
