"""The autoscaler's metric is made of what a running server exports, and is what its name says."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import yaml

from tests.deploy.manifests import CONFIG, DEPLOY, settings, the
from tests.deploy.test_grafana import exported
from tests.served import MODEL, PICTURES, detections, metric, wait_for_metric

if TYPE_CHECKING:
    from server.torchserve import TorchServe

(RULE,) = yaml.safe_load((DEPLOY / "kubernetes" / "prometheus-adapter.yml").read_text())["rules"]["custom"]
SERIES = RULE["seriesQuery"].partition("{")[0]
# What Prometheus adds to each series of a ServiceMonitor's target; the adapter finds the pods by them.
ADDED = {"namespace", "pod"}
MICROSECONDS = 1e6


def scaled_by() -> dict[str, Any]:
    (found,) = the("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert found["type"] == "Pods"
    pods: dict[str, Any] = found["pods"]
    return pods


def test_the_autoscaler_asks_for_the_rules_metric() -> None:
    assert scaled_by()["metric"]["name"] == RULE["name"]["as"]
    assert scaled_by()["target"]["type"] == "AverageValue"


def test_the_rule_is_of_a_series_that_a_running_server_exports(server: "TorchServe") -> None:
    detections(server, PICTURES[0].read_bytes())
    wait_for_metric(server, SERIES, above=0)
    labels = exported(server.metrics())
    assert SERIES in labels
    asked = set(re.findall(r"(\w+)!?=", RULE["seriesQuery"]))
    assert asked == ADDED == set(RULE["resources"]["overrides"])
    assert not ADDED & labels[SERIES]  # Prometheus would rename its own to exported_pod


def test_the_query_is_the_adapters_template() -> None:
    query = RULE["metricsQuery"]
    assert set(re.findall(r"<<(.*?)>>", query)) == {".GroupBy", ".Series", ".LabelMatchers"}
    (window,) = re.findall(r"\[(\d+)m\]", query)
    (endpoint,) = the("ServiceMonitor")["spec"]["endpoints"]
    assert int(window) * 60 >= 4 * int(endpoint["interval"].removesuffix("s"))  # a rate of two samples is a chance
    assert float(query.rpartition("/")[2]) == MICROSECONDS


def seconds_in_queue(server: "TorchServe") -> float:
    return metric(server, SERIES) / MICROSECONDS


def test_the_series_counts_microseconds_in_the_queue(server: "TorchServe") -> None:
    """A lone request waits for company (maxBatchDelay); several wait less than their clients do, all together."""
    picture = PICTURES[0].read_bytes()
    answered = metric(server, "ts_inference_requests_total")
    waited, sent = seconds_in_queue(server), []

    def ask(_: int) -> None:
        begin = time.monotonic()
        detections(server, picture)
        sent.append(time.monotonic() - begin)

    ask(0)
    wait_for_metric(server, "ts_inference_requests_total", above=answered)
    alone = seconds_in_queue(server) - waited
    delay = float(re.findall(r'"maxBatchDelay": (\d+)', description(server))[0]) / 1000
    assert 0.5 * delay < alone < sent[0]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    wait_for_metric(server, "ts_inference_requests_total", above=answered + 8)
    together = seconds_in_queue(server) - waited
    assert alone < together < sum(sent)


def description(server: "TorchServe") -> str:
    status, body = server.request("management", f"/models/{MODEL}")
    assert status == 200
    return body.decode()


def test_the_queue_is_longer_than_the_target() -> None:
    """Pods are added before clients are refused."""
    assert float(scaled_by()["target"]["averageValue"]) < int(settings(CONFIG)["job_queue_size"]) / 4
