"""Writes the corpus that is committed: what the fuzzers have reached so far, as small as it gets.

``python -m tests.fuzz.keep [TARGET ...]``. The ops' is reduced by libFuzzer to the inputs that reach something of their
own; of the others, each of which reached something new when it came, the smallest are kept.
"""

import argparse
import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.fuzz.archive import corpus_of
from tests.fuzz.places import BUILD, CPP, OPS_FUZZER, PYTHON
from tests.fuzz.replay import SANITIZERS
from tests.fuzz.seeds import SEEDS

MOST_GROWN = 250  # inputs of each fuzzer of Python, beside the cases of the tests


def grown(target: str) -> list[bytes]:
    """The corpus that fuzzing has left behind; read at once, since it may still be changing."""
    paths = [*(BUILD / target / "corpus").glob("*")]
    return [path.read_bytes() for path in paths if path.is_file()]


def reduced(inputs: Iterable[bytes]) -> list[bytes]:
    """Of the inputs of the ops those that together reach all that all reach."""
    with tempfile.TemporaryDirectory() as all_of_them, tempfile.TemporaryDirectory() as kept:
        for number, data in enumerate(inputs):
            (Path(all_of_them) / str(number)).write_bytes(data)
        command = [OPS_FUZZER, "-merge=1", kept, all_of_them]
        subprocess.run(command, env=os.environ | SANITIZERS, stderr=subprocess.DEVNULL, check=True)
        return [path.read_bytes() for path in Path(kept).iterdir()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.keep", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join((*PYTHON, *CPP))}; default: all")
    for target in parser.parse_args().targets or [*PYTHON, *CPP]:
        inputs = {*grown(target), *(data for _, data in corpus_of(target).inputs())}
        if target in CPP:
            corpus_of(target).write(reduced(inputs))
        else:
            smallest = sorted(inputs, key=lambda data: (len(data), data))[:MOST_GROWN]
            corpus_of(target).write({*smallest, *SEEDS[target]().values()})
        print(f"{target}: {corpus_of(target).path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
