"""The filter language of Pub/Sub subscriptions: text → a predicate on a message's attributes.

Source: https://cloud.google.com/pubsub/docs/subscription-message-filter. Of its grammar everything is here: `:`, `=`, `!=`,
`hasPrefix`, `NOT` and `-`, `AND`, `OR`, parentheses, quoted keys and the escapes of string literals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Predicate = Callable[[Mapping[str, str]], bool]

MAX_BYTES = 256  # https://cloud.google.com/pubsub/quotas#resource_limits

_TOKEN = re.compile(r'\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<word>[A-Za-z0-9_][A-Za-z0-9_-]*)|(?P<sign>!=|[=:.,()-]))')
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([0-7]{1,3})|(.))", re.DOTALL)
_CONTROL = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v"}


class FilterError(ValueError):
    """The text is not a filter; the message says where and why."""


def parse(text: str) -> Predicate:
    """Return the predicate that `text` describes; the empty filter matches everything."""
    if len(text.encode()) > MAX_BYTES:
        raise FilterError(f"a filter has at most {MAX_BYTES} bytes")
    tokens = _tokens(text)
    if not tokens:
        return lambda _attributes: True
    parser = _Parser(tokens)
    predicate = parser.expression()
    if parser.rest:
        raise FilterError(f"unexpected {parser.rest[0]!r}")
    return predicate


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise FilterError(f"unexpected character at {at}: {text[at:].lstrip()[:10]!r}")
        found.append(match.group().strip())
        at = match.end()
    return found


def _literal(token: str) -> str:
    def plain(match: re.Match[str]) -> str:
        code, octal, other = match[1] or match[2], match[3], match[4]
        if code:
            return chr(int(code, 16))
        return chr(int(octal, 8)) if octal else _CONTROL.get(other, other)

    return _ESCAPE.sub(plain, token[1:-1])


class _Parser:
    """Recursive descent over the tokens that are left."""

    def __init__(self, tokens: list[str]) -> None:
        self.rest = tokens

    def expression(self) -> Predicate:
        terms = [self._term()]
        # AND and OR have no order of precedence: a filter that mixes them without parentheses is refused.
        joint = self._peek() if self._peek() in ("AND", "OR") else ""
        while joint and self._peek() == joint:
            self._take()
            terms.append(self._term())
        if self._peek() in ("AND", "OR"):
            raise FilterError("AND and OR can be combined only with parentheses")
        if joint == "OR":
            return lambda attributes: any(term(attributes) for term in terms)
        return lambda attributes: all(term(attributes) for term in terms)

    def _term(self) -> Predicate:
        token = self._take()
        if token in ("NOT", "-"):
            negated = self._term()
            return lambda attributes: not negated(attributes)
        if token == "(":
            inner = self.expression()
            self._expect(")")
            return inner
        if token == "hasPrefix":
            self._expect("(")
            self._expect("attributes")
            self._expect(".")
            key = self._key()
            self._expect(",")
            prefix = self._value()
            self._expect(")")
            return lambda attributes: key in attributes and attributes[key].startswith(prefix)
        if token != "attributes":
            raise FilterError(f"expected a condition on attributes, found {token!r}")
        return self._condition()

    def _condition(self) -> Predicate:
        sign = self._take()
        if sign not in (":", "."):
            raise FilterError(f"expected ':' or '.' after attributes, found {sign!r}")
        key = self._key()
        if sign == ":":
            return lambda attributes: key in attributes
        operator = self._take()
        if operator not in ("=", "!="):
            raise FilterError(f"expected '=' or '!=', found {operator!r}")
        value = self._value()
        if operator == "=":
            return lambda attributes: attributes.get(key) == value
        return lambda attributes: attributes.get(key) != value

    def _key(self) -> str:
        token = self._take()
        if token[0] == '"':
            return _literal(token)
        if not token[0].isalnum() and token[0] != "_":
            raise FilterError(f"expected a key, found {token!r}")
        return token

    def _value(self) -> str:
        token = self._take()
        if token[0] != '"':
            raise FilterError(f"a value is a quoted string, found {token!r}")
        return _literal(token)

    def _expect(self, token: str) -> None:
        found = self._take()
        if found != token:
            raise FilterError(f"expected {token!r}, found {found!r}")

    def _peek(self) -> str | None:
        return self.rest[0] if self.rest else None

    def _take(self) -> str:
        if not self.rest:
            raise FilterError("the filter ends too early")
        token, *self.rest = self.rest
        return token
