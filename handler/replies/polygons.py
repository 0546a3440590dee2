"""Masks to the polygons on their pixels' borders, from the run lengths and without a plane."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

import numpy as np
from numpy.typing import NDArray

from handler.errors import RequestError
from handler.replies.limits import HINT, TOO_LONG
from handler.run_lengths import runs_inside

MOST_CHARACTERS = 4_000_000  # of all masks' run lengths, about half as many runs: 2 to 8 seconds, and a gigabyte
Ints = NDArray[np.int64]
Polygon = list[int]
"""x, y, x, y, ... of its corners, in pixels; the last is joined to the first."""


def polygons_of(masks: Sequence[str], height: int, width: int) -> list[list[Polygon]]:
    """Trace the boundary of each mask of one picture.

    A COCO polygon has no holes: where a mask has one, its boundary is joined to the one around it by a cut of no width
    along the pixels' borders, walked down and up again. So pycocotools paints each mask back to the pixel, and areas
    by the shoelace formula are exact too. Pixels that touch at a corner only belong to polygons of their own.

    Args:
        masks: COCO's compressed run lengths.
        height: Height of the picture, in pixels.
        width: Width of the picture, in pixels.

    Returns:
        The polygons of each mask, clockwise as seen; an empty mask has none.

    Raises:
        RequestError: The run lengths are longer than ``MOST_CHARACTERS``.
    """
    if (length := sum(map(len, masks))) > MOST_CHARACTERS:
        message = f"run lengths of {length:,} characters are too long for polygons, the limit is {MOST_CHARACTERS:,}"
        raise RequestError(TOO_LONG, message, HINT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    edges = _edges(masks, height, width)
    polygons: list[list[Polygon]] = [[] for _ in masks]
    if not len(edges.y):
        return polygons
    following = _following(edges)
    loops = _loops(following)
    if holes := [loop[0] for loop in loops if loop[0] % 2]:
        _join(holes, following)
        loops = _loops(following)
    for loop, polygon in zip(loops, _corners(edges, loops), strict=True):
        polygons[edges.mask[loop[0]]].append(polygon)
    return polygons


@dataclass(frozen=True)
class _Edges:
    """The upper and lower borders of each run of pixels in one column, in turn, column by column.

    An upper border (an even position) is walked to the right, a lower one to the left, so that the mask is always on
    the right hand. The columns of all masks lie side by side with an empty one between two of them.
    """

    mask: Ints  # which mask
    x: Ints  # the column in the picture
    line: Ints  # the column among those of all masks
    y: Ints


def _edges(masks: Sequence[str], height: int, width: int) -> _Edges:
    runs = [np.stack(runs_inside(counts)) for counts in masks]  # (2, R) each
    mask = np.repeat(np.arange(len(runs)), [each.shape[1] for each in runs])
    begins, ends = np.concatenate([np.empty((2, 0), dtype=np.int64), *runs], axis=1)
    columns = (ends - 1) // height - begins // height + 1  # a run may go on in the next column
    mask, begins, ends = (np.repeat(each, columns) for each in (mask, begins, ends))
    step = np.arange(len(mask)) - np.repeat(columns.cumsum() - columns, columns)
    x = begins // height + step
    upper = np.where(step == 0, begins - x * height, 0)
    lower = np.minimum(ends - x * height, height)
    y = np.stack((upper, lower), 1).ravel()
    mask, x = np.repeat(mask, 2), np.repeat(x, 2)
    return _Edges(mask, x, mask * (width + 1) + x, y)


def _following(edges: _Edges) -> list[int]:
    """The edge that each one is followed by on its boundary.

    The ends of all edges on one vertical line, from top to bottom, lie in pairs on both sides of the line's pieces of
    boundary. Of two ends at one point the lower border comes first: there a boundary turns around its own pixel.
    """
    count, span = len(edges.y), int(edges.y.max()) + 1
    closes = np.arange(count) % 2
    key = (edges.line * span + edges.y) * 2 + 1 - closes
    by_place = np.argsort(np.concatenate((key, key + 2 * span)), kind="stable")  # left ends, right ends: both sorted
    partner = np.empty(2 * count, dtype=np.int64)
    partner[by_place[0::2]], partner[by_place[1::2]] = by_place[1::2], by_place[0::2]
    leaving = np.arange(count) + count * (1 - closes)  # the upper border is left at its right end
    following: list[int] = (partner[leaving] % count).tolist()
    return following


def _loops(following: Sequence[int]) -> list[list[int]]:
    """The edges of each boundary in the order of a walk, from its leftmost and then topmost one."""
    left, loops = list(following), []
    for start, edge in enumerate(left):
        if edge < 0:
            continue
        loop, edge = [], start
        while left[edge] >= 0:
            loop.append(edge)
            left[edge], edge = -1, left[edge]
        loops.append(loop)
    return loops


def _join(holes: Sequence[int], following: list[int]) -> None:
    """Make each hole part of the boundary around it.

    Args:
        holes: The leftmost and then topmost edge of each. It is the lower border of a run of pixels, whose upper
            border, the edge before it, belongs to the boundary around. Both end on one vertical line: the cut.
        following: As ``_following`` gives it; is changed.
    """
    before = {edge: position for position, edge in enumerate(following)}
    for hole in holes:
        around, inside = before[hole - 1], following[hole]
        following[around], following[hole] = inside, hole - 1
        before[inside], before[hole - 1] = around, hole


def _corners(edges: _Edges, loops: Sequence[Sequence[int]]) -> list[Polygon]:
    """The corners of each boundary: where it enters and leaves the vertical lines on which it changes its height."""
    walk = np.concatenate([np.array(loop) for loop in loops])
    sizes = np.array([len(loop) for loop in loops])
    firsts = sizes.cumsum() - sizes
    previous = np.arange(-1, len(walk) - 1)
    previous[firsts] = firsts + sizes - 1
    y, x = edges.y[walk], edges.x[walk] + walk % 2  # where an edge begins: on the right, if it is walked to the left
    turns = y != y[previous]
    corners = np.stack((x, y[previous], x, y), 1)[turns].ravel().tolist()
    ends = (4 * np.add.reduceat(turns.astype(np.int64), firsts)).cumsum().tolist()
    return [corners[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
