"""Goes on fuzzing from the corpus in ``build/fuzz``: ``python -m tests.fuzz [TARGET ...] --seconds 600``.

One process at a time. A finding ends its process; it is kept, and the next process goes on.
"""

import argparse
import os
import re
import subprocess
import sys
import time

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


def command(target: str, python: str) -> list[str]:
    """How a target is fuzzed, without libFuzzer's options."""
    if target in CPP:
        return [str(OPS_FUZZER)]
    return [python, "-m", "tests.fuzz.under_atheris", target]


def fuzz(target: str, seconds: int, python: str) -> str:
    """Fuzz one target for so long; what was reached."""
    corpus, findings = BUILD / target / "corpus", BUILD / target / "findings"
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    if not any(corpus.iterdir()):
        corpus_of(target).unpack(corpus)
    options = LIMITS["ops" if target in CPP else "python"]
    extra = [f"-dict={each}" for each in (ROOT / "tests/fuzz" / f"{target}.dict",) if each.is_file()]
    end, executions, reached = time.monotonic() + seconds, 0, ""
    with (BUILD / target / "log").open("a") as log:
        while (left := int(end - time.monotonic())) > 0 and len(list(findings.iterdir())) < MOST_FINDINGS:
            kept = (f"-artifact_prefix={findings}/", f"-max_total_time={left}", "-print_final_stats=1")
            process = subprocess.Popen(
                [*command(target, python), *options, *extra, *kept, str(corpus)],
                cwd=ROOT,
                env=SANITIZERS | os.environ,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
            assert process.stderr is not None
            count = 0
            for line in process.stderr:
                log.write(line)
                log.flush()
                if found := _PROGRESS.match(line):
                    count, reached = int(found[1]), f"cov {found[2]}, features {found[3]}, corpus {found[4]}"
            executions += count
            if process.wait() == 0:
                break
    return f"{target}: {executions:,} executions, {reached}, {len(list(findings.iterdir()))} findings in {findings}"


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
            print(fuzz(target, turn, options.python), flush=True)
    return int(any([*BUILD.glob(f"{target}/findings/*")] for target in targets))


def has_atheris(python: str) -> bool:
    done = subprocess.run([python, "-c", "import atheris"], capture_output=True, check=False)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
