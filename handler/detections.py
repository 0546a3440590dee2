"""What the model found in one picture, in pixels of that picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from torch import Tensor


@dataclass(frozen=True)
class Detections:
    """The instances of one picture, best score first.

    Attributes:
        height: Height of the picture, in pixels.
        width: Width of the picture, in pixels.
        boxes: (N, 4) float32 on the CPU, x1 y1 x2 y2.
        scores: (N,) float32 on the CPU.
        labels: (N,) int64 on the CPU, positions in the model card's ``class_names``.
        masks: One run-length string an instance, as COCO's ``counts``; its ``size`` is [height, width]. None where
            boxes only are wanted, or found.
    """

    height: int
    width: int
    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: tuple[str, ...] | None

    def __post_init__(self) -> None:
        lengths = {len(each) for each in (self.boxes, self.scores, self.labels, self.masks) if each is not None}
        if len(lengths) != 1:
            raise ValueError(f"boxes, scores, labels and masks must have one length, got {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.scores)


def unpack_masks(counts: Tensor, offsets: Tensor) -> list[str]:
    """Cut the bytes of ``ops.encode_rle`` into one string an instance.

    Args:
        counts: (T,) uint8 on the CPU, all strings one after the other.
        offsets: (N + 1,) int64 on the CPU, where each begins and the last ends.
    """
    text = counts.numpy().tobytes().decode("ascii")
    ends = offsets.tolist()
    return [text[begin:end] for begin, end in zip(ends, ends[1:], strict=False)]


def split(
    image_sizes: Tensor,
    counts: Tensor,
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    masked: Tensor,
    masks: Sequence[str],
) -> list[Detections]:
    """Cut the rows of several pictures, one after the other, into one answer a picture.

    Args:
        image_sizes: (N, 2) int64, height and width of each picture.
        counts: (N,) int64, rows of each.
        boxes: (K, 4) of all pictures, and so on.
        scores: (K,).
        labels: (K,).
        masked: (N,) bool, the pictures that have masks.
        masks: Those of these pictures' rows.
    """
    texts = iter(masks)
    ends = counts.cumsum(0).tolist()
    answers = []
    for (height, width), end, count, wanted in zip(
        image_sizes.tolist(), ends, counts.tolist(), masked.tolist(), strict=True
    ):
        span = slice(end - count, end)
        own = tuple(islice(texts, count)) if wanted else None
        answers.append(Detections(height, width, boxes[span], scores[span], labels[span], own))
    return answers
