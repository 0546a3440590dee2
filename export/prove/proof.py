"""Runs the framework and the served path on the same pictures, and refuses an export that answers otherwise."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from export.errors import ExportError
from export.prove.answers import Framework, served
from export.prove.compared import Compared, Cut, Tolerance, compare
from handler.detector import Detector

_SHOWN = 3  # lines of a picture that differs


@dataclass(frozen=True)
class SourceProof:
    """How close the export is to the framework.

    Attributes:
        framework: Of the checkpoint.
        version: Of its package.
        pictures: Their names.
        detections: How many the framework found, over all pictures.
        largest_differences: Of twins: ``boxes`` in pixels of the picture, ``scores``, and ``masks`` as the share of a
            mask's pixels.
        mask_pixels: Pixels that differ, over all masks.
        moved_masks: Masks whose outline lies a pixel off, by a corner that was almost whole.
        at_threshold: Detections that only one side found, with a score within the tolerance of being dropped.
        apart: Others that only one side found, or twins beyond the tolerance.
        tolerance: What would have been an error.
    """

    framework: str
    version: str
    pictures: tuple[str, ...]
    detections: int
    largest_differences: dict[str, float]
    mask_pixels: int
    moved_masks: int
    at_threshold: int
    apart: int
    tolerance: Tolerance

    def as_card(self) -> dict[str, Any]:
        """The proof as plain values."""
        return asdict(self)


@torch.inference_mode()
def prove(
    framework: Framework, folder: Path, pictures: Mapping[str, Tensor], tolerance: Tolerance | None = None
) -> SourceProof:
    """Compare what would be served with the framework's own answers.

    Args:
        framework: Holds the checkpoint's weights.
        folder: Holds ``model.pt`` and ``model_card.json``, as in an archive.
        pictures: (H, W, 3) uint8 each, RGB, by name.
        tolerance: What is no difference; the defaults of ``Tolerance`` without it.

    Raises:
        ExportError: The answers differ, or the framework finds nothing, so that nothing is proved.
    """
    tolerance, detector = tolerance or Tolerance(), Detector.load(folder)
    post = detector.card.postprocessing
    cut = Cut(post.score_threshold, post.max_detections)
    found = detector.detect(list(pictures.values()))
    compared = {
        name: compare(served(ours), framework.find(picture), tolerance, cut)
        for (name, picture), ours in zip(pictures.items(), found, strict=True)
    }
    _check(compared, tolerance, framework)
    return _summary(compared, tolerance, framework)


def _check(compared: Mapping[str, Compared], tolerance: Tolerance, framework: Framework) -> None:
    detections = sum(each.detections for each in compared.values())
    if not any(each.detections + len(each.apart) for each in compared.values()):
        raise ExportError(
            f"{framework.name} finds nothing in the pictures of the proof, so it proves nothing; name pictures that "
            "show what the model was trained for: --prove PICTURE ..."
        )
    apart = sum(len(each.apart) for each in compared.values())
    moved = sum(each.moved for each in compared.values())
    if apart > tolerance.share * detections or moved > 1 + tolerance.moved * detections:
        raise ExportError(
            f"the export does not answer like {framework.name} {framework.version}: of {detections} detections {apart} "
            f"are apart and {moved} masks lie a pixel off; {_worst(compared)}. Was the model trained with these "
            "conventions? `python -m export inspect` shows them"
        )


def _worst(compared: Mapping[str, Compared]) -> str:
    """The picture that differs most, in a few lines."""
    name = max(compared, key=lambda name: (len(compared[name].apart), compared[name].moved))
    each = compared[name]
    lines = [*each.apart[:_SHOWN], *(["..."] if len(each.apart) > _SHOWN else [])]
    return f"most in {name}, {len(each.apart)} apart and {each.moved} moved" + "".join(f"\n  {line}" for line in lines)


def _summary(compared: Mapping[str, Compared], tolerance: Tolerance, framework: Framework) -> SourceProof:
    each = list(compared.values())
    worst = {
        part: max((float(getattr(one, part).max()) for one in each if len(getattr(one, part))), default=0.0)
        for part in ("boxes", "scores", "masks")
    }
    return SourceProof(
        framework=framework.name,
        version=framework.version,
        pictures=tuple(compared),
        detections=sum(one.detections for one in each),
        largest_differences=worst,
        mask_pixels=sum(one.mask_pixels for one in each),
        moved_masks=sum(one.moved for one in each),
        at_threshold=sum(one.at_threshold for one in each),
        apart=sum(len(one.apart) for one in each),
        tolerance=tolerance,
    )
