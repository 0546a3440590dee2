"""R50-FPN on the CPU: one picture's bytes to its reply's bytes, then by stage, then the memory of a worker.

Run ``python -m benchmarks.cpu``: Markdown on the standard output, ``--out FILE.json`` writes it, too. The weights are
made up (91 classes); their background is biased so that the picture keeps about 100 or about 10 detections.
torchvision's eager model with the same weights takes its turn in the same rounds, where it is importable: from bytes to
masks pasted into the picture, without the run lengths and the JSON. ``trace as it is`` is what a worker computed before
its layers were joined (``fusion: none``).
"""

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import ops
from benchmarks.machine import as_line, describe
from benchmarks.made_up import R50, TINY, Network, keeping, network
from benchmarks.pictures import jpeg
from benchmarks.report import Report, table
from benchmarks.stages import stages
from benchmarks.timing import Work
from benchmarks.torchvision_peer import peer_model
from benchmarks.variants import prepared_alone, trace_of
from handler.canvas import canvas_size, resized_size
from handler.gpu.settings import DTYPES, Dtype, Fusion
from handler.loading import MODEL_FILE
from handler.memory import use_huge_pages
from handler.model_card import FILE_NAME, ModelCard
from handler.requests.incoming import Incoming
from handler.settings import Settings
from handler.worker import Worker

CPU = torch.device("cpu")
SEED = 0  # of the picture
WANTED = (98, 10)  # no more than 100 can be kept, so nearly that many
WAYS: dict[str, tuple[Dtype, Fusion | None]] = {
    "float32, trace as it is": ("float32", "none"),
    "float32": ("float32", None),
    "bfloat16": ("bfloat16", None),
}
PEER = "torchvision, eager float32"
_MEMORY = """
import sys
from pathlib import Path
from benchmarks.cpu import peak_megabytes
print(peak_megabytes(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
"""


def pixels(body: bytes) -> Tensor:
    """(H, W, 3) uint8."""
    return torch.from_numpy(np.array(Image.open(io.BytesIO(body)).convert("RGB")))


def save_folder(given: Network, folder: Path) -> None:
    """What an unpacked archive holds of the model."""
    names = tuple(map(str, range(given.architecture.classes)))
    card = ModelCard(names, given.conventions.preprocessing, given.conventions.postprocessing())
    (folder / MODEL_FILE).write_bytes(trace_of(given))
    (folder / FILE_NAME).write_text(card.to_json())


def worker(folder: Path, dtype: str, fusion: str | None, threads: int) -> Worker:
    """As TorchServe's worker has it."""
    section = {"dtype": dtype, "fusion": fusion or "auto", "threads": threads}
    return Worker.load(folder, {"minWorkers": 1, "detection": section}, "r50", "1.0")


def reply(served: Worker, body: bytes) -> dict[str, Any]:
    """The parsed answer to one picture."""
    (answer,) = served.answer([Incoming({"body": body})], lambda *_: None)
    parsed: dict[str, Any] = json.loads(answer.body)
    return parsed


