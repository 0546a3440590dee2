"""The bodies of a batch to pictures, several at a time."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handler.errors import RequestError, out_of_memory
from handler.images import Picture, Wanted, check_size, count_pixels, decode_guarded, pillow_guarded

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

    def decode(self, bodies: Sequence[Body]) -> list[Picture | RequestError]:
        """Decode each body; what is wrong with one is its own result and nobody else's."""
        with pillow_guarded(self._max_pixels):
            if self._pool is None or len(bodies) == 1:  # alone, the way to another thread and back is only longer
                return [self._decode(body) for body in bodies]
            return list(self._pool.map(self._decode, bodies))

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
