"""What the manifests mean: names, ports, probes and limits agree with each other and with the code."""

import inspect
import re
from typing import Any

import pytest
import yaml

from server.addresses import Addresses
from server.pod import COMMANDS, drain
from tests.deploy.manifests import (
    CONFIG,
    CONTAINER,
    DEPLOY,
    DEPLOYMENT,
    POD,
    PREDICTOR,
    RUNTIME,
    RUNTIME_CONTAINER,
    VOLUMES,
    Document,
    documents,
    rendered,
    settings,
    the,
)

LABELS = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
SERVICE, POLICY, SCALER = the("Service"), the("NetworkPolicy"), the("HorizontalPodAutoscaler")
PORTS = Addresses.in_properties(CONFIG)
CONTAINERS = pytest.mark.parametrize("container", [CONTAINER, RUNTIME_CONTAINER], ids=["kubernetes", "kserve"])
UNITS = {"Mi": 2**20, "Gi": 2**30}


def number_of_bytes(quantity: str) -> int:
    return int(quantity[:-2]) * UNITS[quantity[-2:]]


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return bool(selector) and selector.items() <= labels.items()


@pytest.mark.parametrize(
    "selector",
    [
        DEPLOYMENT["spec"]["selector"]["matchLabels"],
        SERVICE["spec"]["selector"],
        POLICY["spec"]["podSelector"]["matchLabels"],
        the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        POD["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ],
    ids=["deployment", "service", "policy", "budget", "spread"],
)
def test_selectors_match_the_pods(selector: dict[str, str]) -> None:
    assert selects(selector, LABELS)


def test_prometheus_finds_the_service_and_its_port() -> None:
    monitor = the("ServiceMonitor")["spec"]
    assert selects(monitor["selector"]["matchLabels"], SERVICE["metadata"]["labels"])
    (endpoint,) = monitor["endpoints"]
    (port,) = [each for each in SERVICE["spec"]["ports"] if each["name"] == endpoint["port"]]
    assert port["targetPort"] == "metrics"
    assert endpoint["path"] == "/metrics"


def test_the_containers_ports_are_those_of_the_configuration() -> None:
    named = {each["name"]: each["containerPort"] for each in CONTAINER["ports"]}
    assert named == {"http": PORTS.inference, "metrics": PORTS.metrics}
    assert {each["name"]: each["targetPort"] for each in SERVICE["spec"]["ports"]} == {name: name for name in named}
    assert [each["containerPort"] for each in RUNTIME_CONTAINER["ports"]] == [PORTS.inference]
    assert RUNTIME["annotations"]["prometheus.kserve.io/port"] == str(PORTS.metrics)


@pytest.mark.parametrize("folder", ["kubernetes", "kserve"])
def test_who_may_ask_what(folder: str) -> None:
    """The ingress the inference API, Prometheus the metrics, and nobody anything else."""
    spec = the("NetworkPolicy", folder)["spec"]
    assert "Ingress" in spec["policyTypes"]
    allowed = {rule["ports"][0]["port"]: rule["from"] for rule in spec["ingress"]}
    assert all(len(rule["ports"]) == 1 for rule in spec["ingress"])
    assert allowed.keys() == {PORTS.inference, PORTS.metrics}
    (prometheus,) = allowed[PORTS.metrics]
    assert prometheus["podSelector"]["matchLabels"]
    for peers in allowed.values():
        (peer,) = peers
        assert peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]  # not every namespace
    assert allowed[PORTS.inference] != allowed[PORTS.metrics]


def test_the_server_may_ask_nobody() -> None:
    assert "Egress" in POLICY["spec"]["policyTypes"]
    assert POLICY["spec"]["egress"] == []


def test_kserves_policy_is_for_the_pods_of_its_service() -> None:
    selector = the("NetworkPolicy", "kserve")["spec"]["podSelector"]["matchLabels"]
    assert selector == {"serving.kserve.io/inferenceservice": the("InferenceService", "kserve")["metadata"]["name"]}


def commands_of(container: Document) -> list[list[str]]:
    handlers = [container[probe] for probe in ("startupProbe", "readinessProbe")] + [container["lifecycle"]["preStop"]]
    return [each["exec"]["command"] for each in handlers]


@CONTAINERS
def test_the_probes_and_the_hook_run_commands_that_there_are(container: Document) -> None:
    commands = commands_of(container)
    assert [command[:-1] for command in commands] == [["python", "-m", "server.pod"]] * 3
    assert [command[-1] for command in commands] == ["started", "ready", "drain"]
    assert {command[-1] for command in commands} <= COMMANDS.keys()
    assert "command" not in container  # the image's own
    assert "args" not in container


@CONTAINERS
def test_loading_takes_no_life(container: Document) -> None:
    """The startup probe waits longer than loading may take, and liveness for it; then it asks the frontend alone."""
    startup, liveness = container["startupProbe"], container["livenessProbe"]
    assert startup["failureThreshold"] * startup["periodSeconds"] > int(settings(CONFIG)["default_startup_timeout"])
    assert liveness["httpGet"]["path"] == "/ping"
    assert liveness["httpGet"]["port"] in ("http", PORTS.inference)
    assert liveness["failureThreshold"] * liveness["periodSeconds"] >= 60


@CONTAINERS
def test_probes_wait_longer_than_what_they_ask(container: Document) -> None:
    asks = re.search(r"is_ready\(pod\.model, timeout=(\d+)\)", inspect.getsource(COMMANDS["started"]))
    assert asks
    assert container["startupProbe"]["timeoutSeconds"] > int(asks[1])
    assert container["readinessProbe"]["timeoutSeconds"] > 3  # has_loaded's own


@pytest.mark.parametrize("grace", [POD, PREDICTOR], ids=["kubernetes", "kserve"])
def test_the_end_waits_for_the_longest_request(grace: Document) -> None:
    defaults = {name: each.default for name, each in inspect.signature(drain).parameters.items()}
    assert defaults["timeout"] > int(settings(CONFIG)["default_response_timeout"])
    assert grace["terminationGracePeriodSeconds"] >= defaults["leave"] + defaults["timeout"] + 15


@CONTAINERS
def test_the_container_may_do_nothing_beyond_its_work(container: Document) -> None:
    """What Kubernetes calls `restricted`, and a root file system that nobody writes."""
    own = (POD["securityContext"] if container is CONTAINER else {}) | container["securityContext"]
    assert own["runAsNonRoot"] is True
    assert own["runAsUser"] == 10001
    assert own["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["allowPrivilegeEscalation"] is False
    assert own["readOnlyRootFilesystem"] is True
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert "privileged" not in own
    pod = POD if container is CONTAINER else PREDICTOR
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & (POD.keys() | PREDICTOR.keys() | RUNTIME.keys())


def test_the_namespace_refuses_pods_that_ask_for_more() -> None:
    labels = the("Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    kustomization = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())
    assert kustomization["namespace"] == the("Namespace")["metadata"]["name"]


@pytest.mark.parametrize(
    ("container", "volumes"), [(CONTAINER, POD["volumes"]), (RUNTIME_CONTAINER, RUNTIME["volumes"])]
)
def test_every_mount_has_its_volume(container: Document, volumes: list[Document]) -> None:
    assert sorted(each["name"] for each in container["volumeMounts"]) == sorted(each["name"] for each in volumes)
    for volume in volumes:
        if "emptyDir" in volume:
            # On the node's disk: a `medium: Memory` would count against the container's memory.
            assert volume["emptyDir"].keys() == {"sizeLimit"}


def test_the_configuration_is_the_generated_one() -> None:
    (generated,) = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())["configMapGenerator"]
    assert VOLUMES["config"]["configMap"]["name"] == generated["name"]
    (mount,) = [each for each in CONTAINER["volumeMounts"] if each["name"] == "config"]
    variables = {each["name"]: each["value"] for each in CONTAINER["env"]}
    assert variables["TORCHSERVE_CONFIG"] == f"{mount['mountPath']}/{generated['files'][0]}"


@CONTAINERS
def test_the_memory_holds_javas_heap_and_a_worker(container: Document) -> None:
    heap = re.search(r"-Xmx(\d+)g", CONFIG)
    assert heap
    limits = container["resources"]["limits"]
    assert limits == container["resources"]["requests"]  # what the scheduler promised is what there is
    assert number_of_bytes(limits["memory"]) >= (int(heap[1]) + 1.5) * 2**30


def test_a_node_may_be_drained_and_somebody_still_answers() -> None:
    assert SCALER["spec"]["minReplicas"] > the("PodDisruptionBudget")["spec"]["maxUnavailable"]
    assert SCALER["spec"]["scaleTargetRef"] == {
        "apiVersion": DEPLOYMENT["apiVersion"],
        "kind": "Deployment",
        "name": DEPLOYMENT["metadata"]["name"],
    }
    assert "replicas" not in DEPLOYMENT["spec"]  # each apply would undo the scaler's number


def test_kserves_runtime_is_ours_with_its_own_folders() -> None:
    same = ("startupProbe", "readinessProbe", "lifecycle", "resources")
    assert {name: RUNTIME_CONTAINER[name] for name in same} == {name: CONTAINER[name] for name in same}
    variables = {each["name"]: each["value"] for each in RUNTIME_CONTAINER["env"]}
    assert variables == {"MODEL_NAME": "{{.Name}}", "MODEL_STORE": "/mnt/models"}
    assert [each["name"] for each in RUNTIME["volumes"]] == ["run", "tmp"]
    assert RUNTIME_CONTAINER["name"] == "kserve-container"  # KServe looks for it


def test_the_service_asks_for_that_runtime() -> None:
    model = PREDICTOR["model"]
    assert model["runtime"] == the("ServingRuntime", "kserve")["metadata"]["name"]
    (format_,) = RUNTIME["supportedModelFormats"]
    assert model["modelFormat"] == {name: format_[name] for name in ("name", "version")}
    assert model["protocolVersion"] in RUNTIME["protocolVersions"]


def images(found: list[Document]) -> set[str]:
    specs = [each["spec"].get("template", each)["spec"] for each in found if each["kind"] in RUN]
    return {container["image"] for spec in specs for container in spec["containers"]}


RUN = ("Deployment", "ServingRuntime")


@pytest.mark.parametrize(
    ("folder", "image"),
    [("kubernetes", "maskrcnn:demo"), ("kubernetes-gpu", "maskrcnn:demo-gpu"), ("kserve", "maskrcnn:server")],
)
def test_the_images_are_those_that_the_dockerfile_names(folder: str, image: str) -> None:
    assert images(rendered(folder)) == {image}
    assert f"-t {image} " in (DEPLOY / "Dockerfile").read_text()


def test_a_gpus_pod_is_the_other_with_a_gpu() -> None:
    plain = {each["kind"]: each for each in rendered("kubernetes")}
    with_gpu = {each["kind"]: each for each in rendered("kubernetes-gpu")}
    deployment = with_gpu["Deployment"]["spec"]
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}  # no GPU is to spare
    mine = without(container, "resources", "image")
    assert mine == without(plain["Deployment"]["spec"]["template"]["spec"]["containers"][0], "resources", "image")
    for kind in plain.keys() - {"Deployment"}:
        assert plain[kind] == with_gpu[kind]


def without(document: Document, *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


def test_every_file_is_in_use() -> None:
    for folder in ("kubernetes", "kserve"):
        files = {path.name for path in (DEPLOY / folder).glob("*.yaml")} - {"kustomization.yaml"}
        assert files == set(yaml.safe_load((DEPLOY / folder / "kustomization.yaml").read_text())["resources"])
        assert len(documents(folder)) == len(files)
