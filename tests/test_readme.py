"""The README's commands, run as a newcomer types them: in order, in a copy of the checkout, on free ports."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from handler.metrics import METRICS
from handler.settings import Settings
from server.addresses import Addresses
from tests.export.frameworks import NETWORKS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def shape_of(value: object) -> object:
    """The keys of a JSON value, at every depth; a list is what its first element is."""
    if isinstance(value, dict):
        return {key: shape_of(each) for key, each in value.items()}
    return [shape_of(value[0])] if isinstance(value, list) and value and isinstance(value[0], dict) else None


@pytest.fixture
def checkout(tmp_path: Path, tracked: list[str]) -> Path:
    """What git would clone, what was built of it, and the user's own checkpoint."""
    built = [str(path.relative_to(ROOT)) for folder in ("build/ops", "ops/lib") for path in (ROOT / folder).rglob("*")]
    for name in [*tracked, *built]:
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    shutil.copy(ROOT / "demo" / "shapes.pth", tmp_path / "my_model.pth")
    (tmp_path / "my_labels.txt").write_text("background\ncircle\nsquare\ntriangle\nstar\n")
    return tmp_path


@pytest.fixture
def temporary() -> Iterator[str]:
    """A short folder: TorchServe's sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="readme-") as folder:
        yield folder


@pytest.mark.slow
def test_the_commands_work_in_order(checkout: Path, temporary: str) -> None:
    addresses = Addresses.free()
    config = checkout / "config.properties"
    config.write_text(addresses.write_into(config.read_text()))
    script = "\n".join(["set -euo pipefail", *blocks("bash")])
    for default, port in ((8080, addresses.inference), (8081, addresses.management), (8082, addresses.metrics)):
        script = script.replace(f":{default}/", f":{port}/")
    environment = os.environ | {"PORT": str(addresses.inference), "TMPDIR": temporary, "TEMP": temporary}
    # An outer make would hand its own variables to the ones in the script.
    environment = {name: value for name, value in environment.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    log = checkout / "commands.log"
    try:
        with log.open("wb") as output:  # not a pipe: the server inherits it and would keep it open
            run = subprocess.run(
                ["bash", "-x", "-c", script],
                cwd=checkout,
                env=environment,
                stdout=output,
                stderr=output,
                timeout=900,
                check=False,
            )
    finally:
        stop = [sys.executable, "-m", "ts.model_server", "--stop"]
        subprocess.run(stop, cwd=checkout, env=environment, stdout=subprocess.DEVNULL, check=False)
    assert run.returncode == 0, log.read_text()[-5000:]
    answer = json.loads((checkout / "answer.json").read_text())
    assert shape_of(answer) == shape_of(json.loads(blocks("json")[0]))
    assert (checkout / "build" / "predictions" / "shapes_02.png").is_file()
    assert (checkout / "model_store" / "repacked.mar").is_file()


def test_the_python_example_works() -> None:
    (example,) = blocks("python")
    run = subprocess.run([sys.executable, "-c", example + "\nprint(kept)"], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout == "tensor([0])\n", run.stderr


def test_the_settings_table_names_every_setting_with_its_default() -> None:
    rows = re.findall(r"(?m)^\| `(\w+)` \| ([^|]+) \|", README)
    table = {name: default.strip() for name, default in rows if name in {field.name for field in fields(Settings)}}
    settings = {field.name: field.default for field in fields(Settings) if field.name != "workers"}
    assert table.keys() == settings.keys()
    for name, default in settings.items():
        assert default is not MISSING
        if isinstance(default, bool):
            assert table[name] == str(default).lower()
        elif isinstance(default, int):
            assert table[name] == f"{default:,}"
        elif isinstance(default, str):
            assert table[name] == default


def test_the_metrics_table_is_that_of_the_code() -> None:
    rows = re.findall(r"(?m)^\| `(maskrcnn_\w+)` \| (\w+) \| (?:`(\w+)`)? ?\| (.+) \|$", README)
    labels = {name: metric.label.name if metric.label else "" for name, metric in METRICS.items()}
    assert rows == [(name, metric.kind, labels[name], metric.meaning) for name, metric in METRICS.items()]


def test_make_lists_every_target_of_the_readme() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"(?m)^  make ([a-z-]+)", listed))
    wanted = [
        *("setup", "ops", "mar", "serve", "stop", "predict", "page", "ready"),
        *("register", "versions", "scale", "rollback", "unregister"),
        *("test", "check", "bench", "bench-peer", "bench-ray", "ray", "gpu-check", "clean", "lock", "audit"),
        *("soak", "fuzz", "fuzz-threads", "fuzz-replay"),
    ]
    assert targets >= {"help", *wanted}
    written = [*blocks("bash"), *blocks("sh")]  # what stands in the latter is run by no test
    used = {name for block in written for name in re.findall(r"(?m)^(?:sudo )?make ([a-z-]+)", block)}
    assert {"serve", "page", "soak", "fuzz"} <= used <= targets


def test_the_table_of_networks_names_every_test() -> None:
    """Each row is backed by tests that exist, and each tested network stands in a row."""
    rows = re.findall(r"^\| ([\w-]+) \| .* \| (golden|reference) \| (.*) \|$", README, flags=re.MULTILINE)
    named = [(framework, variant) for framework, _, tests in rows for variant in tests.split(", ")]
    assert sorted(set(named)) == sorted(NETWORKS)
