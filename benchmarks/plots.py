"""Plots as PNG. The only file that imports matplotlib: everything else works without it."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib.axes import Axes  # noqa: E402 - the backend is chosen first
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter  # noqa: E402

Row = dict[str, Any]
SIZE = (7.0, 4.2)  # inches, at DPI
DPI = 120
COLOURS = ("#1f5fa8", "#d1602b", "#3c8d40", "#8a4fa3", "#7a7a7a", "#b8a021")


def figure(path: Path, title: str, x: str, y: str, draw: Callable[[Axes], None]) -> None:
    """One picture with axes that say what they are.

    Args:
        path: Of the PNG.
        title: Above it.
        x: Of the horizontal axis, with the unit.
        y: Of the vertical one.
        draw: What puts the lines in.
    """
    made = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    axes = made.subplots()
    draw(axes)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False)
    made.savefig(path)


def latency_against_rate(path: Path, rows: Sequence[Row], capacity: float, title: str) -> None:
    """Percentiles of the open loop on a logarithmic scale, and the share that was refused."""

    def draw(axes: Axes) -> None:
        for colour, name in zip(COLOURS, ("p50", "p90", "p99", "max"), strict=False):
            points = [(row["rate"], row[name]) for row in rows if row[name] is not None]
            axes.plot(*_columns(points), "o-", color=colour, label=name, markersize=4)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.axvline(capacity, color="#999999", linestyle="--", label=f"closed loop: {capacity:.1f} a second")
        _mark_failures(axes, rows)

    figure(path, title, "requests due a second", "latency from the due moment, ms", draw)


def _mark_failures(axes: Axes, rows: Sequence[Row]) -> None:
    """A second scale, and only where there is something to show."""
    if not any(row["failed"] for row in rows):
        return
    shares = axes.twinx()
    points = [(row["rate"], 100 * row["failed"] / row["requests"]) for row in rows]
    shares.bar(*_columns(points), width=0.03 * max(row["rate"] for row in rows), color="#cc3333", alpha=0.35)
    shares.set_ylim(0, 100)
    shares.set_ylabel("not answered with 200, % (bars)", color="#cc3333")


def lines(path: Path, rows: Sequence[Row], by: str, x: tuple[str, str], y: tuple[str, str], title: str) -> None:
    """A line for each value of one column.

    Args:
        path: Of the PNG.
        rows: All of them.
        by: The column whose values tell the lines apart; it names them.
        x: Column and name of the horizontal axis, which has a tick for each value.
        y: Column and name of the vertical one, which begins at 0.
        title: Above it.
    """

    def draw(axes: Axes) -> None:
        for number, value in enumerate(dict.fromkeys(row[by] for row in rows)):
            points = sorted((row[x[0]], row[y[0]]) for row in rows if row[by] == value)
            axes.plot(*_columns(points), "o-", color=COLOURS[number % len(COLOURS)], label=str(value), markersize=4)
        axes.set_xticks(sorted({row[x[0]] for row in rows}))
        axes.set_ylim(bottom=0)

    figure(path, title, x[1], y[1], draw)


def memory_against_time(path: Path, samples: Sequence[Row], title: str) -> None:
    """Workers and frontend, from the first request on."""

    def draw(axes: Axes) -> None:
        seconds = [sample["seconds"] for sample in samples]
        for colour, name in zip(COLOURS, ("workers", "frontend"), strict=False):
            axes.plot(seconds, [sample[f"{name}_mb"] for sample in samples], color=colour, label=name)
        axes.set_ylim(bottom=0)

    figure(path, title, "seconds", "resident memory, MB", draw)


def _columns(points: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    xs, ys = zip(*points, strict=True)
    return list(xs), list(ys)
