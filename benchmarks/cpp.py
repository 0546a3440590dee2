"""The C++ program beside the Python model, on the same pictures of the same archive, taking turns.

Run ``python -m benchmarks.cpp --archive model_store/demo.mar`` after ``make cpp``: pixels to detections with run
lengths, without decoding and JSON, in processes of their own; medians of the rounds.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from PIL import Image

from benchmarks.machine import describe
from benchmarks.report import Report, Row
from benchmarks.running import DEMO, ROOT

PROGRAM = ROOT / "build" / "cpp" / "detect"
SIZES = [(320, 240), (1088, 800)]  # width, height
_PYTHON = """
import statistics, sys
from pathlib import Path
from time import perf_counter
from handler.memory import use_huge_pages
use_huge_pages()
import torch
from handler.detector import Detector
from handler.images import decode_image
torch.set_num_threads(int(sys.argv[3]))
detector = Detector.load(Path(sys.argv[1]))
picture = decode_image(Path(sys.argv[2]).read_bytes(), 50_000_000)
def once():
    begin = perf_counter()
    detector.detect([picture])
    return 1e3 * (perf_counter() - begin)
once()
print(statistics.median(once() for _ in range(int(sys.argv[4]))))
"""


def python_ms(folder: Path, picture: Path, threads: int, times: int) -> float:
    """Milliseconds of one picture in the Python model."""
    command = [sys.executable, "-c", _PYTHON, *map(str, (folder, picture, threads, times))]
    return float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def cpp_ms(folder: Path, picture: Path, threads: int, times: int) -> float:
    """Milliseconds of one picture in the C++ program."""
    command = [PROGRAM, folder / "model.pt", picture, "--threads", str(threads), "--times", str(times)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stderr)


def compare(folder: Path, size: tuple[int, int], threads: int, times: int, rounds: int) -> Row:
    """Medians of both and their ratio."""
    picture = folder / "picture.png"
    Image.open(ROOT / "demo" / "pictures" / "shapes_02.jpg").resize(size).save(picture)
    pairs = [
        (cpp_ms(folder, picture, threads, times), python_ms(folder, picture, threads, times)) for _ in range(rounds)
    ]
    ours, python = (statistics.median(each) for each in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    return {"picture": "{}x{}".format(*size), "C++, ms": ours, "Python, ms": python, "ratio": round(ratio, 3)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, default=DEMO)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--times", type=int, default=15, help="of a round")
    parser.add_argument("--out", type=Path, help="FILE.json")
    arguments = parser.parse_args()
    if not PROGRAM.is_file():
        sys.exit(f"{PROGRAM} is missing; build it with `make cpp`")
    threads = len(os.sched_getaffinity(0))
    settings = {"archive": arguments.archive.name, "threads": threads}
    report = Report("The C++ program beside the Python model", describe(), settings)
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(arguments.archive) as packed:
        packed.extractall(scratch)
        rows = [compare(Path(scratch), size, threads, arguments.times, arguments.rounds) for size in SIZES]
    report.add("One picture", rows, arguments.out)
    print(report.markdown())


if __name__ == "__main__":
    main()
