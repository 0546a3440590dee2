"""How far a download is: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

_BAR = 30
_SECONDS_BETWEEN_DRAWINGS = 0.1
# Where lines are kept (a log), one for each of these shares of the file; of a file of unknown size, for each 64 MB.
_LINES = 10
_BYTES_BETWEEN_LINES = 64_000_000


class Progress:
    """Told again and again how many bytes there are; prints now and then."""

    def __init__(self, name: str, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._out, self._clock = name, out or sys.stderr, clock
        self._started = clock()
        self._first: int | None = None
        self._drawn = float("-inf")
        self._lines_passed: int | None = None

    def __call__(self, done: int, total: int | None) -> None:
        """Say how far it is.

        Args:
            done: Bytes on the disk.
            total: Bytes of the whole file; None if the server does not say.
        """
        if self._first is None or done < self._first:  # at the start, or begun anew
            self._first, self._started = done, self._clock()
        if self._out.isatty():
            self._draw(done, total)
        else:
            self._print_line(done, total)

    def say(self, text: str) -> None:
        """Print a line of other text."""
        self.end()
        print(text, file=self._out, flush=True)

    def end(self) -> None:
        """Leave the bar's line, so that other text does not overwrite it."""
        if self._drawn > float("-inf"):
            print(file=self._out, flush=True)
        self._drawn = float("-inf")

    def _draw(self, done: int, total: int | None) -> None:
        if self._clock() - self._drawn < _SECONDS_BETWEEN_DRAWINGS and done != total:
            return
        self._drawn = self._clock()
        bar = ("#" * (_BAR * done // total)).ljust(_BAR, ".") if total else "?" * _BAR
        print(f"\r{self._name} [{bar}] {self._numbers(done, total)}\x1b[K", end="", file=self._out, flush=True)

    def _print_line(self, done: int, total: int | None) -> None:
        passed = _LINES * done // total if total else done // _BYTES_BETWEEN_LINES
        if passed != self._lines_passed:
            self._lines_passed = passed
            print(f"{self._name}: {self._numbers(done, total)}", file=self._out, flush=True)

    def _numbers(self, done: int, total: int | None) -> str:
        seconds = max(self._clock() - self._started, 1e-3)
        rate = (done - (self._first or 0)) / seconds
        if not total:
            return f"{done / 1e6:.1f} MB, {rate / 1e6:.1f} MB/s"
        left = f", {(total - done) / rate:.0f} s left" if rate and done < total else ""
        return f"{100 * done // total} % of {total / 1e6:.1f} MB, {rate / 1e6:.1f} MB/s{left}"