def in_turn(works: Mapping[str, Work], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each, one after the other in every round, after a round that is not counted."""
    took: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            begin = perf_counter()
            work()
            if number:
                took[name].append(1e3 * (perf_counter() - begin))
    return took


def whole(given: Network, body: bytes, threads: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Bytes to bytes, one row for each way."""
    works: dict[str, Callable[[], Any]] = {}
    kept: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        save_folder(given, Path(folder))
        for name, (dtype, fusion) in WAYS.items():
            served = worker(Path(folder), dtype, fusion, threads)
            kept[name] = len(reply(served, body)["detections"])
            works[name] = partial(served.answer, [Incoming({"body": body})], lambda *_: None)
    peer = peer_model(given)
    if peer is not None:
        works[PEER] = lambda: peer([pixels(body).permute(2, 0, 1).float() / 255])
        kept[PEER] = len(works[PEER]()[0]["labels"])
    took = {name: statistics.median(each) for name, each in in_turn(works, rounds).items()}
    for name, ms in took.items():
        ratio = took[PEER] / ms if PEER in took else None
        yield {"way": name, "detections": kept[name], "seconds": ms / 1e3, "times torchvision": ratio}


def by_stage(given: Network, body: bytes, masks: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Milliseconds of each stage of the picture: ours each alone, torchvision's within its passes.

    Args:
        given: The weights.
        body: The picture.
        masks: How many our mask head makes.
        rounds: That are counted.
    """
    columns = {name: _stage_times(given, body, *way, masks, rounds) for name, way in WAYS.items()}
    columns |= {PEER: _peer_stage_times(given, body, rounds)}
    for stage in columns["float32"]:
        yield {"stage": stage} | {name: times.get(stage) for name, times in columns.items()}


def _stage_times(
    given: Network, body: bytes, dtype: Dtype, fusion: Fusion | None, masks: int, rounds: int
) -> dict[str, float]:
    canvas, sizes = placed(given, body, DTYPES[dtype])
    canvas = canvas.to(memory_format=torch.channels_last)
    model = given.model().to(DTYPES[dtype]).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    times = {}
    for stage in stages(model, canvas, sizes, kept=masks):
        call: Any = stage.work
        if isinstance(call, nn.Module):
            call = prepared_alone(call, stage.inputs, fusion or "optimized")
        (times[stage.name],) = in_turn({"": partial(call, *stage.inputs)}, rounds).values()
    return {name: statistics.median(each) for name, each in times.items()}


def _peer_stage_times(given: Network, body: bytes, rounds: int) -> dict[str, float]:
    peer = peer_model(given)
    if peer is None:
        return {}
    heads = peer.roi_heads
    parts = {
        "body": [peer.backbone.body],
        "FPN": [peer.backbone.fpn],
        "RPN head": [peer.rpn.head],
        "box pooling": [heads.box_roi_pool],
        "box head": [heads.box_head, heads.box_predictor],
        "mask head": [heads.mask_roi_pool, heads.mask_head, heads.mask_predictor],
    }
    times: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(rounds + 1):
        with _watched(parts) as took:
            peer([pixels(body).permute(2, 0, 1).float() / 255])
        if number:
            for name, seconds in took.items():
                times[name].append(1e3 * seconds)
    return {name: statistics.median(each) for name, each in times.items()}


@contextmanager
def _watched(parts: Mapping[str, Sequence[nn.Module]]) -> Iterator[dict[str, float]]:
    """Seconds that the modules of each part take while this is open."""
    took, begun, hooks = dict.fromkeys(parts, 0.0), [0.0], []

    def begin(*_: object) -> None:
        begun[0] = perf_counter()

    def end(name: str, *_: object) -> None:
        took[name] += perf_counter() - begun[0]

    for name, modules in parts.items():
        for module in modules:
            hooks += [module.register_forward_pre_hook(begin), module.register_forward_hook(partial(end, name))]
    try:
        yield took
    finally:
        for hook in hooks:
            hook.remove()


def peak_megabytes(folder: Path, dtype: str, threads: int) -> str:
    """Peak memory of this process after a worker's first picture, and after ten more."""
    served, body = worker(folder, dtype, None, threads), jpeg(800, 1333, SEED)
    peaks = []
    for pictures in (1, 10):
        for _ in range(pictures):
            reply(served, body)
        status = Path("/proc/self/status").read_text()
        peaks.append(next(int(line.split()[1]) // 1000 for line in status.splitlines() if line.startswith("VmHWM")))
    return f"{peaks[0]} {peaks[1]}"


def memory(given: Network, threads: int) -> Iterator[dict[str, Any]]:
    """Peak memory of a worker in a process of its own, with a picture of 800 x 1333."""
    with tempfile.TemporaryDirectory() as folder:
        save_folder(given, Path(folder))
        for dtype in ("float32", "bfloat16"):
            command = [sys.executable, "-c", _MEMORY, folder, dtype, str(threads)]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            yield {"worker": dtype, "MB after 1 picture": int(said[0]), "after 11": int(said[1])}


def measure(threads: int, rounds: int, tiny: bool) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Part after part."""
    body = jpeg(96, 128, SEED) if tiny else jpeg(800, 1088, SEED)
    given = network(TINY, 96, 160) if tiny else network(R50, 800, 1333)
    canvas, sizes = placed(given, body, torch.float32)
    found = [keeping(given, canvas, sizes, wanted) for wanted in WANTED]
    rows: list[list[dict[str, Any]]] = []
    for wanted, each in zip(WANTED, found, strict=True):
        rows.append(list(whole(each, body, threads, rounds)))
        yield f"picture to reply, about {wanted} detections", rows[-1]
    kept = {row["way"]: row["detections"] for row in rows[0]}
    yield _stage_title(kept), list(by_stage(found[0], body, kept["float32"], rounds))
    yield "peak memory", list(memory(found[0], threads))


def _stage_title(kept: Mapping[str, int]) -> str:
    """It says how each column was timed, and of how many masks: in these two the columns differ."""
    ours = f"by stage, ms: ours each alone, {kept['float32']} masks"
    return ours + (f"; torchvision's within its pass, {kept[PEER]} masks" if PEER in kept else "")


def placed(given: Network, body: bytes, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The picture's canvas as a worker makes it, (1, 3, H, W), and its size on it, (1, 2) int64."""
    picture, rules = pixels(body), given.conventions.preprocessing
    size = resized_size(picture.shape[0], picture.shape[1], rules)
    sizes = torch.tensor([size])
    canvas = ops.resize_normalize(
        [picture], sizes, *canvas_size(*size, rules), mean=list(rules.mean), std=list(rules.std),
        divisor=rules.pixel_divisor, filter=rules.resize_filter, bgr=rules.bgr, dtype=dtype,
    )  # fmt: skip
    return canvas, sizes


def parse_arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cpu", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (default: 7)")
    parser.add_argument("--threads", type=int, default=Settings().thread_count(), help="default: one a core")
    parser.add_argument("--tiny", action="store_true", help="a small network and a small picture")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON, and as Markdown beside it")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    arguments = parse_arguments(given)
    use_huge_pages()
    torch.set_num_threads(arguments.threads)
    report = Report("R50-FPN on the CPU", describe(), {"rounds": arguments.rounds})
    print(as_line(report.machine), flush=True)
    with torch.inference_mode():
        for title, rows in measure(arguments.threads, arguments.rounds, arguments.tiny):
            print(f"\n{title}\n\n{table(rows)}", flush=True)
            report.add(title, rows, arguments.out)


if __name__ == "__main__":
    main()
