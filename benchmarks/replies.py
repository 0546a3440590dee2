"""What reading a request and writing its reply cost a worker, beside decoding and computing the picture.

Run ``python -m benchmarks.replies``: Markdown on the standard output, ``--out FILE`` for JSON. A request carries a
picture of 1 MB, a reply 100 detections with masks of 800 x 1333. "Beside the plain one" is what an option, a transport
or a format adds to a request without options, or to the JSON reply with run lengths.
"""

import argparse
import base64
import json
import random
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import torch

import ops
from benchmarks.machine import as_line, describe
from benchmarks.made_up import photo
from benchmarks.op_cases import random_boxes
from export.conventions import TORCHVISION_PREPROCESSING
from handler.detections import Detections, unpack_masks
from handler.images import Picture
from handler.model_card import ModelCard, Postprocessing
from handler.replies.kserve import Envelopes
from handler.replies.page import PageFacts, page_reply
from handler.replies.writing import ReplyWriter
from handler.requests.asked import Ask
from handler.requests.incoming import Incoming
from handler.requests.options import Given, OptionReader
from handler.requests.reading import RequestReader
from handler.selection import default_selection
from handler.settings import Settings

HEIGHT, WIDTH, COUNT, MASK_SIDE = 800, 1333, 100, 28
PICTURE_BYTES = 1_000_000
CARD = ModelCard(
    class_names=("__background__", *(f"class {label}" for label in range(1, 91))),
    preprocessing=TORCHVISION_PREPROCESSING,
    postprocessing=Postprocessing(0.05, COUNT, clip_boxes=False, paste_rule="integer", paste_inclusive=False),
)
Work = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """Milliseconds, medians; ``added_ms`` beside the first row of its table."""

    name: str
    ms: float
    added_ms: float


def requests() -> dict[str, Incoming]:
    """A row each. A transport that this version does not read is left out of the table, with the reason."""
    picture = bytearray(random.Random(0).randbytes(PICTURE_BYTES))
    text = base64.b64encode(picture).decode()
    options = {"score_threshold": "0.5", "max_detections": "20", "classes": "class 1,class 7,class 80", "masks": "rle"}
    options |= {"mask_threshold": "0.4", "format": "json", "image_id": "7"}
    headers = {f"X-Detect-{name.replace('_', '-').title()}": value for name, value in options.items()}
    form = {name: bytearray(value.encode()) for name, value in options.items()}
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}
    return {
        "the bytes as the body": Incoming.of({"body": picture}, {"Content-Type": "image/jpeg", "Accept": "*/*"}),
        "all options as headers": Incoming.of({"body": picture}, headers | {"Content-Type": "image/jpeg"}),
        "`Accept` of a browser": Incoming.of(
            {"body": picture}, {"Accept": "text/html,image/avif,image/webp,*/*;q=0.8"}
        ),
        "a form with all options": Incoming({"data": picture} | form),
        "JSON, base64": Incoming({"body": {"image": text}}),
        "JSON, base64, all options": Incoming({"body": {"image": text} | options}),
        "KServe v1, one instance": Incoming({"body": {"instances": [{"b64": text}]}}),
        "KServe v2, BYTES": Incoming({"body": {"inputs": [tensor]}}),
    }


REPLIES: Mapping[str, Mapping[str, str]] = {
    "json, rle": {},
    "json, no masks": {"masks": "none"},
    "json, polygon": {"masks": "polygon"},
    "json, png": {"masks": "png"},
    "coco, rle": {"format": "coco"},
    "coco, polygon": {"format": "coco", "masks": "polygon"},
    "image, PNG": {"format": "image"},
    "html": {"format": "html"},
}


def blobs(count: int) -> torch.Tensor:
    """(count, MASK_SIDE, MASK_SIDE) float32: round masks with an uneven outline, as a network gives them."""
    generator = torch.Generator().manual_seed(0)
    line = torch.linspace(-1, 1, MASK_SIDE)
    radius = (line[:, None] ** 2 + line**2).sqrt()
    coarse = torch.randn(count, 1, 7, 7, generator=generator)
    uneven = torch.nn.functional.interpolate(coarse, (MASK_SIDE, MASK_SIDE), mode="bilinear")[:, 0]
    return torch.sigmoid(6 * (0.8 - radius) + 3 * uneven)


