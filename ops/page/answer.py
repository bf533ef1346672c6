"""Answers a request for the status page: path and query in, status, headers and body out. GET alone; nothing is written."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from ops.page import render
from ops.page.board import Board, as_json
from ops.page.view import parse
from ops.terminal import MistakeError, printable
from shared.values.errors import ReconcileError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ops.evidence import Evidence

HTML: Final = "text/html; charset=utf-8"
JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"


class Source(Protocol):
    """What is shown: `reading.Live`, or values in a test."""

    def board(self) -> Board:
        """Return everything. Raises ReconcileError."""

    def evidence(self, text: str) -> Evidence:
        """Return the evidence about one cluster. Raises MistakeError, ReconcileError."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer over HTTP."""

    status: int
    type: str
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_headers(self) -> dict[str, str]:
        """The headers: nothing is stored, framed, or loaded from elsewhere."""
        policy = f"{render.content_security_policy()}; frame-ancestors 'none'"
        return {
            "Content-Type": self.type,
            "Cache-Control": "no-store",
            "Content-Security-Policy": policy,
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            **self.headers,
        }


def answer(method: str, path: str, query: Mapping[str, str], source: Source) -> Answer:
    """Answer one request. Never raises for what a visitor sent or an API refused."""
    if method not in ("GET", "HEAD"):
        return Answer(405, TEXT, "this page is read-only: GET alone\n", {"Allow": "GET, HEAD"})
    try:
        match path:
            case "/healthz" | "/health":  # Cloud Run keeps some paths that end with z for itself
                return Answer(200, TEXT, "ok\n")
            case "/":
                return Answer(200, HTML, render.page(source.board(), parse(query)))
            case "/status.json":
                return Answer(200, JSON, json.dumps(as_json(source.board()), separators=(",", ":")))
            case "/cluster":
                board = source.board()
                return Answer(200, HTML, render.cluster(source.evidence(query.get("name", "")), board))
            case _:
                return Answer(404, HTML, render.message("There is no such page", printable(path)))
    except MistakeError as error:
        return Answer(404, HTML, render.message("No such cluster", str(error)))
    except ReconcileError as error:
        return Answer(503, HTML, render.message("The status could not be read", str(error)))
