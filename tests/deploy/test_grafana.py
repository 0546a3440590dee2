"""The dashboard asks for what a running server exports, and shows every metric of ours."""

import json
import re
import time
from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from handler.metrics import METRICS
from tests.served import MODEL, PICTURES, ROOT, detections

if TYPE_CHECKING:
    from server.torchserve import TorchServe

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel.get("targets", [])]
GPU_ONLY = "maskrcnn_graph_capture_seconds"  # a histogram is there from its first value on
Exported = Mapping[str, set[str]]


def selectors(expression: str) -> list[tuple[str, set[str]]]:
    """Metric and labels of each selector of PromQL."""
    found = re.findall(r"([a-zA-Z_]\w*)\{([^}]*)\}", expression)
    return [(name, set(re.findall(r"(\w+)\s*=", inside))) for name, inside in found]


def grouped(expression: str) -> set[str]:
    """Labels that PromQL sums by."""
    return {label for inside in re.findall(r"\bby \(([^)]*)\)", expression) for label in re.split(r",\s*", inside)}


def exported(text: str) -> Exported:
    """Labels of each series name in what Prometheus scrapes."""
    labels: defaultdict[str, set[str]] = defaultdict(set)
    for name, inside in re.findall(r"(?m)^(\w+)\{(.*)\} \S+$", text):
        labels[name] |= set(re.findall(r'(\w+)="', inside))
    return labels


def unknown(expression: str, known: Exported) -> list[str]:
    """What an expression names and no server exports."""
    chosen = selectors(expression)
    missing = [name for name, _ in chosen if name not in known]
    missing += [f"{name}: {label}" for name, labels in chosen if name in known for label in labels - known[name]]
    there = set[str]().union(*(known.get(name, set()) for name, _ in chosen))
    return missing + [f"by {label}" for label in grouped(expression) - there]


def errors(text: str) -> dict[str, float]:
    """Count of each code."""
    return {code: float(n) for code, n in re.findall(r'(?m)^maskrcnn_errors_total\{code="(\w+)",.*\} (\S+)$', text)}


@pytest.fixture(scope="module")
def text(server: "TorchServe") -> str:
    """What Prometheus scrapes of a server that has answered pictures and refused some.

    The numbers reach TorchServe through the worker's log, so a little after the replies.
    """
    for picture in PICTURES[:2]:
        detections(server, picture.read_bytes())
    status, _ = server.request("inference", f"/explanations/{MODEL}", PICTURES[0].read_bytes())
    assert status == 200
    refused = [server.predict(MODEL, b"\x80 no picture"), server.predict(MODEL, PICTURES[0].read_bytes()[:-500])]
    assert [json.loads(body)["error"]["code"] for _, body in refused] == ["not_an_image", "truncated_image"]
    deadline = time.monotonic() + 60
    while not all(errors(server.metrics()).get(code) for code in ("not_an_image", "truncated_image")):
        assert time.monotonic() < deadline, "the errors are not counted"
        time.sleep(0.1)
    time.sleep(0.5)  # what was reported last
    return server.metrics()


@pytest.fixture(scope="module")
def scraped(text: str) -> Exported:
    return exported(text)


def test_every_expression_is_answered_by_a_running_server(scraped: Exported) -> None:
    series = {f"{GPU_ONLY}{end}": {"ModelName", "Level", "Hostname"} for end in ("_count", "_sum")}
    # Declared by TorchServe at its start, but a series only after the first such status.
    host = {"Requests5XX": scraped["Requests4XX"]}
    assert [miss for each in EXPRESSIONS for miss in unknown(each, host | series | scraped)] == []


def test_a_name_or_a_label_that_nobody_exports_is_seen(scraped: Exported) -> None:
    assert unknown('rate(maskrcnn_batch_sizes{ModelName="a"}[5m])', scraped) == ["maskrcnn_batch_sizes"]
    assert unknown('maskrcnn_errors_total{kind="a"}', scraped) == ["maskrcnn_errors_total: kind"]
    assert unknown('sum by (kind) (maskrcnn_errors_total{ModelName="a"})', scraped) == ["by kind"]


def test_every_metric_of_the_table_is_exported(scraped: Exported) -> None:
    for name, metric in METRICS.items():
        if name == GPU_ONLY:
            continue
        series = [name] if metric.kind == "counter" else [f"{name}_bucket", f"{name}_sum", f"{name}_count"]
        wanted = {"ModelName", "Level", "Hostname"} | ({metric.label.name} if metric.label else set())
        for each in series:
            assert scraped[each] - {"le"} == wanted, each


def test_errors_are_exported_by_code(text: str) -> None:
    codes = METRICS["maskrcnn_errors_total"].label
    assert codes is not None
    assert errors(text).keys() == set(codes.values)  # all from the first batch on, so that a first error is an increase


def test_nothing_is_asked_without_a_model_or_a_host() -> None:
    for expression in EXPRESSIONS:
        rest = re.sub(r"\w+\{[^}]*\}|\[[^]]*\]|\bby \([^)]*\)", "", expression)
        assert set(re.findall(r"[a-zA-Z_]\w*", rest)) <= {"sum", "max", "rate", "increase", "histogram_quantile"}
        assert selectors(expression)
        for _, labels in selectors(expression):
            assert labels & {"ModelName", "model_name", "Level"}, expression


def test_every_metric_of_the_table_is_shown() -> None:
    shown = {name for expression in EXPRESSIONS for name, _ in selectors(expression)}
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in shown}
    assert METRICS.keys() - shown == set()


def test_quantiles_are_of_histograms_and_rates_of_counters() -> None:
    for name, ending in re.findall(r"\b(maskrcnn_\w+?)(_bucket|_sum|_count)?\{", " ".join(EXPRESSIONS)):
        assert METRICS[name].kind == ("histogram" if ending else "counter")


def test_ids_are_unique_and_no_panel_lies_on_another() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(ids) == len(set(ids))
    for one, other in combinations([panel["gridPos"] for panel in PANELS], 2):
        apart = [one[axis] + one[side] <= other[axis] or other[axis] + other[side] <= one[axis] for axis, side in AXES]
        assert any(apart), (one, other)
    assert all(each["gridPos"]["x"] >= 0 and each["gridPos"]["x"] + each["gridPos"]["w"] <= 24 for each in PANELS)


AXES = (("x", "w"), ("y", "h"))


def test_only_variables_name_the_data_source_and_the_model() -> None:
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert variables.keys() == {"datasource", "model"}
    assert set(re.findall(r'"uid": "([^"]*)"', json.dumps(DASHBOARD))) == {"${datasource}", DASHBOARD["uid"]}
    text = json.dumps([EXPRESSIONS])
    assert set(re.findall(r"\$(\w+)", text)) == {"model", "__rate_interval"}
    for panel in PANELS:
        targets = [target["refId"] for target in panel.get("targets", [])]
        assert len(targets) == len(set(targets))


def test_the_example_scrapes_where_the_server_exports() -> None:
    (job,) = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    assert f"metrics_address=http://{target}" in (ROOT / "config.properties").read_text().splitlines()
