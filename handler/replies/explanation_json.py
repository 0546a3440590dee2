"""Explanations as JSON."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from handler.explanations import Explanations
from handler.replies.detections_json import BOX_DECIMALS, SCORE_DECIMALS
from handler.replies.json_text import to_json
from handler.replies.limits import within

MOST_CLASSES = 10  # an LVIS model has 1,203, of which nearly all are nearly 0
BACKGROUND = "background"
_HINT = (
    "ask for masks=none, fewer max_detections or a higher score_threshold; who runs the server may raise "
    "max_reply_bytes in model-config.yaml"
)


def explanations_as_json(
    found: Explanations, class_names: Sequence[str], model: str, version: str, max_bytes: int
) -> bytes:
    """Write the explanations of one picture.

    Args:
        found: What was found, and by what.
        class_names: The model card's; a label is a position in it.
        model: Name under which the model is served.
        version: Its version on the server.
        max_bytes: Longest reply.

    Returns:
        JSON, ``explained`` in ``reply.schema.json``.

    Raises:
        RequestError: The reply would be longer than ``max_bytes``.
    """
    detections = found.detections
    reply = {
        "model": model,
        "version": version,
        "image": {"width": detections.width, "height": detections.height},
        "explanations": [_explanation(found, index, class_names) for index in range(len(detections))],
    }
    return within(to_json(reply), max_bytes, f"the explanation of {len(detections)} detections", _HINT)


def _explanation(found: Explanations, index: int, class_names: Sequence[str]) -> dict[str, Any]:
    detections, label = found.detections, int(found.detections.labels[index])
    explanation: dict[str, Any] = {
        "label": label,
        "class": class_names[label],
        "score": _score(detections.scores[index]),
        "box": _box(detections.boxes[index]),
        "proposal": {"box": _box(found.proposals[index]), "score": _score(found.objectness[index])},
        "class_scores": _class_scores(found.class_scores[index], label, class_names),
    }
    if found.mask_probabilities is not None:
        probabilities = found.mask_probabilities[index]
        explanation["mask_probabilities"] = {"size": list(probabilities.shape), "png": _png(probabilities)}
    return explanation


def _class_scores(scores: Tensor, label: int, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """The best classes, best first; that of the detection is always among them."""
    order = scores.argsort(descending=True, stable=True).tolist()
    shown = [each for place, each in enumerate(order) if place < MOST_CLASSES or each == label]
    return [_class_score(each, _score(scores[each]), class_names) for each in shown]


def _class_score(column: int, score: float, class_names: Sequence[str]) -> dict[str, Any]:
    if column < len(class_names):
        return {"label": column, "class": class_names[column], "score": score}
    return {"class": BACKGROUND, "score": score}  # behind the last label, so it has none


def _png(probabilities: Tensor) -> str:
    """(M, M) probabilities -> a grey picture in base64; 255 is 1."""
    grey = (probabilities.clamp(0, 1) * 255).round().to(torch.uint8)
    file = io.BytesIO()
    Image.fromarray(grey.numpy()).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _box(box: Tensor) -> list[float]:
    return [round(corner, BOX_DECIMALS) for corner in box.tolist()]


def _score(score: Tensor) -> float:
    return round(float(score), SCORE_DECIMALS)
