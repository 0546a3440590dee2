"""Each manifest is what its kind's schema allows, and nothing that a cluster would drop or refuse."""

import copy
from typing import Any

import kubernetes_validate
import pytest
from jsonschema import Draft202012Validator

from tests.deploy.manifests import FOLDERS, Document, documents, rendered, schema, the
from tests.deploy.schemas.from_kserve import OF_KUBERNETES

# The oldest that KServe supports and the newest that the package knows.
VERSIONS = ("1.32", "1.37")
OTHERS = {
    "ServiceMonitor": "servicemonitor",
    "ServingRuntime": "servingruntime",
    "InferenceService": "inferenceservice",
}
ALL = [(folder, document) for folder in FOLDERS for document in documents(folder)]
IDS = [f"{folder}-{document['kind']}" for folder, document in ALL]


def mistakes(document: Document, version: str) -> list[str]:
    """What is wrong with it, each in a line."""
    if document["kind"] not in OTHERS:
        return mistakes_by_kubernetes(document, version)
    known = schema(OTHERS[document["kind"]])
    found = Draft202012Validator(known).iter_errors(document)
    lines = [f"{error.json_path}: {error.message}" for error in found]
    return [*lines, *(each for pod in pods_in(document, known) for each in mistakes_by_kubernetes(pod, version))]


def mistakes_by_kubernetes(document: Document, version: str) -> list[str]:
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [str(error)]
    return []


def pods_in(document: Document, known: Document) -> list[Document]:
    """What KServe makes pods of, as pods: a runtime's spec, and a service's predictor."""
    if document["kind"] == "ServiceMonitor":
        return []
    runtime = document["kind"] == "ServingRuntime"
    spec = document["spec"] if runtime else document["spec"]["predictor"]
    definition = known["$defs"]["V1alpha1ServingRuntimeSpec" if runtime else "V1beta1PredictorSpec"]
    fields = {name: spec[name] for name in spec.keys() & of_a_pod(definition)}
    pod = {"containers": [{"name": "anything", "image": "anything"}]} | fields
    return [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "made-of-it"}, "spec": pod}]


def of_a_pod(definition: Document) -> set[str]:
    """Names of the fields that have a type of Kubernetes."""
    properties: Document = definition["properties"]
    return {
        name
        for name, each in properties.items()
        if (each.get("items") or each).get("$comment", "").startswith(OF_KUBERNETES)
    }


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("folder", "document"), ALL, ids=IDS)
def test_the_schema_allows_it(folder: str, document: Document, version: str) -> None:
    assert mistakes(document, version) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_schema_allows_what_kustomize_makes_of_it(folder: str) -> None:
    found = rendered(folder)
    assert found
    assert [mistake for document in found for mistake in mistakes(document, VERSIONS[-1])] == []


MISTAKES: list[tuple[str, str, tuple[Any, ...], Any]] = [
    ("Deployment", "kubernetes", ("spec", "template", "spec", "containers", 0, "readinessProb"), {}),
    ("Deployment", "kubernetes", ("spec", "template", "spec", "containers", 0, "ports"), [{"containerPort": "http"}]),
    ("Service", "kubernetes", ("spec", "port"), 80),
    ("HorizontalPodAutoscaler", "kubernetes", ("spec", "maxReplicas"), "many"),
    ("NetworkPolicy", "kubernetes", ("spec", "ingres"), []),
    ("PodDisruptionBudget", "kubernetes", ("spec", "minAvailabe"), 1),
    ("ServiceMonitor", "kubernetes", ("spec", "endpoints"), [{"prt": "metrics"}]),
    ("ServiceMonitor", "kubernetes", ("spec", "selector"), "maskrcnn"),
    ("ServingRuntime", "kserve", ("spec", "supportedModelFormat"), []),
    ("ServingRuntime", "kserve", ("spec", "containers", 0, "volumeMount"), []),
    ("InferenceService", "kserve", ("spec", "predictor", "model", "modelFormat"), "maskrcnn-mar"),
    ("InferenceService", "kserve", ("spec", "predictor", "model", "storageURI"), "pvc://models"),
    ("InferenceService", "kserve", ("spec", "predictor", "terminationGracePeriodSecond"), 160),
]


@pytest.mark.parametrize(
    ("kind", "folder", "path", "value"), MISTAKES, ids=[f"{kind}-{path[-1]}" for kind, _, path, _ in MISTAKES]
)
def test_a_mistake_is_seen(kind: str, folder: str, path: tuple[Any, ...], value: object) -> None:
    document = copy.deepcopy(the(kind, folder))
    at: Any = document
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    assert mistakes(document, VERSIONS[-1])


@pytest.mark.parametrize("name", OTHERS.values())
def test_a_schema_says_where_it_is_from(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    assert schema(name)["$comment"]
