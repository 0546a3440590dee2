"""One file over HTTP: goes on where it broke off, tries again, and takes nothing for the file that is not."""

import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from export.download.failures import Again, DownloadError, explain

_READ_AT_ONCE = 1 << 18
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_WEB_PAGE = (b"<!doctype html", b"<html")

Report = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Patience:
    """How long to go on.

    Attributes:
        timeout: Seconds without a byte until a connection counts as broken.
        waits: Seconds before each further try; counted anew when a try brought the file further.
    """

    timeout: float = 30.0
    waits: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Partial:
    """What has come so far, and of which version of the file it is.

    Attributes:
        path: Of the bytes; the version stands in a file beside it.
    """

    path: Path

    def size(self) -> int:
        """Bytes that a next try can go on from: none where their version is not known."""
        return self.path.stat().st_size if self.path.is_file() and self.version() else 0

    def version(self) -> str:
        """The server's word for the version; empty if it has none."""
        beside = self._version_file()
        return beside.read_text() if beside.is_file() else ""

    def begin(self, version: str) -> None:
        """Throw away what there is and note the version of what comes."""
        self.discard()
        self._version_file().write_text(version)

    def discard(self) -> None:
        """Throw away what there is."""
        self.path.unlink(missing_ok=True)
        self._version_file().unlink(missing_ok=True)

    def finish(self, target: Path) -> None:
        """Put it in its place, whole, in one step."""
        self.path.replace(target)
        self._version_file().unlink(missing_ok=True)

    def _version_file(self) -> Path:
        return self.path.with_name(self.path.name + ".version")


def transfer(url: str, partial: Partial, patience: Patience, report: Report, say: Callable[[str], None]) -> None:
    """Bring the whole file, going on from what there is.

    Args:
        url: Of the file; http or https.
        partial: What there is, and afterwards the whole file.
        patience: How long to go on.
        report: Is told the bytes there are and the bytes there will be.
        say: Is told why a further try is made.

    Raises:
        DownloadError: It does not come; what came is kept where the next call can go on from it.
        OSError: The disk does not take it.
    """
    opener = build_opener(_OnlyWeb())
    furthest, came, waits = partial.size(), False, iter(patience.waits)
    while True:
        try:
            return _try(opener, url, partial, patience.timeout, report)
        except DownloadError as error:
            if partial.size() > furthest:
                furthest, came, waits = partial.size(), True, iter(patience.waits)
            wait = next(waits, None)
            if wait is None or error.again is Again.NEVER or (error.again is Again.ONCE_REACHED and not came):
                raise
            say(f"{error}; trying again in {wait:g} s")
        time.sleep(wait)


def _try(opener: OpenerDirector, url: str, partial: Partial, timeout: float, report: Report) -> None:
    held, host = partial.size(), urlsplit(url).hostname or url
    headers = {"User-Agent": "maskrcnn-serving"}
    if held:
        headers |= {"Range": f"bytes={held}-", "If-Range": partial.version()}
    try:
        response = _open(opener, Request(_web_only(url), headers=headers), timeout)
    except HTTPError as error:
        error.close()
        if error.code == 416 and held:
            partial.discard()
            raise DownloadError("the server has no more than what came before", Again.ALWAYS) from error
        raise explain(error, host) from error
    except (OSError, HTTPException) as error:
        raise explain(error, host) from error
    with response:
        _refuse_what_is_no_file(response.headers)
        offset, total = _part(response, held, partial)
        _check_room(partial.path.parent, total, offset)
        _copy(response, partial.path, offset, total, host, report)


def _open(opener: OpenerDirector, request: Request, timeout: float) -> HTTPResponse:
    response = opener.open(request, timeout=timeout)
    if not isinstance(response, HTTPResponse):
        raise DownloadError("this is no answer of a web server")
    return response


def _part(response: HTTPResponse, held: int, partial: Partial) -> tuple[int, int | None]:
    """Where the answer's bytes belong, and how many the whole file has; None if the server does not say."""
    length = response.headers["Content-Length"]
    if length is not None and not length.isdecimal():
        raise DownloadError(f"the server's Content-Length is {length!r}, which is no number")
    if response.status == 206:
        return held, _rest(response.headers, held, length, partial)
    if length is None and not response.chunked:
        raise DownloadError("the server does not say how long the file is, so a cut one would not be noticed")
    partial.begin(_version(response.headers))
    return 0, int(length) if length else None


def _rest(headers: HTTPMessage, held: int, length: str | None, partial: Partial) -> int:
    """Bytes of the whole file, where the answer is really the rest of what is held."""
    matched = _CONTENT_RANGE.fullmatch(headers["Content-Range"] or "")
    first, last, total = map(int, matched.groups()) if matched else (-1, -1, -1)
    complete = first == held and last == total - 1 and (length is None or int(length) == total - held)
    if not held or not complete or _version(headers) not in ("", partial.version()):
        partial.discard()
        text = (
            f"asked for the bytes from {held} on, the server sent {headers['Content-Range']!r} of what may be another"
        )
        raise DownloadError(f"{text} version; beginning anew", Again.ALWAYS)
    return total


def _version(headers: HTTPMessage) -> str:
    """What If-Range takes: an ETag, unless it is a weak one, or a date; empty if the server says neither."""
    tag = headers["ETag"] or ""
    return tag if tag.startswith('"') else headers["Last-Modified"] or ""


def _refuse_what_is_no_file(headers: HTTPMessage) -> None:
    if headers.get_content_type() == "text/html":
        raise _web_page()
    if (coding := headers["Content-Encoding"] or "identity").lower() != "identity":
        raise DownloadError(f"the server sends it encoded as {coding}, which was not asked for")


def _web_page() -> DownloadError:
    return DownloadError("a web page came instead of the file, as where a network wants you to log in first")


def _check_room(folder: Path, total: int | None, offset: int) -> None:
    free = shutil.disk_usage(folder).free
    if total is not None and total - offset > free:
        raise DownloadError(f"{(total - offset) / 1e6:.0f} MB are missing, {folder} has room for {free / 1e6:.0f} MB")


def _copy(response: HTTPResponse, path: Path, offset: int, total: int | None, host: str, report: Report) -> None:
    with path.open("ab") as file:
        report(offset, total)
        while part := _read(response, host):
            if file.tell() == 0 and part[:64].lstrip().lower().startswith(_WEB_PAGE):
                raise _web_page()
            file.write(part)
            report(file.tell(), total)
        _keep(file)
        if total is not None and file.tell() != total:
            raise DownloadError(f"the connection broke off after {file.tell()} of {total} bytes", Again.ALWAYS)


def _keep(file: IO[bytes]) -> None:
    """Have it on the disk before it gets its name, so that no loss of power leaves a hole under that name."""
    file.flush()
    os.fsync(file.fileno())


def _read(response: HTTPResponse, host: str) -> bytes:
    try:
        return response.read1(_READ_AT_ONCE)
    except (OSError, HTTPException) as error:
        broken = explain(error, host)
        broken.again = Again.ALWAYS  # the server was just there
        raise broken from error


class _OnlyWeb(HTTPRedirectHandler):
    """Follows no redirect out of http and https, nor from https to http."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if urlsplit(newurl).scheme not in ("https", req.type):
            fp.close()
            raise DownloadError(f"the server redirects to {newurl}; {req.type} was asked for")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _web_only(url: str) -> str:
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"{url} is neither http nor https")
    return url
