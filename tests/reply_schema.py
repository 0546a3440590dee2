"""Every JSON reply in the tests is read here: one that breaks ``reply.schema.json`` fails the test."""

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

FILE = Path(__file__).parent.parent / "handler" / "replies" / "reply.schema.json"


@cache
def validator() -> "Draft202012Validator":
    from jsonschema import Draft202012Validator  # here: a GPU machine may lack it

    schema = json.loads(FILE.read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def parsed(body: bytes) -> Any:
    """The value of a JSON reply that keeps the schema."""
    reply = json.loads(body)
    validator().validate(reply)
    return reply


def error_of(body: bytes) -> dict[str, str]:
    """``code``, ``message`` and ``hint`` of an error."""
    error: dict[str, str] = parsed(body)["error"]
    return error
