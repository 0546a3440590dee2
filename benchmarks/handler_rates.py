"""The handler without a server: pictures in host memory to finished answers, of one size and of 40."""

import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.made_up import PHOTO_SIZES, Network, photo
from benchmarks.variants import Variant, trace_of
from handler.canvas import canvas_size, resized_size
from handler.detector import Detector
from handler.gpu.settings import Graphs
from handler.loading import MODEL_FILE
from handler.model_card import FILE_NAME, ModelCard
from handler.settings import Settings

WAITING = 32  # pictures that wait at a time: what 64 clients leave to a worker with one batch in flight


def rates(
    network: Network, variant: Variant, device: torch.device, size: tuple[int, int], tiny: bool
) -> Iterator[dict[str, Any]]:
    """Pictures a second of one size, then of 40 sizes in a random order, ``WAITING`` a call.

    Args:
        network: The weights.
        variant: How it runs.
        device: Where it runs.
        size: (height, width) of the pictures of one size.
        tiny: Few and small pictures.
    """
    detector = load(network, variant, device)
    calls = 4 if tiny else 12
    one = [photo(*size, seed) for seed in range(4 if tiny else WAITING)]
    yield {"pictures": f"{size[0]} x {size[1]}", **_rate(detector, [one] * calls)}
    sizes = [(height // 8, width // 8) if tiny else (height, width) for height, width in PHOTO_SIZES]
    photos = [photo(*each, seed) for seed, each in enumerate(sizes)]
    rules = network.conventions.preprocessing
    canvases = {canvas_size(*resized_size(*each, rules), rules) for each in sizes}
    order = random.Random(1)
    mixed = [order.choices(photos, k=len(one)) for _ in range(calls)]
    yield {"pictures": f"40 sizes, {len(canvases)} canvases", **_rate(detector, mixed)}


def load(network: Network, variant: Variant, device: torch.device) -> Detector:
    """A detector as a worker has it."""
    names = tuple(map(str, range(network.architecture.classes)))
    card = ModelCard(names, network.conventions.preprocessing, network.conventions.postprocessing())
    settings = replace(
        Settings(), dtype=variant.dtype, fusion=variant.fusion, graphs=Graphs(32 if variant.graph else 0)
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / MODEL_FILE).write_bytes(trace_of(network))
        (Path(folder) / FILE_NAME).write_text(card.to_json())
        return Detector.load(Path(folder), settings, device)


def _rate(detector: Detector, calls: Sequence[Sequence[Tensor]]) -> dict[str, float]:
    """Of the second half of the calls, after the first has made what is made once."""
    half = len(calls) // 2
    for pictures in calls[:half]:
        detector.detect(pictures)
    begin, found = time.perf_counter(), 0
    for pictures in calls[half:]:
        found += sum(map(len, detector.detect(pictures)))
    answered = sum(map(len, calls[half:]))
    return {"per_second": answered / (time.perf_counter() - begin), "kept": found / answered, "a_call": len(calls[0])}
