"""A batch that fails as a whole, mostly for want of memory: what becomes of each of its pictures."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch

from handler.detections import Detections
from handler.detector import Detector
from handler.errors import RequestError, internal_error, out_of_memory
from handler.explanations import Explanations
from handler.failures import breaks_the_device, first_line, is_out_of_memory
from handler.images import Picture
from handler.metrics import Observe
from handler.selection import Selection

Found = TypeVar("Found")

logger = logging.getLogger(__name__)


def detect_or_split(
    detector: Detector, pictures: Sequence[Picture], selections: Sequence[Selection], observe: Observe
) -> list[Detections | RequestError]:
    """Find the instances of each picture; where memory runs out, of one picture after the other.

    Args:
        detector: The model.
        pictures: Any number of them.
        selections: What is answered of each.
        observe: Takes the metrics.

    Returns:
        One per picture, in their order; an error for those that memory is too small for even alone.
    """
    try:
        return [*_detect(detector, pictures, selections, observe)]
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        logger.warning("out of memory with %d pictures, now one by one: %s", len(pictures), first_line(error))
    # Only here, after the except clause: the exception's traceback kept the tensors of the failed batch alive.
    observe("maskrcnn_splits_total", 1)
    return [
        _alone(detector, picture, partial(_detect_one, detector, picture, selection, observe))
        for picture, selection in zip(pictures, selections, strict=True)
    ]


def explain_or_refuse(
    detector: Detector, picture: Picture, selection: Selection, observe: Observe
) -> Explanations | RequestError:
    """Explain what is found in one picture; where memory runs out, once more with what memory can be freed.

    Args:
        detector: The model.
        picture: On its own, whatever else is in its batch.
        selection: What is answered of it.
        observe: Takes the metrics.

    Raises:
        RequestError: The model cannot explain.
    """

    def explain() -> Explanations:
        return detector.explain(torch.from_numpy(picture.pixels), observe, (picture.height, picture.width), selection)

    try:
        return explain()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        logger.warning("out of memory with one explanation, now once more: %s", first_line(error))
    return _alone(detector, picture, explain)


def failure_of(error: Exception, count: int) -> RequestError:
    """What is said of an exception that answering so many requests ended with; called where it is handled.

    Raises:
        Exception: That one, where it breaks the device: nothing more can be computed.
    """
    if breaks_the_device(error):
        raise error
    if is_out_of_memory(error):
        logger.warning("out of memory with %d requests: %s", count, first_line(error))
        return out_of_memory("this request")
    logger.error("%d requests failed", count, exc_info=error)
    return internal_error(type(error).__name__)


def _alone(detector: Detector, picture: Picture, compute: Callable[[], Found]) -> Found | RequestError:
    detector.free_memory()
    try:
        return compute()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        logger.warning("out of memory with one picture: %s", first_line(error))
        return out_of_memory(f"a picture of {picture.width} x {picture.height} pixels")


def _detect_one(detector: Detector, picture: Picture, selection: Selection, observe: Observe) -> Detections:
    (found,) = _detect(detector, [picture], [selection], observe)
    return found


def _detect(
    detector: Detector, pictures: Sequence[Picture], selections: Sequence[Selection], observe: Observe
) -> list[Detections]:
    images = [torch.from_numpy(picture.pixels) for picture in pictures]
    sizes = [(picture.height, picture.width) for picture in pictures]
    return detector.detect(images, observe, sizes, selections)
