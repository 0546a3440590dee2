"""What a user sees of a download under way."""

import io

from export.download.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_draws_a_bar_on_a_terminal() -> None:
    now = 0.0
    screen = Terminal()
    progress = Progress("pets", screen, lambda: now)
    for now, done in ((1.0, 0), (1.05, 1_000_000), (3.0, 2_000_000)):  # the second too soon after the first  # noqa: B007
        progress(done, 4_000_000)
    progress.end()
    first, second = screen.getvalue().split("\r")[1:]
    assert first.startswith(f"pets [{'.' * 30}] 0 % of 4.0 MB, 0.0 MB/s")
    assert second.startswith(f"pets [{'#' * 15}{'.' * 15}] 50 % of 4.0 MB, 1.0 MB/s, 2 s left")
    assert second.endswith("\n")


def test_prints_few_lines_elsewhere() -> None:
    log = io.StringIO()
    progress = Progress("pets", log)
    for percent in range(101):
        progress(percent * 1000, 100_000)
    assert [line.split(" %")[0] for line in log.getvalue().splitlines()] == [f"pets: {n}" for n in range(0, 101, 10)]
