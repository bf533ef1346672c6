"""Label and field selectors, as lists and watches take them.

Grammar: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from local.kubernetes.status import bad_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local.kubernetes.resources import Resource

_KEY = r"([A-Za-z0-9][-A-Za-z0-9_./]*)"
_VALUE = r"([-A-Za-z0-9_.]*)"
_SET = re.compile(rf"{_KEY}\s+(in|notin)\s*\(([^()]*)\)")
_EQUAL = re.compile(rf"{_KEY}\s*(==|=|!=)\s*{_VALUE}")
_COMPARE = re.compile(rf"{_KEY}\s*([<>])\s*(-?[0-9]+)")
_EXISTS = re.compile(rf"(!?)\s*{_KEY}")


def label_selector(text: str) -> Callable[[Mapping[str, str]], bool]:
    """Parse a label selector; the empty one matches everything."""
    tests: list[Callable[[Mapping[str, str]], bool]] = []
    for part in _split(text):
        if found := _SET.fullmatch(part):
            values = {value.strip() for value in found[3].split(",")}
            tests.append(_among(found[1], values, negated=found[2] == "notin"))
        elif found := _EQUAL.fullmatch(part):
            tests.append(_among(found[1], {found[3]}, negated=found[2] == "!="))
        elif found := _COMPARE.fullmatch(part):
            tests.append(_compared(found[1], found[2], int(found[3])))
        elif found := _EXISTS.fullmatch(part):
            tests.append(_present(found[2], negated=bool(found[1])))
        else:
            raise bad_request(f"unable to parse requirement: {part!r} in label selector {text!r}")
    return lambda labels: all(test(labels) for test in tests)


def _split(text: str) -> list[str]:
    """Split at commas outside parentheses."""
    return [part.strip() for part in re.split(r",(?![^()]*\))", text)] if text.strip() else []


def _among(key: str, values: set[str], *, negated: bool) -> Callable[[Mapping[str, str]], bool]:
    # `!=` and `notin` also match objects without the key.
    return lambda labels: (key in labels and labels[key] in values) != negated


def _present(key: str, *, negated: bool) -> Callable[[Mapping[str, str]], bool]:
    return lambda labels: (key in labels) != negated


def _compared(key: str, sign: str, bound: int) -> Callable[[Mapping[str, str]], bool]:
    def test(labels: Mapping[str, str]) -> bool:
        try:
            value = int(labels[key])
        except (KeyError, ValueError):
            return False
        return value > bound if sign == ">" else value < bound

    return test


def field_requirements(text: str) -> list[tuple[str, str, str]]:
    """Parse a field selector into (path, `=` or `!=`, value)."""
    requirements = []
    for part in _split(text):
        path, *rest = re.split("(==|!=|=)", part, maxsplit=1)
        if not rest:
            raise bad_request(f"invalid field selector: {part!r}; can't understand it")
        requirements.append((path, "!=" if rest[0] == "!=" else "=", rest[1]))
    return requirements


def selector(resource: Resource, labels: str, fields: str) -> Callable[[dict[str, Any]], bool]:
    """Return the test of an object that both selectors make; refuse fields that the kind does not index."""
    by_label = label_selector(labels)
    by_field = field_requirements(fields)
    for path, _, _ in by_field:
        if path not in ("metadata.name", "metadata.namespace", *resource.fields):
            raise bad_request(f'field label "{path}" not supported for {resource.kind}')

    def test(item: dict[str, Any]) -> bool:
        return by_label(item["metadata"].get("labels", {})) and all(
            (_at(item, path) == value) == (sign == "=") for path, sign, value in by_field
        )

    return test


def _at(item: Any, path: str) -> str:
    for key in path.split("."):
        item = item.get(key, {})
    return item if isinstance(item, str) else ""
