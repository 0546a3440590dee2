"""One request over HTTP, and what came of it."""

import base64
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from handler.asking.failures import BusyError, UnreachableError


@dataclass(frozen=True)
class Answer:
    """What a server answered, whatever the status.

    Attributes:
        status: Of HTTP.
        body: As it came.
        headers: Compared without case.
    """

    status: int
    body: bytes
    headers: Message = field(default_factory=Message)


def post(url: str, picture: bytes, headers: Mapping[str, str], timeout: float) -> Answer:
    """Send one picture.

    Args:
        url: ``http[s]://[USER:PASSWORD@]HOST[:PORT]/predictions/NAME``.
        picture: The bytes of its file.
        headers: Further headers.
        timeout: Seconds in which something must come.

    Raises:
        BusyError: The connection broke, or nothing came in time.
        UnreachableError: It is no address, nobody listens there, or what does speaks no HTTP.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise UnreachableError(f"the address must begin with http:// or https://, got {url}")
    bare, login = _without_login(url)
    try:
        request = urllib.request.Request(
            bare, picture, {"Content-Type": "application/octet-stream", **login, **headers}
        )
        with _opener(bare).open(request, timeout=timeout) as response:
            return Answer(response.status, response.read(), response.headers)
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, _read(error), error.headers)
    except (OSError, HTTPException, ValueError) as error:
        raise _failure(bare, error, len(picture)) from None


def _read(error: urllib.error.HTTPError) -> bytes:
    try:
        return error.read()
    except (OSError, HTTPException):  # a server that stops listening in the middle may cut its own words short
        return b""


def _failure(url: str, error: Exception, size: int) -> BusyError | UnreachableError:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ConnectionResetError | BrokenPipeError | ConnectionAbortedError):
        # RemoteDisconnected is one of them.
        return BusyError(f"the connection broke off ({cause}), perhaps because {size:,} bytes are more than it takes")
    if isinstance(cause, TimeoutError):
        return BusyError("nothing came in time; give it more with --timeout")
    if isinstance(cause, ssl.SSLCertVerificationError):
        hint = "where it is the server's own, name its file: SSL_CERT_FILE=cert.pem"
        return UnreachableError(f"{url} has a certificate that is not trusted here ({cause.verify_message}); {hint}")
    if isinstance(cause, UnicodeError):
        return UnreachableError("an option has letters that a header cannot carry; name classes by their ids")
    return UnreachableError(f"{url} does not answer ({cause}); is the server up, and is this its address?")


def _without_login(url: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(url)
    if parts.username is None:
        return url, {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return bare, {"Authorization": f"Basic {base64.b64encode(login).decode()}"}


class _HearsOut(HTTPConnection):
    """Reads the answer of a server that gave it before the whole picture was sent: TorchServe's 413 comes so."""

    def request(self, *arguments: Any, **named: Any) -> None:
        try:
            super().request(*arguments, **named)
        except (BrokenPipeError, ConnectionResetError):
            # Never for a connection that was not made.
            if self.sock is None:
                raise
            # What getresponse() demands, and sending would have left behind.
            self._HTTPConnection__state = "Request-sent"


class _HearsOutSecurely(_HearsOut, HTTPSConnection):
    pass


class _Http(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_HearsOut, request)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_HearsOutSecurely, request, context=ssl.create_default_context())


class _StaysWhereItIs(urllib.request.HTTPRedirectHandler):
    """Else the picture would be dropped and its token sent elsewhere."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _opener(url: str) -> urllib.request.OpenerDirector:
    """With the environment's proxy, unless the server is on this machine: a proxy would look for it on its own."""
    local = urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")
    proxy = urllib.request.ProxyHandler({} if local else None)
    return urllib.request.build_opener(proxy, _Http(), _Https(), _StaysWhereItIs())
