"""The configuration of a container is the project's own, but for what a cluster needs otherwise."""

from server.addresses import Addresses
from tests.deploy.manifests import CONFIG, settings
from tests.served import ROOT

OURS = settings((ROOT / "config.properties").read_text())
# All that differs, and to what.
DIFFERS = {
    "inference_address": "http://0.0.0.0:8080",
    "metrics_address": "http://0.0.0.0:8082",
    "disable_token_authorization": "true",
    "enable_model_api": "false",
}


def test_only_what_is_listed_differs() -> None:
    theirs = settings(CONFIG)
    assert {name: theirs[name] for name in DIFFERS} == DIFFERS
    assert {name: OURS[name] for name in DIFFERS} != DIFFERS
    assert theirs == OURS | DIFFERS


def test_the_ports_are_the_same() -> None:
    assert Addresses.in_properties(CONFIG) == Addresses()


def test_what_has_no_token_and_no_client_in_the_cluster_listens_in_the_pod_only() -> None:
    theirs = settings(CONFIG)
    for name in ("management_address", "grpc_inference_address", "grpc_management_address"):
        assert theirs[name].removeprefix("http://").startswith("127.0.0.1"), name
