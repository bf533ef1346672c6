"""Google's and Kubernetes' REST APIs as one authorised session, in memory: answers by the end of the path."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from requests.exceptions import ConnectionError as NoConnectionError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Answers:
    """Gives the answer of the longest ending that fits; a path without one gets no connection."""

    asked: list[str] = field(default_factory=list)
    posted: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)

    def give(self, path: str, answer: Any | Callable[[Any], Any], status: int = 200) -> None:
        """Answer a path with JSON, with a text, or with what a function makes of the body."""
        self.answers[path] = status, answer

    def refuse(self, path: str, status: int, message: str = "", details: Any = None) -> None:
        """Refuse a path as Google's APIs do."""
        self.give(path, {"error": {"message": message, "details": details}}, status)

    def request(self, method: str, url: str, **given: Any) -> Any:
        """Answer one call of `requests`."""
        path = urlsplit(url).path
        self.asked.append(f"{method} {url}")
        self.headers.append(given.get("headers") or {})
        found = max((end for end in self.answers if path.endswith(end)), key=len, default=None)
        if found is None:
            raise NoConnectionError(url)
        status, answer = self.answers[found]
        if given.get("json") is not None:
            self.posted.append(given["json"])
        if callable(answer):
            answer = answer(given.get("json"))
        return SimpleNamespace(status_code=status, text=str(answer), json=lambda: _parsed(answer))


def _parsed(answer: Any) -> Any:
    if isinstance(answer, str):
        raise ValueError(answer)  # noqa: TRY004 - what requests raises for no JSON
    return answer
