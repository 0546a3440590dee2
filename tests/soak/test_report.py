"""The ledger's files say what was found, of runs before ``added_megabytes``, too."""

import gzip
import json
from pathlib import Path
from typing import Any

from tests.soak.ledger import RIGHT, Row
from tests.soak.memory import Sample
from tests.soak.report import markdown, summary, written
from tests.soak.scenarios import Result

GROWTH = {"role": "worker", "pid": 7, "megabytes": 500.0, "percent_an_hour": 1.5, "seconds": 60.0}


def result_of(growth: dict[str, Any]) -> Result:
    row = Row("t-1", "traffic", "good", 1.0, 1.0, 2.0, "answered", 200, verdict=RIGHT)
    lost = Row("t-2", "traffic", "good", 1.0, 1.0, 2.0, "timeout", difference="lost")
    return Result(
        "traffic", [row, lost], {"memory": [growth]}, ["worker 8 was lost"], ["slow"], [Sample(1, "w", 7, 1, 1)]
    )


def test_a_page_says_what_is_wrong() -> None:
    results = [result_of(GROWTH | {"added_megabytes": 20.0})]
    page = markdown(summary(results, {"cores": 2}, 3), results)
    assert "# Soak: 2 requests, 1 unexplained" in page
    assert "- **wrong**: worker 8 was lost" in page
    assert "unexplained: traffic t-2 [good] timeout" in page
    assert "+1.50 % an hour (+20.0 MB over 60 s)" in page


def test_growth_of_an_older_run_is_shown_without_what_it_does_not_say() -> None:
    results = [result_of(GROWTH)]
    assert "+1.50 % an hour (over 60 s)" in markdown(summary(results, {}, 3), results)


def test_each_request_is_a_line(tmp_path: Path) -> None:
    results = [result_of(GROWTH)]
    written(tmp_path / "made", ledger := summary(results, {}, 3), results)
    with gzip.open(tmp_path / "made" / "requests.jsonl.gz", "rt") as file:
        assert [Row(**json.loads(line)) for line in file] == results[0].rows
    assert json.loads((tmp_path / "made" / "ledger.json").read_text()) == ledger
