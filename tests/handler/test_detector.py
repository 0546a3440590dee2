"""Pictures to detections with a model whose answers are known by hand."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco
from torch import Tensor

from handler.detections import Detections
from handler.detector import Detector
from handler.model_card import ModelCard, Postprocessing
from handler.network import Network
from handler.settings import Settings
from tests.handler.cards import PREPROCESSING
from tests.handler.made_up_model import SCORES, save_made_up_model

CARD = ModelCard(
    class_names=tuple(f"class {index}" for index in range(256)),
    preprocessing=replace(
        PREPROCESSING, min_size=64, max_size=128, pixel_divisor=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
    ),
    postprocessing=Postprocessing(
        score_threshold=0.05, max_detections=4, clip_boxes=False, paste_rule="exact", paste_inclusive=True
    ),
)


def load(folder: Path, settings: Settings | None = None, card: ModelCard = CARD) -> Detector:
    return Detector.load(save_made_up_model(folder, card), settings)


def plain(height: int, width: int, red: int, green: int = 0, blue: int = 0) -> Tensor:
    return torch.tensor([red, green, blue], dtype=torch.uint8).repeat(height, width, 1)


def planes(found: Detections) -> list[np.ndarray]:
    size = [found.height, found.width]
    return [coco.decode({"size": size, "counts": counts}).astype(bool) for counts in found.masks]


def test_answers_come_in_pixels_of_the_picture(tmp_path: Path) -> None:
    (found,) = load(tmp_path).detect([plain(32, 48, red=7, green=200)])  # resized to 64 x 96
    assert (found.height, found.width, len(found)) == (32, 48, 3)
    assert found.boxes.tolist() == [[0, 0, 48, 32], [0, 0, 24, 32], [0, 0, 48, 16]]
    assert found.scores.tolist() == pytest.approx(SCORES)
    assert found.labels.tolist() == [7, 7, 7]
    whole, left, top = planes(found)
    assert whole.all()
    assert left[:, :24].all()
    assert not left[:, 24:].any()
    assert top[:16].all()
    assert not top[16:].any()


# Canvases: 64 x 64, 64 x 96, 64 x 128 and 128 x 64, mixed, with pictures in which nothing is found.
MIXED = [
    plain(40, 40, 1, 200),
    plain(30, 60, 2),
    plain(64, 90, 3, 200),
    plain(50, 50, 4, 0, 200),
    plain(33, 33, 5),
    plain(60, 30, 6, 200),
    plain(31, 62, 7, 200, 200),
    plain(64, 64, 8, 200),
    plain(1, 1, 9),
]


@pytest.mark.parametrize("max_pass_size", [1, 2, 8])
def test_an_answer_does_not_depend_on_the_batch(tmp_path: Path, max_pass_size: int) -> None:
    detector = load(tmp_path, Settings(max_pass_size=max_pass_size))
    together = detector.detect(MIXED)
    for index, (picture, found) in enumerate(zip(MIXED, together, strict=True), start=1):
        (alone,) = detector.detect([picture])
        assert (found.height, found.width) == picture.shape[:2]
        assert set(found.labels.tolist()) <= {index}
        assert torch.equal(found.boxes, alone.boxes)
        assert torch.equal(found.scores, alone.scores)
        assert torch.equal(found.labels, alone.labels)
        assert found.masks == alone.masks
    assert [len(found) for found in together] == [3, 3, 3, 0, 3, 3, 0, 3, 3]


def test_pictures_with_equal_canvases_share_a_pass(tmp_path: Path) -> None:
    seen: defaultdict[str, list[float]] = defaultdict(list)
    load(tmp_path, Settings(max_pass_size=3)).detect(MIXED, lambda name, value: seen[name].append(value))
    # 64 x 64 has five pictures, 64 x 128 two, the other two one each.
    assert seen["maskrcnn_pass_size"] == [3, 2, 2, 1, 1]
    stages = ("place", "detect", "segment", "encode")
    assert [len(seen[f"maskrcnn_{stage}_seconds"]) for stage in stages] == [5] * 4


def test_nothing_found(tmp_path: Path) -> None:
    (found,) = load(tmp_path).detect([plain(32, 48, 1, blue=200)])
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)


def test_no_pictures(tmp_path: Path) -> None:
    assert load(tmp_path).detect([]) == []


@pytest.mark.parametrize(("threshold", "count"), [(None, 3), (0.3, 2), (0.5, 2), (0.95, 0), (1.0, 0)])
def test_only_scores_above_the_threshold_are_answered(tmp_path: Path, threshold: float | None, count: int) -> None:
    (found,) = load(tmp_path, Settings(score_threshold=threshold)).detect([plain(32, 48, 1)])
    assert found.scores.tolist() == pytest.approx(SCORES[:count])
    assert len(found.masks) == count


def test_a_threshold_below_the_exported_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"score_threshold must be at least 0.05, .* got 0.01; export it again"):
        load(tmp_path, Settings(score_threshold=0.01))


def test_the_mask_threshold_of_the_deployment_wins(tmp_path: Path) -> None:
    (narrow,) = load(tmp_path, Settings(mask_threshold=1.0)).detect([plain(56, 56, 1)])
    (wide,) = load(tmp_path, Settings(mask_threshold=0.01)).detect([plain(56, 56, 1)])
    assert planes(narrow)[0].sum() < planes(wide)[0].sum()


def test_who_clips_drops_what_has_no_inside(tmp_path: Path) -> None:
    tiny = replace(CARD, postprocessing=replace(CARD.postprocessing, clip_boxes=True))
    (found,) = load(tmp_path, card=tiny).detect([plain(32, 48, 1)])
    assert len(found) == 3
    network = load(tmp_path, card=tiny)._steps._network
    boxes = torch.tensor([[[0.0, 0.0, 4.0, 4.0], [5.0, 5.0, 5.0, 9.0], [1.0, 1.0, 2.0, 2.0]]])
    kept = network._valid(boxes, torch.tensor([[0.9, 0.8, 0.7]]), torch.tensor([2]))
    assert kept.tolist() == [[True, False, False]]


def test_answers_are_in_the_size_that_is_asked_for(tmp_path: Path) -> None:
    """A picture that was shrunk as it was decoded is answered in its own pixels, on its own canvas."""
    (found,) = load(tmp_path).detect([plain(16, 24, 7, 200)], image_sizes=[(31, 47)])
    (own,) = load(tmp_path).detect([plain(31, 47, 7, 200)])
    assert (found.height, found.width) == (31, 47)
    assert torch.equal(found.boxes, own.boxes)
    assert found.masks == own.masks


def test_pictures_may_be_views(tmp_path: Path) -> None:
    picture = torch.randint(0, 255, (3, 60, 40), dtype=torch.uint8)
    detector = load(tmp_path)
    (view,), (copy,) = (
        detector.detect([picture.permute(1, 2, 0)]),
        detector.detect([picture.permute(1, 2, 0).contiguous()]),
    )
    assert view.labels.tolist() == copy.labels.tolist()
    assert view.masks == copy.masks


@pytest.mark.parametrize(("sizes", "computed"), [((), [(64, 64)]), (((40, 40), (90, 60)), [(96, 64), (64, 64)])])
def test_warm_up_computes_the_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: tuple[tuple[int, int], ...], computed: list[tuple[int, int]]
) -> None:
    """Each once, the largest first, its canvas to the masks: nothing is left for the first request."""
    seen: list[tuple[int, int]] = []
    encoded: list[int] = []
    place, encode = Network.place, Network.encode

    def placed(network: Network, images: list[Tensor], sizes: Tensor, canvas: tuple[int, int]) -> Tensor:
        seen.append(canvas)
        return place(network, images, sizes, canvas)

    def encoding(network: Network, probs: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        encoded.append(len(probs))
        return encode(network, probs, *others)

    monkeypatch.setattr(Network, "place", placed)
    monkeypatch.setattr(Network, "encode", encoding)
    load(tmp_path, Settings(warm_up_sizes=sizes))
    assert seen == computed
    assert encoded == [1] * len(computed)


def test_results_need_no_gradients_and_stay_on_the_cpu(tmp_path: Path) -> None:
    (found,) = load(tmp_path).detect([plain(32, 48, 1)])
    assert not found.boxes.requires_grad
    assert found.boxes.device.type == "cpu"


def test_a_card_of_another_version_is_refused(tmp_path: Path) -> None:
    save_made_up_model(tmp_path, CARD)
    (tmp_path / "model_card.json").write_text("{}")
    with pytest.raises(ValueError, match="is not a model card of this version"):
        Detector.load(tmp_path)
