"""Requests as KServe defines them: v1 with ``instances``, v2 (the Open Inference Protocol) with ``inputs``."""

import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from handler.errors import RequestError, out_of_memory
from handler.replies.kserve import Envelopes
from handler.requests.asked import Ask, Asked, Asker, Source, refuse_page
from handler.requests.base64_picture import KEYS, bad_json, decode_base64, picture_in
from handler.requests.classes import MOST_CLASSES
from handler.requests.json_options import options_in
from handler.requests.options import Given
from handler.requests.tensors import Tensor, bad_tensor
from handler.requests.values import LONGEST_ID, shown

MOST_PICTURES = 32  # of one request: the others of its batch wait for all of them
_OF_V2 = ("id", "inputs", "outputs", "model_name", "model_version")  # TorchServe's gRPC adds the last two


class KServeReader:
    """Reads both versions."""

    def __init__(self, envelopes: Envelopes, max_pixels: int) -> None:
        """Take what is the same in all requests.

        Args:
            envelopes: Make the replies.
            max_pixels: Most pixels of a picture that comes as a tensor.
        """
        self._envelopes, self._max_pixels = envelopes, max_pixels

    def read_v1(self, body: Mapping[str, Any], asker: Asker) -> Asked:
        """``{"instances": [picture, ...]}``, options beside it or under ``parameters``.

        Raises:
            RequestError: There are no instances, too many, or an option of all is wrong; what is wrong with one
                is its own result.
        """
        instances = body["instances"]
        if not isinstance(instances, list):
            raise bad_json(f"instances must be a list, got {shown(instances)}", "send one picture an instance")
        _check_count(len(instances), "instances")
        asker = asker.with_given(options_in(body, "JSON", ("instances",))).of_several()
        asks = [_instance(each, f"instances[{index}]", index, asker) for index, each in enumerate(instances)]
        return Asked(asks, self._envelopes.v1)

    def read_v2(self, body: Mapping[str, Any], asker: Asker) -> Asked:
        """``{"inputs": [tensor, ...]}``, options under ``parameters`` or as inputs of their names.

        Whatever is wrong with it, the reply has the form of the protocol: TorchServe's gRPC ends a worker whose reply
        has not.
        """
        try:
            request_id = _request_id(body.get("id"))
        except RequestError as error:
            return Asked([error], self._envelopes.v2(uuid.uuid4().hex))
        try:
            asks: Sequence[Ask | RequestError] = self._asks(body, asker)
        except RequestError as error:
            asks = [error]
        except MemoryError:
            asks = [out_of_memory("this request")]
        return Asked(asks, self._envelopes.v2(request_id))

    def _asks(self, body: Mapping[str, Any], asker: Asker) -> list[Ask | RequestError]:
        inputs = body["inputs"]
        if not isinstance(inputs, list) or not 0 < len(inputs) <= 2 * MOST_PICTURES:
            raise bad_tensor(f"inputs must be a list of 1 to {2 * MOST_PICTURES} tensors, got {shown(inputs)}")
        tensors = [Tensor.read(each, f"inputs[{index}]") for index, each in enumerate(inputs)]
        named = {each.name: _option(each) for each in tensors if each.name in asker.reader.allowed}
        asker = asker.with_given(options_in(body, "JSON", _OF_V2) | named).of_several()
        asks: list[Ask | RequestError] = []
        for tensor, value in zip(tensors, inputs, strict=True):
            if tensor.name not in named:
                own = options_in({"parameters": value.get("parameters")}, tensor.place, ())
                pictures = self._pictures(tensor, len(asks))
                asks += [_ask(each, own, len(asks) + index, asker) for index, each in enumerate(pictures)]
        _check_count(len(asks), "inputs")
        return asks

    def _pictures(self, tensor: Tensor, before: int) -> Sequence[Source | RequestError]:
        """The pictures of one tensor, after the count that its shape claims was checked."""
        by_pixels = tensor.shape[:1] if len(tensor.shape) == 4 else ()
        claimed = math.prod(by_pixels if tensor.datatype == "UINT8" else tensor.shape)
        _check_count(before + claimed, "inputs")
        return tensor.pictures(self._max_pixels)


def _instance(instance: Any, place: str, index: int, asker: Asker) -> Ask | RequestError:
    try:
        if isinstance(instance, str):
            return _ask(decode_base64(instance, place), {}, index, asker)
        if not isinstance(instance, Mapping):
            raise bad_json(f"{place} must be base64 or an object, got {shown(instance)}", "send a picture in base64")
        return _ask(picture_in(instance, place), options_in(instance, place, KEYS), index, asker)
    except RequestError as error:
        return error


def _ask(picture: Source | RequestError, own: Mapping[str, Given], index: int, asker: Asker) -> Ask | RequestError:
    """Ask for one picture of several; its place among them is its id, where no other is given."""
    if isinstance(picture, RequestError):
        return picture
    numbered = {} if "image_id" in asker.given else {"image_id": Given(index, "its place")}
    try:
        ask = asker.ask(picture, {**numbered, **own})
        refuse_page(ask.options, {**asker.given, **own})
        return ask
    except RequestError as error:
        return error


def _check_count(count: int, what: str) -> None:
    if not 0 < count <= MOST_PICTURES:
        raise RequestError(
            "bad_count",
            f"{what} must have 1 to {MOST_PICTURES} pictures, got {count:,}",
            "send more requests at a time: they share batches as well as instances do",
            400,
        )


def _request_id(value: Any) -> str:
    """The id that comes back; a new one where none was sent, as gRPC cannot leave it out."""
    if value is None or value == "":
        return uuid.uuid4().hex
    if isinstance(value, str) and len(value) <= LONGEST_ID and value.isprintable():
        return value
    raise bad_json(f"id must be a printable text of at most {LONGEST_ID} characters, got {shown(value)}", "or none")


def _option(tensor: Tensor) -> Given:
    """An option as an input of its name, for gRPC, where TorchServe drops parameters; BYTES are base64 as ever."""
    values = list(tensor.values())
    if len(values) > MOST_CLASSES:  # the only option that takes several
        raise bad_tensor(f"{tensor.place}.data must have at most {MOST_CLASSES:,} values, got {len(values):,}")
    if tensor.datatype == "BYTES":
        values = [decode_base64(each, tensor.place).decode(errors="replace") for each in values]
    return Given(values[0] if len(values) == 1 else values, f"{tensor.place} {tensor.name}")