def found(masks: bool = True) -> Detections:
    """What a network would have found."""
    boxes = random_boxes(COUNT, HEIGHT, WIDTH, seed=0)
    sizes, thresholds = torch.tensor([[HEIGHT, WIDTH]]).repeat(COUNT, 1), torch.full((COUNT,), 0.5)
    encoded = ops.encode_rle(blobs(COUNT), boxes, sizes, thresholds, rule="integer", inclusive=False)
    scores, labels = torch.linspace(0.99, 0.05, COUNT).sqrt(), torch.arange(COUNT) % 90 + 1
    return Detections(HEIGHT, WIDTH, boxes, scores, labels, tuple(unpack_masks(*encoded)) if masks else None)


def reading(reader: RequestReader, incoming: Incoming) -> Work | str:
    """The work of one row, or why there is none."""
    (ask,) = reader.read(incoming).asks
    return (lambda: reader.read(incoming)) if isinstance(ask, Ask) else str(ask)


def writing(writer: ReplyWriter, options: OptionReader, given: Mapping[str, str]) -> Work | str:
    """The work of one row, or why there is none."""
    read = options.read({name: Given(value, "benchmark") for name, value in given.items()})
    answer, picture = found(read.selection.masks), Picture(photo(HEIGHT, WIDTH, seed=0).numpy(), HEIGHT, WIDTH)
    reply = writer.write(picture, answer, read)
    if reply.error is not None:
        return reply.body.decode()
    if read != options.read({}) and reply == writer.write(picture, found(), options.read({})):
        return "it is answered like the first row"
    return lambda: writer.write(picture, answer, read)


def stock() -> Work:
    """The first reply as TorchServe writes what a handler returns as Python's lists and dicts."""
    answer, names = found(), CARD.class_names
    return lambda: json.dumps(
        [
            {names[label]: box, "score": score, "mask": {"size": [HEIGHT, WIDTH], "counts": mask}}
            for label, score, box, mask in zip(
                answer.labels.tolist(), answer.scores.tolist(), answer.boxes.tolist(), answer.masks or (), strict=True
            )
        ],
        indent=2,
    ).encode()


def measure(works: Mapping[str, Work | str], seconds: float) -> list[Row]:
    """Time them in turns, some seconds a row, so that what else the machine does meets all alike."""
    kept: dict[str, Work] = {}
    for name, work in works.items():
        if isinstance(work, str):
            print(f"left out: {name}: {work[:200]}", file=sys.stderr)
        else:
            kept[name] = work
    times = {name: [_once(work) for _ in range(3)][:0] for name, work in kept.items()}
    end = perf_counter() + seconds * len(kept)
    while perf_counter() < end or not all(times.values()):
        for name, work in kept.items():
            times[name].append(_once(work))
    medians = {name: statistics.median(each) for name, each in times.items()}
    first = next(iter(medians.values()))
    return [Row(name, each, each - first) for name, each in medians.items()]


def _once(work: Work) -> float:
    begin = perf_counter()
    work()
    return 1e3 * (perf_counter() - begin)


def table(title: str, rows: Sequence[Row]) -> str:
    """Markdown."""
    head = f"| {title} | ms | beside the plain one |\n|---|---|---|"
    return "\n".join([head, *(f"| {row.name} | {row.ms:.3f} | {row.added_ms:+.3f} |" for row in rows)])


def measured(seconds: float) -> dict[str, list[Row]]:
    """The rows of both tables."""
    settings = Settings()
    options = OptionReader(CARD, default_selection(CARD, settings))
    page = partial(page_reply, PageFacts.of(CARD, "model", "1.0"))
    envelopes = Envelopes("model", "1.0", settings.max_reply_bytes)
    reader = RequestReader(options, page, page, envelopes, settings.max_pixels)
    writer = ReplyWriter(CARD, "model", "1.0", settings.max_reply_bytes)
    read = {name: reading(reader, each) for name, each in requests().items()}
    written = {name: writing(writer, options, each) for name, each in REPLIES.items()}
    written["json, rle, as TorchServe's `json.dumps(indent=2)`"] = stock()
    return {"request of 1 MB": measure(read, seconds), "reply, 100 detections": measure(written, seconds)}


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replies", description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each row (default: 0.5)")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file, too")
    arguments = parser.parse_args(given)
    tables = measured(arguments.seconds)
    print(as_line(describe()))
    for title, rows in tables.items():
        print(f"\n{table(title, rows)}")
    if arguments.out:
        rows_of = {title: [asdict(row) for row in rows] for title, rows in tables.items()}
        arguments.out.write_text(json.dumps({"machine": describe()} | rows_of, indent=2) + "\n")


if __name__ == "__main__":
    main()
