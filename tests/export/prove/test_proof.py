"""The proof against a framework, with the slow reference of Detectron2 in its place: it holds, and it can fail."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from export.errors import ExportError
from export.prove import Framework, prove
from export.prove.answers import Answer
from handler.loading import MODEL_FILE
from handler.model_card import FILE_NAME, ModelCard
from tests.export.prove.exported import TINY, Exported, exported, reference_framework, shown


def nothing(picture: torch.Tensor) -> Answer:
    masks = torch.zeros(0, *picture.shape[:2], dtype=torch.bool)
    return Answer(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), masks)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return exported("detectron2", "fpn", tmp_path_factory.mktemp("served"))


def masks_moved(answer: Answer) -> Answer:
    assert answer.masks is not None
    return replace(answer, masks=answer.masks.roll(1, dims=2))


def best_dropped(answer: Answer) -> Answer:
    masks = None if answer.masks is None else answer.masks[1:]
    return Answer(answer.boxes[1:], answer.scores[1:], answer.labels[1:], masks)


def test_holds_where_the_framework_agrees(served: Exported) -> None:
    proof = prove(reference_framework(), served.folder, shown())
    assert proof.pictures == ("large", "small")
    assert proof.detections >= 20
    assert proof.apart == proof.moved_masks == 0
    worst, tolerance = proof.largest_differences, proof.tolerance
    assert 0 < worst["boxes"] < tolerance.boxes / 5
    assert 0 < worst["scores"] < tolerance.scores / 5
    assert worst["masks"] <= tolerance.masks
    assert proof.as_card()["tolerance"]["boxes"] == tolerance.boxes


# What a wrong preset gets wrong, one at a time.
WRONG: dict[str, dict[str, Any]] = {
    "colour order": {"before": lambda picture: picture.flip(2)},
    "deviation of the pixels": {"settings": replace(TINY, pixel_std=(57.375, 57.120, 58.395))},
    "mean of the pixels": {"settings": replace(TINY, pixel_mean=(102.9801, 115.9465, 122.7717))},
    "rounding of the resized sides": {"rounded": int},
    "half a pixel of the pooling": {"settings": replace(TINY, aligned=False)},
    "samples of the pooling": {"settings": replace(TINY, sampling_ratio=2)},
    "stride in 1x1": {"settings": replace(TINY, stride_in_1x1=False)},
    "box weights": {"settings": replace(TINY, box_weights=((10.0, 10.0, 5.0, 5.1),))},
    "overlap of two detections": {"settings": replace(TINY, box_nms=0.3)},
    "anchors": {"settings": replace(TINY, anchor_ratios=(0.5, 1.0, 2.1))},
    "labels": {"after": lambda answer: replace(answer, labels=answer.labels + 1)},
    "scale of the boxes": {"after": lambda answer: replace(answer, boxes=answer.boxes * 1.002)},
    "paste of the masks": {"after": masks_moved},
    "a detection that is not answered": {"after": best_dropped},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_fails_where_one_convention_differs(wrong: dict[str, Any], served: Exported) -> None:
    with pytest.raises(ExportError, match="does not answer like detectron2 reference: of .* most in") as error:
        prove(reference_framework(**wrong), served.folder, shown())
    assert any(name in str(error.value) for name in shown())


def test_a_framework_that_finds_what_the_export_does_not_or_nothing(served: Exported, tmp_path: Path) -> None:
    silent = Framework("detectron2", "silent", nothing)
    with pytest.raises(ExportError, match="(?s)of 0 detections .*only the export finds it"):
        prove(silent, served.folder, shown())
    shutil.copy(served.folder / MODEL_FILE, tmp_path)
    card = ModelCard.load(served.folder / FILE_NAME)
    strict = replace(card, postprocessing=replace(card.postprocessing, score_threshold=0.9999))
    (tmp_path / FILE_NAME).write_text(strict.to_json())
    with pytest.raises(ExportError, match="finds nothing in the pictures of the proof, so it proves nothing"):
        prove(silent, tmp_path, shown())
