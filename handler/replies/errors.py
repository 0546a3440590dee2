"""The reply to a request that has no answer."""

from handler.errors import RequestError
from handler.replies.json_text import to_json
from handler.replies.reply import Reply


def error_reply(error: RequestError) -> Reply:
    """``error`` with ``code``, ``message`` and ``hint``, as JSON."""
    body = to_json({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
    headers = {"X-Detect-Error": error.code}  # a proxy tells them from others by it
    return Reply(error.status, body, headers=headers, error=error.code)
