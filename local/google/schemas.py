"""Request bodies, checked against the messages of their API: an unknown name or a value of a wrong type is refused, as Google does.

fields.json has the messages: API → message → field → kind. A kind is a message's name (`*` before it: a map of them), `s` (string),
`b` (boolean), or another scalar. Names may be in camelCase or snake_case, and null counts as not set, as in Google's JSON.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.google.wire import GoogleError, json_body

if TYPE_CHECKING:
    from starlette.requests import Request

Json = dict[str, Any]
Messages = dict[str, dict[str, str]]

_SCALARS = {"s": (str, "TYPE_STRING"), "b": (bool, "TYPE_BOOL")}
_TEXT_OF_BOOL = {"true": True, "false": False}


@functools.cache
def _table() -> dict[str, Messages]:
    found: dict[str, Messages] = json.loads(Path(__file__).with_name("fields.json").read_text())
    return found


async def message_body(request: Request, api: str, message: str, field: str = "") -> Json:
    """Read a body that is a message of an API, or refuse with 400; `field` is the request's field that the body is, if not all."""
    return checked(await json_body(request), api, message, field)


def checked(body: Json, api: str, message: str, field: str = "") -> Json:
    """Return a body with camelCase names and without nulls; a 400 where it is no such message."""
    return _checked(body, _table()[api], message, field)


def _checked(body: Json, messages: Messages, message: str, place: str) -> Json:
    fields, found = messages[message], {}
    for name, value in body.items():
        own = name if name in fields else _camel(name)
        if own not in fields:
            if name == "@type":
                continue
            at = f" at '{place}'" if place else ""
            raise GoogleError(400, f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.')
        if value is not None:
            found[own] = _value(value, messages, fields[own], f"{place}.{_snake(own)}".lstrip("."))
    return found


def _value(value: Any, messages: Messages, kind: str, place: str) -> Any:
    if isinstance(value, list):
        return [_value(one, messages, kind, f"{place}[{index}]") for index, one in enumerate(value)]
    if kind.startswith("*"):
        entries = _object(value, place, "Map")
        return {key: _value(one, messages, kind[1:], f"{place}[{key}]") for key, one in entries.items()}
    if kind in messages:
        return _checked(_object(value, place, kind), messages, kind, place)
    if kind == "b" and value in ("true", "false"):
        return _TEXT_OF_BOOL[value]
    type_, name = _SCALARS.get(kind, (object, ""))
    if not isinstance(value, type_):
        raise GoogleError(400, f"Invalid value at '{place}' ({name}), {json.dumps(value)}")
    if kind != "a" and isinstance(value, dict):
        raise GoogleError(400, f"Invalid value at '{place}': an object is no scalar.")
    return value


def _object(value: Any, place: str, message: str) -> Json:
    if not isinstance(value, dict):
        raise GoogleError(400, f"Invalid value at '{place}' ({message}), {json.dumps(value)}")
    return value


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", lambda match: f"_{match[1].lower()}", name)
