"""Send pictures to a served model: ``python -m handler.client URL IMAGE...``.

Exit codes: 0 all answered; 1 a picture was refused; 2 the server cannot be asked at all.
"""

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image, ImageOps

from handler.draw import decode_mask, draw_detections

LEGIBLE_SIDE = 900  # pixels; smaller pictures are enlarged by a whole factor before names are drawn on them


class RefusedError(Exception):
    """The server answered one picture with an error."""


class UnreachableError(Exception):
    """No picture can be answered: no server, no token, no such model."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        token = options.token or (read_token(options.token_file) if options.token_file else None)
        refused = [path for path in options.images if not _show(path, options, token)]
        sys.stdout.flush()
    except UnreachableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of the table has seen enough, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 1 if refused else 0


def predict(url: str, picture: bytes, token: str | None = None, timeout: float = 60) -> dict[str, Any]:
    """Ask for the detections of one picture.

    Args:
        url: ``http://HOST:PORT/predictions/NAME``.
        picture: The bytes of its file.
        token: Inference key of the server; None: the server wants none.
        timeout: Seconds to wait.

    Returns:
        The reply as ``handler/replies/detections_json.py`` writes it.

    Raises:
        RefusedError: This picture is not answered; the text says why.
        UnreachableError: No picture would be.
    """
    headers = {"Content-Type": "application/octet-stream"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        request = urllib.request.Request(url, picture, headers)
        with _opener(url).open(request, timeout=timeout) as response:
            reply: dict[str, Any] = json.load(response)
            return reply
    except urllib.error.HTTPError as error:
        raise _explain(error.code, error.read()) from None
    except (OSError, HTTPException, ValueError) as error:
        raise UnreachableError(f"{url} does not answer ({error}); is the server up, and is this its address?") from None


def read_token(path: Path) -> str:
    """Read an inference key: TorchServe's ``key_file.json``, or a file that holds the key alone.

    Raises:
        UnreachableError: There is none.
    """
    try:
        text = path.read_text().strip()
        return str(json.loads(text)["inference"]["key"]) if text.startswith("{") else text
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreachableError(f"{path} holds no inference key ({error})") from None


def table(detections: Sequence[Mapping[str, Any]]) -> str:
    """Detections as lines: class, score, box, mask area in pixels."""
    lines = [f"{'class':<16} {'score':>6} {'x1':>8} {'y1':>8} {'x2':>8} {'y2':>8} {'mask px':>9}"]
    for each in detections:
        corners = " ".join(f"{corner:8.1f}" for corner in each["box"])
        area = int(decode_mask(each["mask"]).sum()) if "mask" in each else "-"
        lines.append(f"{each['class']:<16} {each['score']:6.3f} {corners} {area:>9}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m handler.client", description=__doc__)
    parser.add_argument("url", metavar="URL", help="http://HOST:PORT/predictions/NAME")
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=Path)
    parser.add_argument("--token", help="inference key of the server")
    parser.add_argument("--token-file", type=Path, help="key_file.json of TorchServe, or a file with the key alone")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write each picture with its masks drawn into DIR")
    parser.add_argument("--threshold", type=float, default=0.5, help="leave out lesser detections (default: 0.5)")
    parser.add_argument("--json", action="store_true", help="print the whole replies as they came, one a line")
    return parser


def _show(path: Path, options: argparse.Namespace, token: str | None) -> bool:
    """Ask for one picture and print the answer; false if it was refused."""
    try:
        reply = predict(options.url, path.read_bytes(), token)
    except (RefusedError, OSError) as error:
        print(f"error: {path}: {error}", file=sys.stderr)
        return False
    shown = [each for each in reply["detections"] if each["score"] >= options.threshold]
    if options.json:
        print(json.dumps(reply, separators=(",", ":")))
    else:
        print(_headline(path, reply, len(shown), options.threshold), table(shown), sep="\n")
    if options.out:
        _draw(path, shown, options.out)
    return True


def _headline(path: Path, reply: Mapping[str, Any], shown: int, threshold: float) -> str:
    size, count = reply["image"], len(reply["detections"])
    said = f"{shown} of {count} detections have a score of {threshold:g} or more"
    return f"{path}: {size['width']} x {size['height']}, {said}"


def _draw(path: Path, detections: Sequence[Mapping[str, Any]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{path.stem}.png"
    with Image.open(path) as image:
        scale = max(1, LEGIBLE_SIDE // max(image.size))
        draw_detections(ImageOps.exif_transpose(image), detections, scale).save(target)
    print(f"drawn: {target}", file=sys.stderr)


def _opener(url: str) -> urllib.request.OpenerDirector:
    """With the environment's proxy, unless the server is on this machine: a proxy would look for it on its own."""
    local = urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")
    return urllib.request.build_opener(urllib.request.ProxyHandler({} if local else None))


def _explain(status: int, body: bytes) -> RefusedError | UnreachableError:
    """Turn an HTTP error into ours: the handler's errors are of one picture, TorchServe's own of the server."""
    try:
        error = json.loads(body)["error"]
        text = f"{error['message']} ({error['code']}, HTTP {status}); {error['hint']}"
        return UnreachableError(text) if status == 503 else RefusedError(text)
    except (ValueError, KeyError, TypeError):
        pass
    if status == 413:  # TorchServe's own, with an empty body
        return RefusedError("the file is larger than max_request_size of the server (HTTP 413)")
    said = body.decode(errors="replace").strip()
    hint = "; give the inference key with --token-file key_file.json" if "oken" in said else ""
    return UnreachableError(f"the server answered HTTP {status}: {said}{hint}")


if __name__ == "__main__":
    sys.exit(main())
