"""The C++ program beside the Python model, with the same traces, pictures and threads, taking turns.

Run ``python -m benchmarks.cpp`` after ``make cpp``: pixels to detections with run lengths, without decoding and JSON,
in processes of their own; medians of the rounds. The demo model, and an R50-FPN of made-up weights with about 98
detections.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch

import ops
from benchmarks.cpu import SEED, placed, save_folder
from benchmarks.machine import describe
from benchmarks.made_up import R50, keeping, network
from benchmarks.pictures import jpeg
from benchmarks.report import Report, Row
from benchmarks.running import DEMO, ROOT
from handler.cores import available_cores

PICTURE = "picture.jpg"
PROGRAM = ROOT / "build" / "cpp" / "detect"
DEMO_SIZE, R50_SIZE = (240, 320), (800, 1088)  # height, width
DETECTIONS = 98
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
    command = [
        PROGRAM,
        folder / "model.pt",
        picture,
        "--ops",
        ops.LIBRARY,
        "--threads",
        str(threads),
        "--times",
        str(times),
    ]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stderr)


def unpacked_demo(archive: Path, folder: Path) -> None:
    """The demo model and a picture."""
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    (folder / PICTURE).write_bytes(jpeg(*DEMO_SIZE, SEED))


def made_up_r50(_: Path, folder: Path) -> None:
    """A large model and a picture."""
    body, given = jpeg(*R50_SIZE, SEED), network(R50, 800, 1333)
    with torch.inference_mode():
        save_folder(keeping(given, *placed(given, body, torch.float32), DETECTIONS), folder)
    (folder / PICTURE).write_bytes(body)


def compare(name: str, folder: Path, threads: int, times: int, rounds: int) -> Row:
    """Medians of both and their ratio."""
    asked = folder, folder / PICTURE, threads, times
    pairs = [(cpp_ms(*asked), python_ms(*asked)) for _ in range(rounds)]
    ours, python = (statistics.median(each) for each in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    return {"model": name, "C++, ms": ours, "Python, ms": python, "ratio": round(ratio, 3)}


MODELS = {"demo, 320x240": unpacked_demo, "R50-FPN, 1088x800, 98 detections": made_up_r50}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, default=DEMO, help="of the demo model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--times", type=int, default=9, help="of a round")
    parser.add_argument("--out", type=Path, help="FILE.json")
    arguments = parser.parse_args()
    if not PROGRAM.is_file():
        sys.exit(f"{PROGRAM} is missing; build it with `make cpp`")
    threads = available_cores()
    report = Report("The C++ program beside the Python model", describe(), {"threads": threads})
    rows = []
    for name, make in MODELS.items():
        with tempfile.TemporaryDirectory() as folder:
            make(arguments.archive, Path(folder))
            rows.append(compare(name, Path(folder), threads, arguments.times, arguments.rounds))
    report.add("One picture", rows, arguments.out)
    print(report.markdown())


if __name__ == "__main__":
    main()
