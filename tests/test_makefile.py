"""What make says where something of the user's does not fit, and that a folder's name may hold a space."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# An outer make would hand its own variables to this one; NAME is the machine's on some systems.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}


def make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    # -o: the environment is there, whatever the times of the files say.
    command = ["make", "-o", ".venv/.installed", *arguments]
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT | {"NAME": "machine"}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["mar", "NAME=mine"],
            "error: model_store/mine.mar is missing; make it with: make mar CHECKPOINT=path NAME=mine",
        ),
        (["mar", "NAME=mine", "CHECKPOINT=nowhere.pth"], "error: nowhere.pth does not exist"),
        (["mar", "NAME=mine", "CHECKPOINT=demo/shapes.pth", "LABELS=nowhere.txt"], "error: nowhere.txt does not exist"),
        (["mar", "NAME=mine", "CHECKPOINT=my model.pth"], "make takes no paths with spaces"),
        (["mar", "NAME=my model"], "NAME must be one word without '/', got 'my model'"),
        (["mar", "NAME=../up"], "NAME must be one word without '/', got '../up'"),
        (["mar", "NAME="], "NAME must be one word without '/', got ''"),
    ],
)
def test_says_what_does_not_fit(arguments: list[str], message: str) -> None:
    done = make(*arguments)
    assert done.returncode == 2
    assert message in done.stdout + done.stderr


def test_a_list_of_class_names_is_no_file_to_wait_for() -> None:
    done = make("--dry-run", "mar", "NAME=mine", "CHECKPOINT=demo/shapes.pth", "LABELS=lvis-v0.5")
    assert done.returncode == 0
    assert "--name mine --out model_store  --labels lvis-v0.5" in done.stdout


def test_says_that_without_nvcc_there_are_ops_for_the_cpu_only() -> None:
    done = make("ops", "NVCC=no-such-nvcc")
    assert done.returncode == 0
    assert "no no-such-nvcc here: ops for the CPU only" in done.stdout


def test_says_that_the_fuzzer_of_the_ops_needs_clang() -> None:
    done = make("FUZZ=build/never-built", "FUZZ_CLANG=no-such-clang", "build/never-built/ops-fuzzer")
    assert done.returncode == 2
    assert "error: no-such-clang is missing" in done.stdout


def test_builds_for_the_architectures_asked_for() -> None:
    asked = ("NVCC=true", "CUDA_ARCHITECTURES=80 103", "OBJECTS=build/never-built", "CUDA_LIBRARY=build/never-built.so")
    printed = make("--dry-run", "ops", *asked).stdout
    # The last one as PTX too, which the driver compiles for later cards.
    for architecture in ("compute_80,code=sm_80", "compute_103,code=sm_103", "compute_103,code=compute_103"):
        assert f"-gencode arch={architecture}" in printed
    assert "sm_90" not in printed


def test_the_name_of_the_machine_is_not_taken_for_the_models() -> None:
    assert "--name demo" in make("--dry-run", "predict").stdout


def test_a_version_is_a_file_of_its_own() -> None:
    printed = make("--dry-run", "--always-make", "register", "VERSION=2.0").stdout
    assert "-m export demo/shapes.pth --name demo --out model_store --version 2.0 --preset demo" in printed
    assert "-m server register model_store/demo-2.0.mar --name demo" in printed
    assert "-m server scale 3 --name demo" in make("--dry-run", "scale", "WORKERS=3").stdout


def test_a_port_is_chosen_only_where_one_is_given() -> None:
    environment_of_none = make("--dry-run", "serve", "PORT=").stdout
    assert "-m server start model_store/demo.mar --name demo" in environment_of_none
    assert "--port" not in environment_of_none
    assert "--name demo --port 9080" in make("--dry-run", "serve", "PORT=9080").stdout


def test_ray_is_installed_from_its_lock_and_only_on_demand() -> None:
    assert "--require-hashes --only-binary :all: -r requirements-ray.lock" in make("--dry-run", "-B", "ray").stdout
    assert "ray" not in make("--dry-run", "-B", "setup").stdout


def test_predict_needs_a_picture() -> None:
    done = make("predict", "IMAGE=")
    assert done.returncode == 2
    assert 'predict needs IMAGE="..."' in done.stderr


@pytest.mark.parametrize(
    ("target", "needed"), [("rollback", "VERSION"), ("unregister", "VERSION"), ("scale", "WORKERS")]
)
def test_says_what_is_needed(target: str, needed: str) -> None:
    done = make(target)
    assert done.returncode == 2
    assert f"{target} needs {needed}=" in done.stderr


@pytest.mark.parametrize(
    ("checkpoint", "name"),
    [
        ("coco", "coco"),
        ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x", "mask_rcnn_R_50_FPN_3x"),
        ("tests", "tests"),  # a folder of that name is no checkpoint
    ],
)
def test_a_published_model_needs_no_file_name_or_preset(checkpoint: str, name: str) -> None:
    printed = make("--dry-run", f"CHECKPOINT={checkpoint}", "mar").stdout
    assert f"-m export {checkpoint} --name {name} --out model_store" in printed
    assert "--preset" not in printed
    assert f"--name {name}" in make("--dry-run", f"CHECKPOINT={checkpoint}", "predict").stdout
    assert "-m export coco --name mine" in make("--dry-run", "CHECKPOINT=coco", "NAME=mine", "mar").stdout


def test_only_the_demo_itself_has_its_name_and_preset() -> None:
    printed = make("--dry-run", "--always-make", "mar").stdout
    assert "-m export demo/shapes.pth --name demo --out model_store --preset demo" in printed
    printed = make("--dry-run", "--always-make", "CHECKPOINT=demo/shapes.pth", "mar").stdout
    assert "-m export demo/shapes.pth --name shapes --out model_store" in printed
    assert "--preset" not in printed


def test_other_class_names_are_a_reason_to_export_again(tmp_path: Path) -> None:
    labels, store = tmp_path / "labels.txt", tmp_path / "store"
    for path in (labels, store / "mine.mar"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    os.utime(labels, (4e9, 4e9))
    # --old-file: only the class names may be the reason.
    arguments = ["NAME=mine", "CHECKPOINT=demo/shapes.pth", f"LABELS={labels}", f"STORE={store}", "mar"]
    assert f"--labels {labels}" in make("--dry-run", "-o", "build/mine.export-arguments", *arguments).stdout


def test_compiles_in_a_folder_with_a_space(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    for name in ("Makefile", "ops/build.mk", "tests/fuzz/build.mk", "ops/csrc/library.cpp"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    done = make("build/ops/library.o", folder=folder)
    assert done.returncode == 0, done.stderr
