"""Options in JSON: beside a picture, or under ``parameters``."""

from collections.abc import Iterable, Mapping
from typing import Any

from handler.requests.base64_picture import bad_json
from handler.requests.options import Given
from handler.requests.values import shown

PARAMETERS = "parameters"
MOST_KEYS = 100  # of one object: there are ten names, and each key costs more than the bytes that it came in


def options_in(holder: Mapping[str, Any], place: str, others: Iterable[str]) -> dict[str, Given]:
    """Every key that is nothing else is an option; null is as good as none.

    Args:
        holder: A JSON object.
        place: Where it stands, as the client knows it.
        others: Keys that are no options.

    Raises:
        RequestError: ``parameters`` is no object, or one of the two has too many keys.
    """
    parameters = holder.get(PARAMETERS)
    if not isinstance(parameters, Mapping | None):
        raise bad_json(f"{place}.{PARAMETERS} must be an object, got {shown(parameters)}", "options: name and value")
    for count, where in ((len(holder), place), (len(parameters or {}), f"{place}.{PARAMETERS}")):
        if count > MOST_KEYS:
            raise bad_json(f"{where} must have at most {MOST_KEYS} keys, got {count:,}", "options: name and value")
    beside = {name: value for name, value in holder.items() if name not in (*others, PARAMETERS)}
    return _given(parameters or {}, f"{place}.{PARAMETERS}") | _given(beside, place)


def _given(values: Mapping[str, Any], place: str) -> dict[str, Given]:
    return {name: Given(value, f"{place}.{shown(name)}") for name, value in values.items() if value is not None}
