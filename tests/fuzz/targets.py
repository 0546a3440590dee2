"""What is fuzzed in Python: each target reads some bytes as a client or an owner of a model would send them.

A target returns where the contract holds and raises where it does not: an error of ours with its code and message, or
a valid result; nothing else, in bounded time.
"""

import json
import tempfile
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, get_args

import numpy as np
from torch import Tensor

from export.checkpoint import load_checkpoint
from export.errors import ExportError
from handler.decoding import Decoder
from handler.errors import Code, RequestError
from handler.images import Picture
from handler.replies.errors import error_reply
from handler.replies.reply import Reply
from handler.requests.asked import Ask
from handler.requests.incoming import Incoming, Verb
from handler.run_lengths import run_lengths, runs_inside
from tests.handler.requests.reading import reader

MOST_PIXELS = 1_000_000
# Of processor time, for one input of at most MOST_BYTES: no measure of speed, but many times what an input takes, so
# what goes on for longer hangs.
HANG_SECONDS = 10
MOST_BYTES = 1 << 16
LONGEST_MESSAGE = 1000

Target = Callable[[bytes], None]


class BrokenContractError(Exception):
    """What a target did that it must never do."""


def must(holds: bool, what: str) -> None:
    if not holds:
        raise BrokenContractError(what)


def check_error(error: RequestError) -> None:
    must(error.code in get_args(Code), f"the code {error.code} is none of ours")
    must(0 < len(error.message) < LONGEST_MESSAGE, f"a message of {len(error.message)} characters")
    must(bool(error.hint), f"no hint beside {error.message!r}")
    must(400 <= error.status < 500, f"status {error.status} for what a client sent")
    must("error" in json.loads(error_reply(error).body), "the reply names no error")


_DECODER = Decoder(MOST_PIXELS, threads=1)
_SHRINKING = Decoder(MOST_PIXELS, threads=1, wanted=lambda height, width: (max(1, height // 8), max(1, width // 8)))


def pictures(data: bytes) -> None:
    """One body as a picture, as it is and shrunk while it is decoded."""
    (whole,) = _DECODER.decode([data])
    check_decoded(whole)
    must(_DECODER.fitting([data, data]) in (0, 1, 2), "a count of pictures")
    (shrunk,) = _SHRINKING.decode([data])
    check_decoded(shrunk)
    if isinstance(whole, Picture) and isinstance(shrunk, Picture):
        must((whole.height, whole.width) == (shrunk.height, shrunk.width), "shrinking changed the size that is told")


def check_decoded(decoded: Picture | RequestError) -> None:
    if isinstance(decoded, RequestError):
        return check_error(decoded)
    shape, pixels = decoded.pixels.shape, decoded.pixels
    must(pixels.dtype == np.uint8 and len(shape) == 3 and shape[2] == 3, f"pixels {shape} {pixels.dtype}")
    must(1 <= shape[0] <= decoded.height and 1 <= shape[1] <= decoded.width, f"{shape} of a picture of {decoded}")
    return must(decoded.height * decoded.width <= MOST_PIXELS, f"{decoded.height} x {decoded.width} pixels")


_READER = reader()
_VERBS: tuple[Verb, ...] = ("predict", "explain", "describe")
_PLACES = ("body", "data", "image")


def requests(data: bytes) -> None:
    """A request: a byte that says how it comes, lines ``name: value`` for headers, ``=name: value`` for fields of a
    form, an empty line, and the body."""
    asked = _READER.read(incoming(data))
    for each in asked.asks:
        must(isinstance(each, Ask | RequestError), f"asks for {type(each).__name__}")
        if isinstance(each, RequestError):
            check_error(each)
    fine = Reply(HTTPStatus.OK, b"{}")
    reply = asked.envelope([error_reply(each) if isinstance(each, RequestError) else fine for each in asked.asks])
    must(bool(reply.body), "an empty reply")
    if reply.status != HTTPStatus.OK:
        must(isinstance(json.loads(reply.body), dict), "an error that is no JSON")


def incoming(data: bytes) -> Incoming:
    """The request that bytes stand for."""
    how = data[0] if data else 0
    head, _, body = data[1:].partition(b"\n\n")
    fields: dict[str, Any] = {}
    headers: dict[str, Any] = {}
    for line in head.split(b"\n"):
        name, found, value = line.partition(b": ")
        if found and name.startswith(b"="):
            fields[name[1:].decode(errors="surrogateescape")] = value
        elif found:
            headers[name.decode("latin-1")] = value.decode("latin-1")
    fields[_PLACES[how // 4 % 3]] = parsed_by_the_front_end(body) if how & 64 else body
    return Incoming.of(fields, headers, _VERBS[how % 4 % 3])


def parsed_by_the_front_end(body: bytes) -> Any:
    """JSON as TorchServe hands it over where the client named its type; else the bytes."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return bytearray(body)


_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


def checkpoints(data: bytes) -> None:
    """A file that says it is a checkpoint."""
    path = Path(_FOLDER.name) / "weights.pth"
    path.write_bytes(data)
    try:
        checkpoint = load_checkpoint(path)
    except ExportError as error:
        text = str(error)
        must(text.isprintable() and len(text) < LONGEST_MESSAGE, f"a message of {len(text)} characters: {text!r}")
        return
    for name, tensor in checkpoint.tensors.items():
        must(isinstance(name, str) and isinstance(tensor, Tensor), f"{name!r} is a {type(tensor).__name__}")
        must(tensor.untyped_storage().nbytes() <= 16 * MOST_BYTES, f"{name!r} holds more than the file does")
        tensor.isnan().any()  # reads every value: none may lie outside of its storage


def lengths(data: bytes) -> None:
    """Compressed run lengths of a mask."""
    counts = data.decode("latin-1")
    try:
        runs = run_lengths(counts)
    except ValueError:
        return
    must(len(runs) <= len(data), f"{len(runs)} runs of {len(data)} bytes")
    begins, ends = runs_inside(counts)
    must(len(begins) == len(ends), "a run without an end")
    if (runs >= 0).all() and int(runs.astype(object).sum()) < 2**62:
        must(bool((begins < ends).all() and (ends[:-1] < begins[1:]).all()), "runs that are empty, or touch")


TARGETS: dict[str, Target] = {
    "pictures": pictures,
    "requests": requests,
    "checkpoints": checkpoints,
    "lengths": lengths,
}


def run(target: str, data: bytes) -> None:
    """Give bytes to a target.

    Raises:
        BrokenContractError: It hung, or its result breaks the contract. Whatever else is raised breaks it too.
    """
    begin = time.process_time()
    TARGETS[target](data)
    must(time.process_time() - begin < HANG_SECONDS, f"{len(data)} bytes took more than {HANG_SECONDS} s")
