"""The promises that the folder listing makes: one op, one name; imports point one way."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OPS = sorted(re.findall(r'"(\w+)\(', (ROOT / "ops/csrc/library.cpp").read_text()))
# A package may import those after it and itself; `server` only runs and asks a process, so it stands apart.
ALLOWED = {
    "ops": {"ops"},
    "handler": {"handler", "ops"},
    "export": {"export", "handler", "ops"},
    "server": {"server"},
}
OURS = {*ALLOWED, "tests", "benchmarks"}


def imported_packages(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_there_are_nine_ops() -> None:
    assert len(OPS) == 9


@pytest.mark.parametrize("op", OPS)
def test_an_op_has_one_name_everywhere(op: str) -> None:
    code = [f"ops/csrc/{op}.h", f"ops/csrc/cpu/{op}.cpp", f"ops/csrc/cuda/{op}.cu"]
    places = [*code, f"ops/{op}.py", f"tests/ops/test_{op}.py"]
    assert [place for place in places if not (ROOT / place).is_file()] == []


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_one_way(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert imported_packages(path) & OURS <= ALLOWED[package], path


def test_torchserve_stays_in_one_file() -> None:
    users = [path.name for path in (ROOT / "handler").rglob("*.py") if "ts" in imported_packages(path)]
    assert users in ([], ["maskrcnn_handler.py"])


def test_tracing_stays_in_one_file() -> None:
    users = {
        path.name for package in ALLOWED for path in (ROOT / package).rglob("*.py") if "jit.trace" in path.read_text()
    }
    assert users <= {"trace.py"}


def test_compiling_stays_in_one_file() -> None:
    users = {
        path.name
        for package in ALLOWED
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"torch\.export\.export\(|aot_compile\(", path.read_text())
    }
    assert users == {"compile.py"}
