"""The logging query language, as far as sinks and readers use it.

Comparisons (`= != > >= < <= : =~ !~`), `field:*`, `field=(A OR B)`, `log_id("…")`, AND, OR, NOT, `-`, parentheses; two terms
side by side are joined by AND. Left out, with a 400: `SEARCH`, `sample`, `ip_in_net`, `source`, `cast`, `regexp`.
https://cloud.google.com/logging/docs/view/logging-query-language
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from local.google.wire import GoogleError

Json = dict[str, Any]
Matches = Callable[[Json], bool]

_TOKEN = re.compile(
    r'\s*(?:(--[^\n]*)|("(?:[^"\\]|\\.)*")|(=~|!~|!=|>=|<=|[=<>:()])|((?:[^\s=<>:()!"]|(?<=\.)"[^"]*")+))'
)
_SEVERITIES = ("DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")
_LEFT_OUT = {"SEARCH", "sample", "ip_in_net", "source", "cast", "regexp"}
_OPERATORS = {"=", "!=", ">", ">=", "<", "<=", ":", "=~", "!~"}


def parse(text: str) -> Matches:
    """Return what says whether an entry matches; an empty filter matches all. Raises a 400."""
    parser = _Parser(_tokens(text), text)
    matches = parser.either() if parser.tokens else lambda _entry: True
    if parser.tokens:
        raise parser.error()
    return matches


def _tokens(text: str) -> list[str]:
    tokens, place = [], 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if match is None:
            raise GoogleError(400, f"Unparseable filter: syntax error at character {place}: {text!r}")
        place = match.end()
        if not match[1]:
            tokens.append(match[2] or match[3] or match[4])
    return tokens


class _Parser:
    def __init__(self, tokens: list[str], text: str) -> None:
        self.tokens = tokens
        self.text = text

    def error(self) -> GoogleError:
        return GoogleError(400, f"Unparseable filter: syntax error at {self._next()!r}: {self.text!r}")

    def _next(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def _take(self) -> str:
        if not self.tokens:
            raise self.error()
        return self.tokens.pop(0)

    def either(self) -> Matches:
        # AND binds less tightly than OR in this language.
        parts = [self._or()]
        while self.tokens and self._next() != ")":
            if self._next() == "AND":
                self._take()
            parts.append(self._or())
        return parts[0] if len(parts) == 1 else lambda entry: all(part(entry) for part in parts)

    def _or(self) -> Matches:
        parts = [self._not()]
        while self._next() == "OR":
            self._take()
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else lambda entry: any(part(entry) for part in parts)

    def _not(self) -> Matches:
        if self._next() == "NOT" or self._next().startswith("-"):
            rest = self._take().removeprefix("-")
            if rest and rest != "NOT":
                self.tokens.insert(0, rest)
            inner = self._not()
            return lambda entry: not inner(entry)
        if self._next() == "(":
            self._take()
            inner = self.either()
            if self._take() != ")":
                raise self.error()
            return inner
        return self._comparison()

    def _comparison(self) -> Matches:
        left = self._take()
        if left in {"AND", "OR", ")", *_OPERATORS}:
            raise GoogleError(400, f"Unparseable filter: syntax error at {left!r}: {self.text!r}")
        if left in _LEFT_OUT and self._next() == "(":
            raise GoogleError(400, f"{left}() of the query language is left out here: {self.text!r}")
        if left == "log_id" and self._next() == "(":
            self._take()
            wanted = _text(self._take())
            if self._take() != ")":
                raise self.error()
            return lambda entry: unquote(str(entry.get("logName", "")).partition("/logs/")[2]) == wanted
        if self._next() not in _OPERATORS:
            words = _text(left).casefold()
            return lambda entry: words in str(entry).casefold()
        operator, path = self._take(), _path(left)
        if self._next() == "(":
            self._take()
            return self._values(path, operator)
        right = self._take()
        if operator == ":" and right == "*":
            return lambda entry: bool(_values(entry, path))
        return _compare(path, operator, _text(right), self.text)

    def _values(self, path: list[str], operator: str) -> Matches:
        """Read `A OR B)` or `A AND B)`: the comparison with each value."""
        parts, joins = [], set()
        while True:
            negated = self._next() == "NOT" and bool(self._take())
            value = self._take()
            if value in {"(", ")", "AND", "OR"}:
                raise GoogleError(400, f"Unparseable filter: syntax error at {value!r}: {self.text!r}")
            part = _compare(path, operator, _text(value), self.text)
            parts.append((lambda entry, part=part: not part(entry)) if negated else part)
            if (join := self._take()) == ")":
                break
            joins.add(join)
        if len(joins) > 1 or not joins <= {"AND", "OR"}:
            raise GoogleError(400, f"Unparseable filter: values are joined by AND or by OR: {self.text!r}")
        some = any if joins == {"OR"} else all
        return lambda entry: some(part(entry) for part in parts)


def _compare(path: list[str], operator: str, wanted: str, text: str) -> Matches:
    if operator in ("=~", "!~"):
        try:
            pattern = re.compile(wanted)
        except re.error as error:
            raise GoogleError(400, f"Unparseable filter: regular expression {wanted!r}: {error}: {text!r}") from error
        return lambda entry: any(pattern.search(str(value)) for value in _values(entry, path)) == (operator == "=~")
    if operator == ":":
        return lambda entry: any(wanted.casefold() in _plain(value).casefold() for value in _values(entry, path))
    if operator in ("=", "!="):
        return lambda entry: any(_plain(value) == wanted for value in _values(entry, path)) == (operator == "=")

    def ordered(value: Any) -> bool:
        one, other = _order(path, _plain(value)), _order(path, wanted)
        if type(one) is not type(other):
            return False
        above, below = one > other, one < other
        return bool({">": above, ">=": not below, "<": below, "<=": not above}[operator])

    return lambda entry: any(ordered(value) for value in _values(entry, path))


def _order(path: list[str], value: str) -> Any:
    if path == ["severity"] and value in _SEVERITIES:
        return _SEVERITIES.index(value)
    for read in (float, lambda text: datetime.fromisoformat(text).astimezone(UTC)):
        try:
            return read(value)
        except (ValueError, OverflowError):
            continue
    return value


def _text(token: str) -> str:
    """A quoted string: the escapes of the language are \\" and \\\\; a regular expression keeps its own."""
    return re.sub(r'\\(["\\])', r"\1", token[1:-1]) if token.startswith('"') else token


def _path(left: str) -> list[str]:
    return [part.strip('"') for part in re.findall(r'"[^"]*"|[^.]+', left)]


def _values(entry: Any, path: list[str]) -> list[Any]:
    if not path:
        return list(entry) if isinstance(entry, list) else [] if entry is None or entry == {} else [entry]
    if isinstance(entry, list):
        return [value for item in entry for value in _values(item, path)]
    return _values(entry.get(path[0]), path[1:]) if isinstance(entry, dict) else []


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
