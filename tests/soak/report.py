"""The ledger as files: JSON for programs, Markdown for people, and each request in one line."""

import gzip
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.soak.ledger import Row, unexplained
from tests.soak.memory import as_lines
from tests.soak.scenarios import Result


def summary(results: Sequence[Result], machine: dict[str, Any], minutes: float) -> dict[str, Any]:
    """The whole ledger without its rows.

    Args:
        results: Of the scenarios.
        machine: As ``benchmarks/machine.py`` describes it.
        minutes: That were asked for.
    """
    rows = [row for result in results for row in result.rows]
    return {
        "machine": machine,
        "minutes": minutes,
        "requests": len(rows),
        "unexplained": len(unexplained(rows)),
        "scenarios": [_scenario(each) for each in results],
    }


def _scenario(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "requests": len(result.rows),
        "classes": dict(Counter(row.verdict for row in result.rows)),
        "statuses": dict(Counter(str(row.status or row.outcome) for row in result.rows)),
        "figures": result.figures,
        "findings": result.findings,
        "not_met": result.slow,
    }


def written(folder: Path, ledger: dict[str, Any], results: Sequence[Result]) -> None:
    """Write all files.

    Args:
        folder: Where to; made if it is not there.
        ledger: See ``summary``.
        results: With the rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ledger.json").write_text(json.dumps(ledger, indent=2) + "\n")
    (folder / "ledger.md").write_text(markdown(ledger, results))
    (folder / "memory.csv").write_text(as_lines([each for result in results for each in result.samples]))
    with gzip.open(folder / "requests.jsonl.gz", "wt") as file:
        for result in results:
            file.writelines(json.dumps(asdict(row), separators=(",", ":")) + "\n" for row in result.rows)


def markdown(ledger: dict[str, Any], results: Sequence[Result]) -> str:
    """The ledger on one page.

    Args:
        ledger: See ``summary``.
        results: With the rows, for those that are unexplained.
    """
    machine = ", ".join(f"{key} {value}" for key, value in ledger["machine"].items() if value is not None)
    lines = [
        f"# Soak: {ledger['requests']:,} requests, {ledger['unexplained']} unexplained",
        "",
        f"`make soak MINUTES={ledger['minutes']:g}`; {machine}.",
        "",
        "| scenario | requests | class | of them |",
        "|---|---|---|---|",
    ]
    for each in ledger["scenarios"]:
        lines += [f"| {each['name']} | {each['requests']:,} | {name} | {n:,} |" for name, n in each["classes"].items()]
    for each in ledger["scenarios"]:
        lines += ["", f"## {each['name']}", ""] + [f"- {text}" for text in _figures(each["figures"])]
        lines += [f"- statuses: {', '.join(f'{key}: {n:,}' for key, n in each['statuses'].items())}"]
        lines += [f"- **wrong**: {text}" for text in each["findings"]]
        lines += [f"- goal not met: {text}" for text in each["not_met"]]
    lines += ["", *row_lines([row for result in results for row in result.rows])]
    return "\n".join(lines).rstrip() + "\n"


def row_lines(rows: Sequence[Row], most: int = 50) -> list[str]:
    """The unexplained ones."""
    found = unexplained(rows)
    shown = [
        f"unexplained: {row.scenario} {row.request} [{row.case}] {row.outcome} {row.status} {row.code!r} "
        f"{row.difference or ''} after {row.latency:.2f} s"
        for row in found[:most]
    ]
    return shown + ([f"and {len(found) - most} more"] if len(found) > most else [])


def _figures(figures: dict[str, Any]) -> list[str]:
    lines = []
    for name, value in figures.items():
        if name == "memory":
            lines += [
                f"{each['role']}: {each['megabytes']:.0f} MB, {each['percent_an_hour']:+.2f} % an hour "
                f"({_added(each)}over {each['seconds']:.0f} s)"
                for each in value
            ]
        else:
            lines.append(f"{name}: {_shown(value)}")
    return lines


def _added(growth: dict[str, Any]) -> str:
    return f"{growth['added_megabytes']:+.1f} MB " if "added_megabytes" in growth else ""


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(each)}" for key, each in value.items())
    return str(value)
