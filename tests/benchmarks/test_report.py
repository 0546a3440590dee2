"""What benchmarks read and write: batches from metrics, archives with other options, tables, plots, advice."""

import json
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

from benchmarks import peer, scaling, served
from benchmarks.batches import Counted
from benchmarks.repack import Deployment, repack
from benchmarks.report import Report, Row, table
from tests.benchmarks.stand_in import standing_in

LABELS = 'ModelName="demo",Level="Model",Hostname="here"'


def scraped(ones: int, fours: int, tens: int, elevens: int) -> str:
    """A histogram as TorchServe writes it, so many batches of each size."""
    edges = {"0.005": 0, "1.0": ones, "2.5": ones, "5.0": ones + fours, "7.5": ones + fours}
    edges |= {"10.0": ones + fours + tens, "+Inf": ones + fours + tens + elevens}
    lines = [f'maskrcnn_batch_size_bucket{{{LABELS},le="{edge}",}} {float(n)}' for edge, n in edges.items()]
    lines += [f"maskrcnn_batch_size_count{{{LABELS},}} {float(ones + fours + tens + elevens)}"]
    lines += [f"maskrcnn_batch_size_sum{{{LABELS},}} {float(ones + 4 * fours + 10 * tens + 11 * elevens)}"]
    return "\n".join(["# HELP maskrcnn_batch_size x", *lines, f"maskrcnn_batch_size_created{{{LABELS},}} 1.7E9", ""])


def test_batches_are_what_came_between_two_looks() -> None:
    before = Counted.read(scraped(5, 1, 0, 0), "maskrcnn_batch_size")
    between = Counted.read(scraped(7, 3, 1, 2), "maskrcnn_batch_size").since(before)
    assert between.sizes() == {"1": 2, "3-5": 2, "8-10": 1, "more": 2}
    assert between.mean == (2 * 1 + 2 * 4 + 10 + 2 * 11) / 7


def test_nothing_counted_yet_is_no_batch() -> None:
    nothing = Counted.read("# nothing here\n", "maskrcnn_batch_size")
    assert (nothing.sizes(), nothing.mean) == ({}, None)
    assert Counted.read(scraped(1, 0, 0, 0), "maskrcnn_batch_size").since(nothing).sizes() == {"1": 1}


def test_an_archive_gets_other_options_and_keeps_the_rest(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "a.mar", "w") as file:
        file.writestr("model-config.yaml", "batchSize: 4\nresponseTimeout: 9\ndetection: {threads: auto, dtype: x}\n")
        file.writestr("model.pt", b"weights")
    changed = repack(tmp_path / "a.mar", tmp_path / "b.mar", Deployment(2, None, 8, 1).change)
    with ZipFile(changed) as file:
        options = yaml.safe_load(file.read("model-config.yaml"))
        assert file.read("model.pt") == b"weights"
    assert options == {
        "batchSize": 8,
        "maxBatchDelay": 1,
        "minWorkers": 2,
        "maxWorkers": 2,
        "responseTimeout": 9,
        "detection": {"threads": "auto", "dtype": "x"},
    }
    assert Deployment(threads=3).change({})["detection"] == {"threads": 3}


def test_a_table_has_a_column_for_everything_that_fits_in_a_cell() -> None:
    rows: list[Row] = [{"a": 1, "b": 0.1234, "many": {"200": 1}}, {"a": 1234.56, "c": None}]
    assert table(rows).splitlines() == ["| a | b | c |", "|---|---|---|", "| 1 | 0.123 | - |", "| 1234.6 | - | - |"]


def opened() -> list[Row]:
    """Rows of an open loop, the last one of a server that answered nobody."""
    rates = [(2.0, 10, 0, 50.0), (4.0, 20, 0, 80.0), (8.0, 40, 30, 3000.0)]
    rows: list[Row] = [
        {"rate": rate, "requests": n, "failed": bad, "per_second": rate}
        | dict.fromkeys(("p50", "p90", "p99", "max"), ms)
        for rate, n, bad, ms in rates
    ]
    return [*rows, {"rate": 9.0, "requests": 5, "failed": 5} | dict.fromkeys(("p50", "p90", "p99", "max"))]


