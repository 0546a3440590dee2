"""The bodies of a batch to pictures, several at a time."""

import math
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from itertools import accumulate
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handler.errors import RequestError, out_of_memory
from handler.images import BadImageError, Picture, Wanted, check_size, count_pixels, decode_guarded, pillow_guarded

MOST_SECONDS = 10  # of one request: eight in a batch stay below responseTimeout; 50 million honest pixels need 1 to 5

Body = bytes | bytearray | NDArray[np.uint8]
"""The bytes of a file, or pixels: (H, W, 3) uint8, RGB."""


class Decoder:
    """Decodes with a pool of threads: Pillow lets other threads run while it decodes.

    The threads call no op of PyTorch; each would start a pool of its own.
    """

    def __init__(self, max_pixels: int, threads: int, wanted: Wanted | None = None) -> None:
        """Start the pool and load Pillow's formats, which else the first request waits for.

        Args:
            max_pixels: Most pixels of a picture.
            threads: Pictures that are decoded at a time.
            wanted: See ``decode_guarded``.
        """
        Image.init()
        self._max_pixels, self._wanted = max_pixels, wanted
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode") if threads > 1 else None

    def decode(self, bodies: Sequence[Body], requests: Sequence[int] | None = None) -> list[Picture | RequestError]:
        """Decode each body; what is wrong with one is its own result and nobody else's.

        A request of several pictures that took ``MOST_SECONDS`` gets no more of them: its batch waits for it.

        Args:
            bodies: Any number of them.
            requests: What tells apart the requests that they came in; None: each came alone.
        """
        spent: dict[int, float] = defaultdict(float)

        def decode_in_time(body: Body, request: int) -> Picture | RequestError:
            if spent[request] > MOST_SECONDS:
                return _too_slow()
            begin = perf_counter()  # not the thread's own time: AVIF has threads besides
            decoded = self._decode(body)
            spent[request] += perf_counter() - begin
            return decoded

        with pillow_guarded(self._max_pixels):
            each = requests if requests is not None else range(len(bodies))
            if self._pool is None or len(bodies) == 1:  # alone, the way to another thread and back is only longer
                return [*map(decode_in_time, bodies, each)]
            return list(self._pool.map(decode_in_time, bodies, each))

    def fitting(self, bodies: Sequence[Body]) -> int:
        """How many of the pictures of one request may be decoded: together they have no more pixels than one may have.

        Args:
            bodies: In the order of the request; a body that is no picture takes no room.
        """
        with pillow_guarded(self._max_pixels):
            totals = accumulate(map(self._pixels, bodies))
            return sum(total <= self._max_pixels for total in totals)

    def _pixels(self, body: Body) -> int:
        if isinstance(body, np.ndarray):
            return math.prod(body.shape[:2])
        return count_pixels(body, self._max_pixels)

    def _decode(self, body: Body) -> Picture | RequestError:
        try:
            if isinstance(body, np.ndarray):
                height, width = body.shape[:2]
                check_size(height, width, self._max_pixels)
                return Picture(body, height, width)
            return decode_guarded(body, self._max_pixels, self._wanted)
        except RequestError as error:
            return error
        except MemoryError:
            return out_of_memory("the pixels of this picture")


def _too_slow() -> BadImageError:
    return BadImageError(
        "too_many_pixels",
        f"the pictures of this request before this one took more than {MOST_SECONDS} seconds to decode",
        "send fewer pictures a request, or smaller ones",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )
