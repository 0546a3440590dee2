"""A Faster R-CNN, whose answers have no masks; and labels whose background is last, so that label 0 is a class."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from handler.asking.table import table
from handler.detector import Detector
from handler.draw import draw_detections
from handler.model_card import FILE_NAME, ModelCard
from handler.network import Network
from handler.replies.detections_json import detections_as_json
from handler.settings import Settings
from tests.handler.found import made_up
from tests.handler.made_up_model import SCORES, MadeUpModel, save_made_up_model
from tests.handler.test_detector import CARD, MIXED, plain
from tests.reply_schema import parsed

BOXES_ONLY = replace(CARD, postprocessing=replace(CARD.postprocessing, masks=False))


class WithoutSegment(MadeUpModel):
    """Fails where somebody asks it for masks."""

    @torch.jit.export
    def segment(self, boxes: Tensor, labels: Tensor, counts: Tensor, level0: Tensor) -> Tensor:
        raise RuntimeError("there are no masks")


def load(folder: Path, card: ModelCard = BOXES_ONLY, settings: Settings | None = None) -> Detector:
    torch.jit.save(torch.jit.script(WithoutSegment()), folder / "model.pt")
    (folder / FILE_NAME).write_text(card.to_json())
    return Detector.load(folder, settings)


def reply_to(detector: Detector, picture: Tensor) -> list[dict[str, object]]:
    (found,) = detector.detect([picture])
    reply = parsed(detections_as_json(found, detector.card.class_names, "shapes", "1.0", 10_000))
    detections: list[dict[str, object]] = reply["detections"]
    return detections


def test_the_double_fails_where_masks_are_wanted(tmp_path: Path) -> None:
    """Else the tests below would prove nothing."""
    with pytest.raises(torch.jit.Error, match="there are no masks"):
        load(tmp_path, CARD)


def test_answers_have_boxes_and_no_masks(tmp_path: Path) -> None:
    (found,) = load(tmp_path).detect([plain(32, 48, red=7)])
    assert found.masks is None
    assert found.boxes.tolist() == [[0, 0, 48, 32], [0, 0, 24, 32], [0, 0, 48, 16]]
    assert found.scores.tolist() == pytest.approx(SCORES)
    assert len(found) == 3


def test_mixed_batches_and_pictures_without_anything(tmp_path: Path) -> None:
    found = load(tmp_path, settings=Settings(max_pass_size=3)).detect(MIXED)
    assert [len(each) for each in found] == [3, 3, 3, 0, 3, 3, 0, 3, 3]
    assert {each.masks for each in found} == {None}


def test_nothing_of_masks_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(Network, "segment", lambda *_: seen.append("segment"))
    monkeypatch.setattr(Network, "encode", lambda *_: seen.append("encode"))
    metrics: list[str] = []
    load(tmp_path, settings=Settings(warm_up_sizes=((40, 40), (90, 60)))).detect(
        [plain(32, 48, 1)], lambda name, _: metrics.append(name)
    )
    assert seen == []
    assert not {"maskrcnn_segment_seconds", "maskrcnn_encode_seconds"} & set(metrics)
    assert "maskrcnn_detect_seconds" in metrics


def test_a_reply_has_no_mask(tmp_path: Path) -> None:
    first, *others = reply_to(load(tmp_path), plain(32, 48, red=7))
    assert first == {"label": 7, "class": "class 7", "score": 0.9, "box": [0.0, 0.0, 48.0, 32.0]}
    assert len(others) == 2


def test_people_see_the_boxes(tmp_path: Path) -> None:
    detections = reply_to(load(tmp_path), plain(32, 48, red=7))
    lines = table(detections).splitlines()
    assert lines[1].split() == ["class", "7", "0.900", "0.0", "0.0", "48.0", "32.0", "-"]
    drawn = draw_detections(Image.new("RGB", (48, 32)), detections, scale=8)  # large beside its names
    assert drawn.getpixel((0, 255)) == (230, 25, 75)  # the edge of the first box
    assert drawn.getpixel((288, 200)) == (0, 0, 0)  # nothing is tinted


def test_lengths_must_agree_without_masks_too() -> None:
    boxes_only = replace(made_up(4, 4, count=2), masks=None)
    with pytest.raises(ValueError, match=r"must have one length, got \[1, 2\]"):
        replace(boxes_only, labels=torch.tensor([1]))


def test_a_card_keeps_it_and_an_older_one_means_masks(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(BOXES_ONLY.to_json())
    assert ModelCard.load(path) == BOXES_ONLY
    fields = json.loads(CARD.to_json())
    del fields["postprocessing"]["masks"]
    path.write_text(json.dumps(fields))
    assert ModelCard.load(path) == CARD
    assert ModelCard.load(path).postprocessing.masks


@pytest.mark.parametrize(
    ("names", "red", "name"),
    [
        (("ant", "bee"), 0, "ant"),  # Detectron2: the background is last and no label
        (("ant", "bee"), 1, "bee"),
        (("background", "ant", "bee"), 1, "ant"),
        (("background", "ant", "bee"), 2, "bee"),
    ],
)
def test_every_label_has_its_name(tmp_path: Path, names: tuple[str, ...], red: int, name: str) -> None:
    detector = Detector.load(save_made_up_model(tmp_path, replace(CARD, class_names=names)))
    assert {(each["label"], each["class"]) for each in reply_to(detector, plain(32, 48, red))} == {(red, name)}
