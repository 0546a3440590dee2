"""Detections as JSON; ``reply.schema.json`` is the contract."""

from collections.abc import Sequence
from typing import Any

from handler.detections import Detections
from handler.replies.json_text import rounded, to_json
from handler.replies.limits import within
from handler.replies.palette import palette_masks
from handler.replies.polygons import polygons_of
from handler.requests.options import Masks

BOX_DECIMALS = 3  # a thousandth of a pixel; frameworks differ among each other by more
SCORE_DECIMALS = 6  # what float32 holds near 1


def detections_as_json(
    detections: Detections,
    class_names: Sequence[str],
    model: str,
    version: str,
    max_bytes: int,
    masks: Masks = "rle",
    left_out: str = "",
) -> bytes:
    """Write the answer to one picture.

    Args:
        detections: What was found.
        class_names: The model card's; a label is a position in it.
        model: Name under which the model is served.
        version: Its version on the server.
        max_bytes: Longest reply.
        masks: What a mask is written as; where there are none, none is.
        left_out: Why masks that were asked for are not there; empty: all are.

    Returns:
        JSON: ``model``, ``version``, ``image`` with ``width`` and ``height``, and ``detections``, best first, each
        with ``label``, ``class``, ``score`` (6 decimals), ``box`` [x1, y1, x2, y2] in pixels (3 decimals) and, if
        ``masks`` says so, ``mask``: COCO's compressed run lengths, which ``pycocotools.mask.decode`` takes as they
        are, or polygons. As ``png`` all masks are one picture beside the detections.

    Raises:
        RequestError: The reply would be longer than ``max_bytes``.
    """
    answer: dict[str, Any] = {
        "model": model,
        "version": version,
        "image": {"width": detections.width, "height": detections.height},
        "detections": instances(detections, class_names, masks),
    }
    if detections.masks is not None and masks == "png":
        answer["masks"] = palette_masks(detections, class_names)
    if left_out:
        answer["truncated"] = {"left_out": "masks", "reason": left_out}
    return within(to_json(answer), max_bytes, f"the reply with {len(detections)} detections")


def instances(detections: Detections, class_names: Sequence[str], masks: Masks) -> list[dict[str, Any]]:
    """The ``detections`` of a reply.

    Args:
        detections: What was found.
        class_names: The model card's.
        masks: What a mask is written as; ``png`` and ``none`` give no ``mask``, nor do detections without masks.
    """
    scores, boxes = rounded(detections.scores, SCORE_DECIMALS), rounded(detections.boxes, BOX_DECIMALS)
    rows = zip(detections.labels.tolist(), scores, boxes, strict=True)
    written: list[dict[str, Any]] = [
        {"label": label, "class": class_names[label], "score": score, "box": box} for label, score, box in rows
    ]
    size = [detections.height, detections.width]
    if detections.masks is not None and masks == "rle":
        for instance, counts in zip(written, detections.masks, strict=True):
            instance["mask"] = {"size": size, "counts": counts}
    if detections.masks is not None and masks == "polygon":
        for instance, polygons in zip(written, polygons_of(detections.masks, *size), strict=True):
            instance["mask"] = {"polygons": polygons}
    return written
