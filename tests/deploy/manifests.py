"""The manifests of deploy/, read: what the tests of their meaning look at."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.served import ROOT

Document = dict[str, Any]
DEPLOY = ROOT / "deploy"
FOLDERS = ("kubernetes", "kubernetes-gpu", "kserve")
CONFIG = (DEPLOY / "kubernetes" / "config.properties").read_text()


def settings(properties: str) -> dict[str, str]:
    """The settings of a config.properties."""
    written = [line for line in properties.splitlines() if line and not line.startswith("#")]
    found = dict(line.split("=", 1) for line in written)
    assert len(found) == len(written), "a setting stands there twice"
    return found


def documents(folder: str) -> list[Document]:
    """What the kustomization of a folder lists, as it is written."""
    kustomization = yaml.safe_load((DEPLOY / folder / "kustomization.yaml").read_text())
    files = [DEPLOY / folder / name for name in kustomization["resources"]]
    return [document for file in files if file.is_file() for document in yaml.safe_load_all(file.read_text())]


def the(kind: str, folder: str = "kubernetes") -> Document:
    """The one document of a kind."""
    (found,) = [each for each in documents(folder) if each["kind"] == kind]
    return found


def rendered(folder: str) -> list[Document]:
    """What ``kubectl apply -k`` would send."""
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl here")
    command = ["kubectl", "kustomize", str(DEPLOY / folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def schema(name: str) -> Document:
    """One of the schemas in tests/deploy/schemas; its ``$comment`` says where it is from."""
    read: Document = json.loads((Path(__file__).parent / "schemas" / f"{name}.json").read_text())
    return read


DEPLOYMENT = the("Deployment")
POD = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
VOLUMES = {each["name"]: each for each in POD["volumes"]}
RUNTIME = the("ServingRuntime", "kserve")["spec"]
(RUNTIME_CONTAINER,) = RUNTIME["containers"]
PREDICTOR = the("InferenceService", "kserve")["spec"]["predictor"]
