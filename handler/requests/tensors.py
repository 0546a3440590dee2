"""Tensors of the Open Inference Protocol (KServe v2) as they stand in JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handler.errors import RequestError
from handler.images import BadImageError
from handler.requests.base64_picture import decode_base64
from handler.requests.values import shown

MOST_DIMENSIONS = 8
_HINT = (
    "send BYTES (files of pictures in base64, shape [n]) or UINT8 (pixels, RGB, row by row, shape [h, w, 3] or "
    "[n, h, w, 3]); over gRPC in `contents`, as TorchServe drops `raw_input_contents`"
)


@dataclass(frozen=True)
class Tensor:
    """One of the ``inputs``.

    Attributes:
        name: Free, but for the names of options.
        datatype: As the protocol calls them.
        shape: Each side at least 0.
        data: As it stands in JSON: flat or nested, not checked yet.
        place: Where it stands, as the client knows it.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[Any]
    place: str

    @classmethod
    def read(cls, value: Any, place: str) -> "Tensor":
        """Read one.

        Raises:
            RequestError: A part of it is missing or of the wrong type.
        """
        if not isinstance(value, Mapping):
            raise bad_tensor(f"{place} must be an object with name, shape, datatype and data, got {shown(value)}")
        name, datatype, data = value.get("name"), value.get("datatype"), value.get("data")
        shape: Any = value.get("shape")
        if not isinstance(name, str) or not isinstance(datatype, str):
            raise bad_tensor(f"{place} must have a name and a datatype, got {shown(name)} and {shown(datatype)}")
        if not _is_shape(shape):
            raise bad_tensor(f"{place}.shape must be a list of up to {MOST_DIMENSIONS} sizes, got {shown(shape)}")
        if not isinstance(data, list):
            raise bad_tensor(f"{place}.data must be a list, got {shown(data)}")
        return cls(name, datatype, tuple(shape), data, place)

    def values(self) -> Sequence[Any]:
        """The data as one flat list.

        Raises:
            RequestError: It is nested otherwise than ``shape`` says, or has another count.
        """
        count = math.prod(self.shape)
        flat: list[Any] = self.data
        if len(self.shape) > 1 and len(flat) == self.shape[0] and all(isinstance(each, list) for each in flat):
            for size in self.shape[1:]:
                if not all(isinstance(each, list) and len(each) == size for each in flat):
                    raise bad_tensor(f"{self.place}.data is not nested as its shape {list(self.shape)} says")
                flat = list(chain.from_iterable(flat))
        if len(flat) != count:
            raise bad_tensor(f"{self.place}.data must have {count:,} values for its shape, got {len(flat):,}")
        return flat

    def pictures(self, max_pixels: int) -> list[bytes | NDArray[np.uint8] | RequestError]:
        """The pictures in it: files, or pixels (H, W, 3) uint8, or why one is none.

        Args:
            max_pixels: Most pixels of a picture, compared with the shape before anything is made.

        Raises:
            RequestError: It is no tensor of pictures.
        """
        if self.datatype == "BYTES":
            return [_file(each, f"{self.place}.data[{index}]") for index, each in enumerate(self.values())]
        if self.datatype == "UINT8":
            return list(self._pixels(max_pixels))
        raise bad_tensor(f"{self.place}.datatype must be BYTES or UINT8, got {shown(self.datatype)}")

    def _pixels(self, max_pixels: int) -> NDArray[np.uint8]:
        if len(self.shape) not in (3, 4) or self.shape[-1] != 3 or 0 in self.shape:
            raise bad_tensor(f"{self.place}.shape must be [h, w, 3] or [n, h, w, 3], got {list(self.shape)}")
        height, width = self.shape[-3:-1]
        if height * width > max_pixels:
            raise BadImageError(
                "too_many_pixels",
                f"{self.place}: {width} x {height} = {height * width:,} pixels, the limit is {max_pixels:,}",
                "send a smaller picture, or raise max_pixels in model-config.yaml",
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            )
        try:
            pixels = bytearray(self.values())
        except (TypeError, ValueError):
            raise bad_tensor(f"{self.place}.data must be integers from 0 to 255") from None
        return np.frombuffer(pixels, np.uint8).reshape(-1, height, width, 3)


def bad_tensor(message: str) -> RequestError:
    """The error of an input that is none."""
    return RequestError("bad_tensor", message, _HINT, HTTPStatus.BAD_REQUEST)


def _is_shape(value: Any) -> bool:
    """Sizes of at most 32 bits, so that their product stays a number that can be computed and shown."""
    return (
        isinstance(value, list)
        and 0 < len(value) <= MOST_DIMENSIONS
        and all(isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**31 for size in value)
    )


def _file(text: Any, place: str) -> bytes | RequestError:
    try:
        return decode_base64(text, place)
    except RequestError as error:
        return error
