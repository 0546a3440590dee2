"""Why one request has no answer, as its client reads it."""

from http import HTTPStatus
from typing import Literal

Code = Literal[
    "bad_base64",
    "bad_count",
    "bad_json",
    "bad_option",
    "bad_tensor",
    "device_failed",
    "empty_body",
    "empty_picture",
    "internal_error",
    "model_not_loaded",
    "not_an_image",
    "not_explained",
    "out_of_memory",
    "reply_too_long",
    "several_pictures",
    "too_many_pixels",
    "truncated_image",
    "unsupported_media_type",
]
"""The codes of all errors. They are a label of the metrics, so each is one of ours, never a client's."""


class RequestError(Exception):
    """A request that gets an error of its own, whatever else is in its batch.

    Attributes:
        code: Short name that programs compare.
        message: What is wrong with this request.
        hint: What to do about it.
        status: The HTTP status of the reply.
    """

    def __init__(self, code: Code, message: str, hint: str, status: int) -> None:
        super().__init__(message)
        self.code, self.message, self.hint, self.status = code, message, hint, HTTPStatus(status)


class BadOptionError(RequestError):
    """An option of a request that is unknown or not allowed."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__("bad_option", message, hint, HTTPStatus.BAD_REQUEST)


def out_of_memory(what: str) -> RequestError:
    """The error of a request for which the memory of the server is too small.

    Args:
        what: What there was no memory for.
    """
    return RequestError(
        "out_of_memory",
        f"the server has no memory left for {what}",
        "try again later, or send a smaller picture; who runs the server may lower max_pass_size, graphs.most or the "
        "number of workers a GPU",
        HTTPStatus.SERVICE_UNAVAILABLE,
    )


def internal_error(kind: str) -> RequestError:
    """The error of a request that we failed to answer: our fault.

    Args:
        kind: The type of what was raised; its text may hold anything and stays in the log.
    """
    return RequestError(
        "internal_error",
        f"the server failed to answer this request ({kind})",
        "the same request may well fail again, others are answered; who runs the server finds the story in the log of "
        "the worker and may report it as a bug",
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )


def not_explained() -> RequestError:
    """The error of a request for an explanation where the archive was exported before there were any."""
    return RequestError(
        "not_explained",
        "this model was exported by a version that could not explain",
        "who runs the server may export it again; predictions are answered as ever",
        HTTPStatus.NOT_IMPLEMENTED,
    )
