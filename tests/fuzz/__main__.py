"""Goes on fuzzing from the corpus in ``build/fuzz``: ``python -m tests.fuzz [TARGET ...] --seconds 600``.

One process at a time. A finding ends its process; it is kept, and the next process goes on. Exit code 1: there are
findings; 2: a target could not be fuzzed.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tests.fuzz.archive import corpus_of
from tests.fuzz.places import BUILD, CPP, OPS_FUZZER, PYTHON, ROOT
from tests.fuzz.replay import SANITIZERS

MOST_FINDINGS = 20  # of one target: more are mostly the same again
LIMITS = {
    # A process that only reads small inputs holds PyTorch, a corpus and no more; time is checked by the target itself.
    "python": ["-rss_limit_mb=1500", "-timeout=120", "-max_len=65536"],
    "ops": ["-rss_limit_mb=2500", "-timeout=60", "-max_len=2048", "-close_fd_mask=0"],
}
_PROGRESS = re.compile(r"#(\d+)\s.*?cov: (\d+) ft: (\d+) corp: (\d+)")


class FuzzingError(Exception):
    """Why a target was not fuzzed."""


def command(target: str, python: str) -> list[str]:
    """How a target is fuzzed, without libFuzzer's options."""
    if target in CPP:
        return [str(OPS_FUZZER)]
    return [python, "-m", "tests.fuzz.under_atheris", target]


@dataclass
class Reached:
    """What libFuzzer's lines told of one target.

    Attributes:
        executions: Of all its processes.
        coverage: As the last line said it.
    """

    executions: int = 0
    coverage: str = ""

    def follow(self, lines: Iterable[str], log: TextIO) -> None:
        """Read what one process prints until it ends."""
        count = 0
        for line in lines:
            log.write(line)
            log.flush()
            if found := _PROGRESS.match(line):
                count, self.coverage = int(found[1]), f"cov {found[2]}, features {found[3]}, corpus {found[4]}"
        self.executions += count


def fuzz(target: str, seconds: int, python: str) -> str:
    """Fuzz one target for so long.

    Returns:
        What was reached.

    Raises:
        FuzzingError: A process failed without a finding, or nothing was executed: the target is not fuzzed at all.
    """
    corpus, findings = BUILD / target / "corpus", BUILD / target / "findings"
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    if not any(corpus.iterdir()):
        corpus_of(target).unpack(corpus)
    log, reached, end = BUILD / target / "log", Reached(), time.monotonic() + seconds
    while (left := int(end - time.monotonic())) > 0 and len(kept_in(findings)) < MOST_FINDINGS:
        before = kept_in(findings)
        code = run_once(target, left, python, reached)
        if code == 0:
            break
        if kept_in(findings) == before:
            raise FuzzingError(f"{target}: exit code {code} without a finding; {log} ends:\n{tail(log)}")
    count = len(kept_in(findings))
    if not reached.executions and not count:
        raise FuzzingError(f"{target}: nothing was executed in {seconds} s; {log} ends:\n{tail(log)}")
    return f"{target}: {reached.executions:,} executions, {reached.coverage}, {count} findings in {findings}"


def run_once(target: str, seconds: int, python: str, reached: Reached) -> int:
    """One process of libFuzzer, up to its first finding; its exit code."""
    folder = BUILD / target
    words = ROOT / "tests/fuzz" / f"{target}.dict"
    options = [*LIMITS["ops" if target in CPP else "python"], *([f"-dict={words}"] if words.is_file() else [])]
    kept = (f"-artifact_prefix={folder / 'findings'}/", f"-max_total_time={seconds}", "-print_final_stats=1")
    with (
        (folder / "log").open("a") as log,
        subprocess.Popen(
            [*command(target, python), *options, *kept, str(folder / "corpus")],
            cwd=ROOT,
            env=os.environ | SANITIZERS,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process,
    ):
        reached.follow(process.stderr or (), log)
    return process.returncode


def kept_in(findings: Path) -> set[tuple[str, int]]:
    """Names and times: one that is found again is written again."""
    return {(path.name, path.stat().st_mtime_ns) for path in findings.iterdir()}


def tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join((*PYTHON, *CPP))}; default: all")
    parser.add_argument("--seconds", type=int, default=600, help="of all targets together (default: 600)")
    parser.add_argument("--slice", type=int, default=300, help="seconds of one target before the next has its turn")
    parser.add_argument("--python", default=sys.executable, help="the Python that has atheris")
    options = parser.parse_args()
    targets = options.targets or [*PYTHON, *CPP]
    if unknown := set(targets) - {*PYTHON, *CPP}:
        parser.error(f"no target {', '.join(sorted(unknown))}: there are {', '.join((*PYTHON, *CPP))}")
    if {*targets} & {*PYTHON} and not has_atheris(options.python):
        parser.error(
            f"{options.python} has no atheris: {options.python} -m pip install atheris, or make fuzz TARGET=ops"
        )
    if {*targets} & {*CPP} and not OPS_FUZZER.is_file():
        parser.error(f"{OPS_FUZZER} is missing: make fuzz builds it, with clang")
    end = time.monotonic() + options.seconds
    while (left := end - time.monotonic()) > 1:
        for target in targets:
            turn = max(1, min(options.slice, round(left / len(targets))))
            try:
                print(fuzz(target, turn, options.python), flush=True)
            except FuzzingError as error:
                print(f"error: {error}", file=sys.stderr)
                return 2
    return int(any([*BUILD.glob(f"{target}/findings/*")] for target in targets))


def has_atheris(python: str) -> bool:
    done = subprocess.run([python, "-c", "import atheris"], capture_output=True, check=False)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
