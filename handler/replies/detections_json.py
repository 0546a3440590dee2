"""Detections as JSON."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from handler.detections import Detections
from handler.images import BadImageError
from handler.replies.json_text import rounded, to_json

BOX_DECIMALS = 3  # a thousandth of a pixel; frameworks differ among each other by more
SCORE_DECIMALS = 6  # what float32 holds near 1


def detections_as_json(
    detections: Detections, class_names: Sequence[str], model: str, version: str, max_bytes: int
) -> bytes:
    """Write the answer to one picture.

    Args:
        detections: What was found.
        class_names: The model card's; a label is a position in it.
        model: Name under which the model is served.
        version: Its version on the server.
        max_bytes: Longest reply.

    Returns:
        JSON: ``model``, ``version``, ``image`` with ``width`` and ``height``, and ``detections``, best first, each
        with ``label``, ``class``, ``score`` (6 decimals), ``box`` [x1, y1, x2, y2] in pixels (3 decimals) and
        ``mask``, COCO's compressed run lengths, which ``pycocotools.mask.decode`` takes as they are. A Faster R-CNN's
        have no ``mask``.

    Raises:
        BadImageError: The reply would be longer than ``max_bytes``.
    """
    reply = to_json(
        {
            "model": model,
            "version": version,
            "image": {"width": detections.width, "height": detections.height},
            "detections": _instances(detections, class_names),
        }
    )
    if len(reply) > max_bytes:
        raise BadImageError(
            "reply_too_long",
            f"the reply with {len(detections)} detections has {len(reply):,} bytes, the limit is {max_bytes:,}",
            "send a smaller picture, or raise score_threshold or max_reply_bytes in model-config.yaml",
            HTTPStatus.UNPROCESSABLE_ENTITY,
        )
    return reply


def _instances(detections: Detections, class_names: Sequence[str]) -> list[dict[str, Any]]:
    size = [detections.height, detections.width]
    scores, boxes = rounded(detections.scores, SCORE_DECIMALS), rounded(detections.boxes, BOX_DECIMALS)
    rows = zip(detections.labels.tolist(), scores, boxes, strict=True)
    instances: list[dict[str, Any]] = [
        {
            "label": label,
            "class": class_names[label],
            "score": score,
            "box": box,
        }
        for label, score, box in rows
    ]
    for instance, counts in zip(instances, detections.masks or (), strict=detections.masks is not None):
        instance["mask"] = {"size": size, "counts": counts}
    return instances
