"""Why a download fails, in words, and whether another try may help."""

import ssl
from enum import Enum
from http.client import HTTPException
from socket import gaierror
from urllib.error import HTTPError, URLError

# The server is overloaded or in trouble; it may not be so in a moment.
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_MEANINGS = {
    403: "it may no longer be public, or a proxy forbids it",
    404: "it is no longer there",
    407: "the proxy wants a user name: HTTPS_PROXY=http://user:password@host:port",
    410: "it is no longer there",
}


class Again(Enum):
    """When to try again."""

    NEVER = "no other answer is to be expected"
    ONCE_REACHED = "only if the server was reached before: else there is no network here"
    ALWAYS = "the next try may go better"


class DownloadError(Exception):
    """A download that came to nothing; the text says why."""

    def __init__(self, reason: str, again: Again = Again.NEVER) -> None:
        super().__init__(reason)
        self.again = again


def explain(error: Exception, host: str) -> DownloadError:
    """Put into words what went wrong between here and a server.

    Args:
        error: Raised while connecting or reading.
        host: Of the server, for the text.
    """
    if isinstance(error, HTTPError):
        return _answered(error)
    if isinstance(error, URLError):
        return _unconnected(error.reason, host)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return DownloadError("the connection broke off", Again.ALWAYS)
    if isinstance(error, ssl.SSLError):
        return _untrusted(error, host)
    if isinstance(error, gaierror):
        text = f"the name {host} cannot be looked up ({error.strerror}); is this machine offline?"
        return DownloadError(text, Again.ONCE_REACHED)
    return _broken(error, host)


def _unconnected(cause: BaseException | str, host: str) -> DownloadError:
    if isinstance(cause, TimeoutError):
        return DownloadError(f"{host} does not answer; is this machine offline?", Again.ONCE_REACHED)
    return explain(cause, host) if isinstance(cause, Exception) else DownloadError(str(cause))


def _answered(error: HTTPError) -> DownloadError:
    meaning = f" ({_MEANINGS[error.code]})" if error.code in _MEANINGS else ""
    again = Again.ALWAYS if error.code in _PASSING else Again.NEVER
    return DownloadError(f"the server answered {error.code} {error.reason}{meaning}", again)


def _untrusted(error: ssl.SSLError, host: str) -> DownloadError:
    reason = getattr(error, "verify_message", None) or error.reason or error
    return DownloadError(
        f"no trusted connection to {host}: {reason}; if a proxy signs connections here, SSL_CERT_FILE must name its "
        "certificate"
    )


def _broken(error: Exception, host: str) -> DownloadError:
    if isinstance(error, TimeoutError):
        return DownloadError(f"{host} has not answered in time", Again.ALWAYS)
    if isinstance(error, ConnectionRefusedError):
        text = f"{host} refuses connections; is this machine offline, or behind a proxy (HTTPS_PROXY)?"
        return DownloadError(text, Again.ONCE_REACHED)
    if isinstance(error, ConnectionError | HTTPException):
        return DownloadError("the connection broke off", Again.ALWAYS)
    said = getattr(error, "strerror", None) or error
    return DownloadError(f"{host} cannot be reached ({said}); is this machine offline?", Again.ONCE_REACHED)
