"""Where the fuzzers read and write."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "fuzz"
FINDINGS = ROOT / "tests" / "fuzz" / "findings"  # of the past: replayed by every run of the tests
CORPUS = ROOT / "tests" / "fuzz" / "corpus"
OPS_FUZZER = BUILD / "ops-fuzzer"
PYTHON = ("pictures", "requests", "checkpoints", "lengths")
CPP = ("ops",)
