"""Detections as COCO's results format."""

from typing import Any

from handler.detections import Detections
from handler.replies.detections_json import BOX_DECIMALS, SCORE_DECIMALS
from handler.replies.json_text import to_json
from handler.replies.limits import within
from handler.replies.polygons import polygons_of
from handler.requests.options import Masks


def detections_as_coco(detections: Detections, image_id: int | str, max_bytes: int, masks: Masks = "rle") -> bytes:
    """Write the answer to one picture.

    Args:
        detections: What was found.
        image_id: The picture's, as in the annotations that the results are compared with.
        max_bytes: Longest reply.
        masks: ``rle``, ``polygon`` or ``none``.

    Returns:
        A JSON list, best first, that ``pycocotools.coco.COCO.loadRes`` takes as it is: ``image_id``, ``category_id``
        (the label), ``bbox`` [x, y, width, height] in pixels, ``score`` and, with masks, ``segmentation``. A mask
        without pixels is a polygon without an area: pycocotools takes no empty list.

    Raises:
        RequestError: The reply would be longer than ``max_bytes``.

    Source:
        The results format of COCO's detection task.
    """
    rows = zip(detections.labels.tolist(), detections.scores.tolist(), detections.boxes.tolist(), strict=True)
    results: list[dict[str, Any]] = [
        {
            "image_id": image_id,
            "category_id": label,
            "bbox": [round(each, BOX_DECIMALS) for each in (left, top, right - left, bottom - top)],
            "score": round(score, SCORE_DECIMALS),
        }
        for label, score, (left, top, right, bottom) in rows
    ]
    size = [detections.height, detections.width]
    if detections.masks is not None and masks == "rle":
        for result, counts in zip(results, detections.masks, strict=True):
            result["segmentation"] = {"size": size, "counts": counts}
    if detections.masks is not None and masks == "polygon":
        for result, polygons in zip(results, polygons_of(detections.masks, *size), strict=True):
            result["segmentation"] = polygons or [[round(each) for each in result["bbox"][:2]] * 3]
    return within(to_json(results), max_bytes, f"the list of {len(detections)} results")
