"""Send pictures to a served model: ``python -m handler.client URL IMAGE...``. Needs a bare Python, nothing else.

A folder stands for the pictures in it, by name, without those of its folders. Answers come in the order of the
pictures, whatever comes first. A full queue (503), a lack of memory (507), a worker that died (500) and a connection
that broke are asked again; nothing else is.

Exit codes: 0 all answered; 1 some were not; 2 the server cannot be asked (any more); 130 interrupted.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any

from handler.asking.asker import Asker, Patience
from handler.asking.failures import RefusedError, UnreachableError
from handler.asking.inputs import drawing_names, pictures_in, read_picture
from handler.asking.table import table
from handler.asking.token import Token


@dataclass(frozen=True)
class Outcome:
    """What became of one picture.

    Attributes:
        path: Its file.
        reply: The parsed reply; None: it has none.
        refusal: Why it has none, or no drawing.
        drawing: Where the drawing is.
    """

    path: Path
    reply: dict[str, Any] | None = None
    refusal: str | None = None
    drawing: Path | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files are bytes and go out as they came
    asker = _asker(options)
    try:
        answered = [_show(outcome, options.json) for outcome in _outcomes(asker, options)]
    except UnreachableError as error:
        _say_at_the_end(f"error: {error}")
        return 2
    except BrokenPipeError:  # the reader of the table has seen enough, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        _say_at_the_end("interrupted")
        return 130
    finally:
        asker.stopped.set()
    return 0 if all(answered) else 1


def _say_at_the_end(text: str) -> None:
    """On stderr, which may have ended already: Ctrl-C ends the ``tee`` of a pipe, too."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m handler.client", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", metavar="URL", help="http[s]://[USER:PASSWORD@]HOST[:PORT]/predictions/NAME")
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=Path, help="a picture, or a folder of pictures")
    token = parser.add_mutually_exclusive_group()
    token.add_argument("--token", help="inference key of the server")
    token.add_argument("--token-file", type=Path, help="key_file.json of TorchServe, or a file with the key alone")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write each picture with its masks drawn into DIR")
    parser.add_argument("--json", action="store_true", help="print the replies, one a line, each with its file")
    parser.add_argument("--jobs", type=_from_one, default=4, metavar="N", help="pictures at a time (default: 4)")
    parser.add_argument("--retries", type=_from_zero, default=5, metavar="N", help="of one picture (default: 5)")
    parser.add_argument("--timeout", type=_seconds, default=60.0, metavar="S", help="of one request (default: 60)")
    parser.add_argument("--deadline", type=_seconds, default=float("inf"), metavar="S", help="of all (default: none)")
    wanted = parser.add_argument_group("what is wanted; the deployment's settings if left out")
    wanted.add_argument("--threshold", metavar="SCORE", help="leave out lesser detections")
    wanted.add_argument("--max-detections", metavar="N", help="the best ones only")
    wanted.add_argument("--classes", metavar="A,B,...", help="these classes only, names or ids")
    wanted.add_argument("--masks", metavar="FORM", help="rle, polygon, png or none")
    wanted.add_argument("--mask-threshold", metavar="P", help="probability that makes a pixel part of an instance")
    return parser


def _from_one(text: str) -> int:
    return _integer(text, 1)


def _from_zero(text: str) -> int:
    return _integer(text, 0)


def _integer(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be an integer from {least} on, got {text}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        if 0 < (number := float(text)) <= 1e6:  # not a number is not
            return number
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, got {text}")


def _asker(options: argparse.Namespace) -> Asker:
    wanted = {
        "X-Detect-Score-Threshold": options.threshold,
        "X-Detect-Max-Detections": options.max_detections,
        "X-Detect-Classes": options.classes,
        "X-Detect-Masks": options.masks,
        "X-Detect-Mask-Threshold": options.mask_threshold,
    }
    headers = {name: value for name, value in wanted.items() if value is not None}
    patience = Patience(options.retries, options.timeout, time.monotonic() + options.deadline)
    return Asker(options.url, Token(options.token, options.token_file), headers, patience)


def _outcomes(asker: Asker, options: argparse.Namespace) -> Iterator[Outcome]:
    """What became of each picture, in their order; a few pictures ahead of the one that is waited for."""
    pictures = list(pictures_in(options.images))
    work = zip(pictures, drawing_names(pictures), strict=True)
    pool = ThreadPoolExecutor(options.jobs)
    try:
        ask: Callable[..., Outcome] = lambda each: _outcome(asker, each[0], options.out and options.out / each[1])  # noqa: E731
        waiting: list[Future[Outcome]] = [pool.submit(ask, each) for each in islice(work, 2 * options.jobs)]
        for number in range(1, len(pictures) + 1):
            outcome = _result(waiting.pop(0))
            waiting += [pool.submit(ask, each) for each in islice(work, 1)]
            _progress(number, len(pictures))
            yield outcome
    finally:
        asker.stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _result(future: "Future[Outcome]") -> Outcome:
    """Its result, in short waits: Ctrl-C that comes just before a wait is only noticed at the end of it."""
    while not wait([future], timeout=0.2).done:
        pass
    return future.result()


def _outcome(asker: Asker, path: Path, target: Path | None) -> Outcome:
    reply = None
    try:
        picture = read_picture(path)
        reply = asker.detections(picture)
        if target is None:
            return Outcome(path, reply)
        drawn = asker.drawn(picture)  # a request of its own: a reply is either detections or a picture
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(drawn)
        return Outcome(path, reply, drawing=target)
    except (RefusedError, OSError) as error:
        return Outcome(path, reply, str(error))


def _progress(number: int, count: int) -> None:
    if count > 1 and sys.stderr.isatty():
        print(f"\r{number} of {count}\033[K", end="\r" if number < count else "\r\033[K", file=sys.stderr, flush=True)


def _show(outcome: Outcome, as_json: bool) -> bool:
    """Print one outcome; false if the picture was not answered as asked."""
    path, reply = outcome.path, outcome.reply
    if outcome.refusal is not None:
        print(f"error: {path}: {outcome.refusal}", file=sys.stderr)
    if as_json:
        line = {"error": outcome.refusal} if reply is None else reply
        print(json.dumps({"file": str(path)} | line, separators=(",", ":")))
    elif reply is not None:
        size, count = reply["image"], len(reply["detections"])
        print(f"{path}: {size['width']} x {size['height']}, {count} detection{'s' if count != 1 else ''}")
        print(table(reply["detections"]))
    # Whoever reads a pipe has each answer when it is there, and before what stderr says next where both are one file.
    sys.stdout.flush()
    if outcome.drawing:
        print(f"drawn: {outcome.drawing}", file=sys.stderr)
    return outcome.refusal is None


if __name__ == "__main__":
    code = main()
    if code in (2, 130):  # not to wait for answers that nobody wants any more
        os._exit(code)
    sys.exit(code)
