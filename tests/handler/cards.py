"""Model cards for the tests of the handler."""

from dataclasses import replace

from export.conventions import TORCHVISION_PREPROCESSING
from handler.model_card import ModelCard, Postprocessing, Preprocessing, SizeRule

PREPROCESSING = TORCHVISION_PREPROCESSING
POSTPROCESSING = Postprocessing(
    score_threshold=0.05, max_detections=100, clip_boxes=False, paste_rule="integer", paste_inclusive=False
)
CARD = ModelCard(
    class_names=("__background__", "circle", "square"), preprocessing=PREPROCESSING, postprocessing=POSTPROCESSING
)


def sized(rule: SizeRule, min_size: int = 800, max_size: int = 1333, divisor: int = 32) -> Preprocessing:
    return replace(PREPROCESSING, size_rule=rule, min_size=min_size, max_size=max_size, size_divisor=divisor)
