"""What a benchmark leaves behind: JSON with everything, Markdown with what is worth reading, and plots."""

import importlib.util
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import Facts, as_line

Row = dict[str, Any]
Plot = Callable[[Path], None]
LONGEST = 60  # rows of a table that is worth reading; longer ones are for the JSON and the plots


@dataclass
class Report:
    """A benchmark's results.

    Attributes:
        title: What was measured.
        machine: On what.
        settings: How; for the JSON and one line of the Markdown.
        tables: Rows by their heading.
        notes: Sentences under the tables.
        plots: What draws a picture, by the end of its file's name.
    """

    title: str
    machine: Facts
    settings: Mapping[str, Any] = field(default_factory=dict)
    tables: dict[str, list[Row]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    plots: dict[str, Plot] = field(default_factory=dict)

    def markdown(self) -> str:
        """All but the plots."""
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        parts = [f"# {self.title}", as_line(self.machine) + (f"\n\n{settings}" if settings else "")]
        parts += [f"## {heading}\n\n{table(rows)}" for heading, rows in self.tables.items() if 0 < len(rows) <= LONGEST]
        return "\n\n".join(parts + self.notes) + "\n"

    def add(self, heading: str, rows: list[Row], out: Path | None) -> None:
        """One more table, written at once: what fails later does not take it along.

        Args:
            heading: Of the table.
            rows: All of them.
            out: As in ``write``; None: nothing is written.
        """
        self.tables[heading] = rows
        if out:
            self.write(out)

    def write(self, out: Path) -> None:
        """The JSON at ``out``, the others beside it under the same name; without matplotlib there are no plots."""
        out.parent.mkdir(parents=True, exist_ok=True)
        content = {"machine": self.machine, "settings": self.settings, "notes": self.notes} | self.tables
        out.write_text(json.dumps(content, indent=2) + "\n")
        drawn = self._draw(out)
        pictures = "".join(f"\n![{name.stem}]({name.name})\n" for name in drawn)
        out.with_suffix(".md").write_text(self.markdown() + pictures)

    def _draw(self, out: Path) -> list[Path]:
        if self.plots and importlib.util.find_spec("matplotlib") is None:
            print("no plots: matplotlib is not installed (requirements-dev.txt)", file=sys.stderr)
            return []
        files = {out.with_name(f"{out.stem}-{name}.png"): draw for name, draw in self.plots.items()}
        for path, draw in files.items():
            draw(path)
        return list(files)


def table(rows: Sequence[Row]) -> str:
    """Markdown, with a column for everything that any row has and that fits in a cell."""
    columns = list(dict.fromkeys(name for row in rows for name, value in row.items() if _fits(value)))
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join(lines + [f"| {' | '.join(_cell(row.get(name)) for name in columns)} |" for row in rows])


def shown(rows: Iterable[Row]) -> list[Row]:
    """All rows, each printed as soon as it is there: a run takes minutes."""
    kept: list[Row] = []
    print(flush=True)
    for row in rows:
        kept.append(row)
        lines = table([row]).splitlines()
        print("\n".join(lines if len(kept) == 1 else lines[2:]), flush=True)
    return kept


def _fits(value: object) -> bool:
    return not isinstance(value, list | dict)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"
    return "-" if value is None else str(value)