def test_plots_are_pngs_beside_the_json(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed here")
    closed = [{"pictures": "one", "clients": n, "per_second": 3.0 * n, "failed": 0} for n in (1, 8)]
    report = Report("Served", {"cores": 2}, {"seed": 6}, {"rows": closed, "open": opened()})
    served.with_plots(report, Path("demo.mar")).write(tmp_path / "new" / "served.json")
    workers = [{"workers": n, "pictures": "a", "per_second": 1.0 * n} for n in (1, 2)]
    batches = [{"batchSize": n, "maxBatchDelay": 1, "per_second": 1.0 * n} for n in (1, 2)]
    samples = [{"seconds": float(n), "workers_mb": 400.0, "frontend_mb": 200.0} for n in range(100)]
    tables: dict[str, list[Row]] = {"workers": workers, "batches": batches, "memory": samples}
    scaling.with_plots(Report("Scaling", {"cores": 2}, tables=tables)).write(tmp_path / "new" / "scaling.json")
    drawn = ["served-latency", "served-throughput", "scaling-workers", "scaling-batches", "scaling-memory"]
    for name in drawn:
        assert (tmp_path / "new" / f"{name}.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    text = (tmp_path / "new" / "served.md").read_text()
    assert "![served-latency](served-latency.png)" in text
    assert "seed 6" in text
    assert "| seconds |" not in (tmp_path / "new" / "scaling.md").read_text()  # a hundred rows are for the plot


def test_without_matplotlib_everything_but_the_plots_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    report = Report("Served", {"cores": 2}, tables={"rows": [{"a": 1}]}, notes=["So be it."])
    report.plots["latency"] = lambda path: pytest.fail(f"{path} cannot be drawn")
    report.write(tmp_path / "served.json")
    assert json.loads((tmp_path / "served.json").read_text())["rows"] == [{"a": 1}]
    assert (tmp_path / "served.md").read_text().endswith("So be it.\n")
    assert "matplotlib is not installed" in capsys.readouterr().err


def test_only_the_plots_load_matplotlib() -> None:
    folder = Path(served.__file__).parent
    users = {path.name for path in folder.rglob("*.py") if "import matplotlib" in path.read_text()}
    assert users == {"plots.py"}


def test_rates_are_shares_of_the_capacity_or_what_was_asked_for() -> None:
    assert served.rates_of("auto", 10.0) == [2.5, 5.0, 7.0, 8.0, 9.0, 10.0, 12.0, 15.0]
    assert served.rates_of("3,4.5", 10.0) == [3.0, 4.5]
    assert served.rates_of("none", 10.0) == served.rates_of("auto", 0.0) == []


def test_advice_is_the_cheapest_of_the_fastest() -> None:
    workers = [
        {"workers": n, "threads": 4 // n, "pictures": kind, "per_second": rate}
        for kind, rates in {"large": (9, 1, 1), scaling.MIXED: (10.0, 15.0, 15.3)}.items()
        for n, rate in zip((1, 2, 4), rates, strict=True)
    ]
    batches = [
        {"batchSize": size, "maxBatchDelay": delay, "per_second": rate, "p50_alone": alone}
        for size, delay, rate, alone in ((1, 1, 9.0, 80.0), (4, 10, 12.0, 90.0), (4, 1, 11.9, 81.0), (8, 1, 11.8, 82.0))
    ]
    said = scaling.advice({"workers": workers, "batches": batches}, cores=4)
    assert said[0] == "On 4 cores: workers 2, threads 2 each."
    assert said[1].startswith("batchSize 4, maxBatchDelay 1: 11.9 a second, one client alone waits 81 ms")
    assert scaling.worker_counts(1) == scaling.worker_counts(2) == [1, 2]
    assert scaling.worker_counts(16) == [1, 2, 16]


def test_a_few_noisy_requests_do_not_choose_the_batch_size() -> None:
    rows: list[Row] = [
        {"batchSize": size, "maxBatchDelay": 1, "per_second": 10.0, "p50_alone": alone}
        for size, alone in ((1, None), (4, 82.0), (8, 81.0))
    ]
    assert scaling.cheapest(rows, ["p50_alone", "batchSize"])["batchSize"] == 4
    assert scaling.cheapest(rows[::2], ["p50_alone", "batchSize"])["batchSize"] == 8  # nobody alone was answered by 1
    assert "one client alone waits inf ms" in scaling.advice({"batches": rows[:1]}, cores=2)[0]


def test_a_part_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert scaling.parse_arguments(["--only", "memory,batches"]).only == "memory,batches"
    with pytest.raises(SystemExit) as ended:
        scaling.parse_arguments(["--only", "memory,worker"])
    assert ended.value.code == 2
    assert "--only takes workers, batches, memory, got 'worker'" in capsys.readouterr().err


def test_a_table_is_written_before_the_next_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers: list[Row] = [{"workers": 1, "threads": 2, "pictures": scaling.MIXED, "per_second": 9.0}]

    def fails(*_: object) -> list[Row]:
        raise RuntimeError("the server is gone")

    monkeypatch.setattr(scaling, "worker_rows", lambda *_: workers)
    monkeypatch.setattr(scaling, "batch_rows", fails)
    with pytest.raises(RuntimeError, match="the server is gone"):
        scaling.main(["--out", str(tmp_path / "new" / "scaling.json")])
    assert json.loads((tmp_path / "new" / "scaling.json").read_text())["workers"] == workers


def test_a_refused_request_is_counted_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = served.parse_arguments(["--requests", "8", "--clients", "2"])
    monkeypatch.setattr(served, "afterwards", lambda *_: {})
    monkeypatch.setattr(served.Batches, "now", lambda *_: None)
    with standing_in() as server:
        monkeypatch.setattr(served, "target_of", lambda *_: server.target())
        kinds = {"some": [b"a", b"busy"]}
        (row,) = served.closed_rows(server, kinds, arguments)  # type: ignore[arg-type]
    assert (row["requests"], row["failed"], row["statuses"]) == (8, 4, {"200": 4, "503": 4})


def test_each_model_is_first_in_one_round_of_three() -> None:
    orders = [peer.turns(number) for number in range(4)]
    assert [order[0] for order in orders] == [*peer.MODELS, peer.OURS]
    assert all(sorted(order) == sorted(peer.MODELS) for order in orders)


def test_the_slope_is_of_the_second_half() -> None:
    """Memory that is taken at the beginning is no leak; what grows later is."""
    samples = [{"seconds": float(s), "workers_mb": 100.0 * min(s, 50) + max(0, s - 50)} for s in range(101)]
    assert scaling.slope(samples, "workers_mb") == pytest.approx(3600)
    assert scaling.slope(samples[:1], "workers_mb") == 0


def test_the_peer_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("benchmarks.peer.missing", lambda: ["torchvision", "captum"])
    with pytest.raises(SystemExit) as ended:
        peer.main([])
    assert ended.value.code == 2
    assert "needs torchvision, captum, not installed here" in capsys.readouterr().err


def test_detections_agree_only_if_class_box_and_score_do() -> None:
    ours = {"class": "star", "box": [1.0, 2.0, 3.0, 4.0], "score": 0.9}
    assert peer._agree({"star": [1.05, 2.0, 3.0, 4.0], "score": 0.9001}, ours)
    assert not peer._agree({"circle": [1.0, 2.0, 3.0, 4.0], "score": 0.9}, ours)
    assert not peer._agree({"star": [1.0, 2.0, 3.0, 4.2], "score": 0.9}, ours)
    assert not peer._agree({"star": [1.0, 2.0, 3.0, 4.0], "score": 0.7}, ours)
