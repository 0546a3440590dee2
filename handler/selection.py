"""Which detections of a picture are answered: chosen per request, within what the model was exported with."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from handler.model_card import ModelCard
from handler.settings import Settings


@dataclass(frozen=True)
class Selection:
    """What one picture's request wants of what was found in it.

    Attributes:
        score_threshold: Only detections above it.
        max_detections: No more than so many, the best ones.
        mask_threshold: Probability that makes a pixel part of an instance.
        labels: Only these; None: all.
        masks: Boxes and masks; else boxes only, and the mask head does not run for them.
    """

    score_threshold: float
    max_detections: int
    mask_threshold: float
    labels: frozenset[int] | None = None
    masks: bool = True


def default_selection(card: ModelCard, settings: Settings) -> Selection:
    """What a request gets that asks for nothing.

    Raises:
        ValueError: The settings ask for scores that the trace never gives.
    """
    post = card.postprocessing
    if settings.score_threshold is not None and settings.score_threshold < post.score_threshold:
        raise ValueError(
            f"model-config.yaml: score_threshold must be at least {post.score_threshold}, the limit that the model "
            f"was exported with, got {settings.score_threshold}; export it again with a lower one"
        )
    score = post.score_threshold if settings.score_threshold is None else settings.score_threshold
    mask = post.mask_threshold if settings.mask_threshold is None else settings.mask_threshold
    return Selection(score, post.max_detections, mask, masks=post.masks)


def kept_rows(selections: Sequence[Selection], scores: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
    """Mark the detections that are answered.

    Args:
        selections: One a picture.
        scores: (N, D) float32 on the CPU, best first in each row.
        labels: (N, D) int64.
        valid: (N, D) bool, rows that are detections at all.

    Returns:
        (N, D) bool.
    """
    kept = valid & (scores > torch.tensor([each.score_threshold for each in selections])[:, None])
    for row, found, each in zip(kept, labels, selections, strict=True):
        if each.labels is not None:
            row &= torch.isin(found, torch.tensor(sorted(each.labels), dtype=torch.int64))
    most = torch.tensor([each.max_detections for each in selections])[:, None]
    return kept & (kept.cumsum(1) <= most)
