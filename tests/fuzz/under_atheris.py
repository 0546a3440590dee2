"""Runs one Python target under atheris: ``python -m tests.fuzz.under_atheris TARGET [libFuzzer's options]``."""

import sys

import atheris

if __name__ == "__main__":
    with atheris.instrument_imports(include=["handler", "export", "PIL", "json", "zipfile"]):
        from tests.fuzz.targets import run
    target = sys.argv.pop(1)
    atheris.Setup(sys.argv, lambda data: run(target, data))
    atheris.Fuzz()
