"""A server on loopback that answers what a test says, and an identity without Google: for the clients' own code."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from google.auth.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Handler = BaseHTTPRequestHandler


class Identity(Credentials):
    """A token that is good until somebody fetches another."""

    def __init__(self, quota_project: str | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.token, self.refreshed = "token-0", 0
        self._quota_project_id = quota_project

    @property
    def valid(self) -> bool:
        return True

    @property
    def service_account_email(self) -> str:
        return "grant-rbac@demo-fleet.iam.gserviceaccount.com"

    def refresh(self, _request: object) -> None:
        self.refreshed += 1
        self.token = f"token-{self.refreshed}"


@dataclass
class Seen:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Stub:
    """Gives one answer after the other, the last one for ever."""

    url: str
    answers: list[Callable[[Handler], None]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def give(self, *answers: Callable[[Handler], None]) -> None:
        self.answers[:] = answers
        self.seen.clear()

    def answer(self, handler: Handler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.seen.append(Seen(handler.command, handler.path, {k.lower(): v for k, v in handler.headers.items()}, body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer(handler)


def sends(body: object, status: int = 200, **headers: str) -> Callable[[Handler], None]:
    """Answer with JSON, or with these very bytes."""

    def answer(handler: Handler) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        sent = {"Content_Type": "application/json", "Content_Length": str(len(raw))} | headers
        for key, value in sent.items():
            handler.send_header(key.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(raw)

    return answer


@contextlib.contextmanager
def serving() -> Iterator[Stub]:
    class Serves(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:  # the client has gone
                self.close_connection = True

        def do_GET(self) -> None:
            stub.answer(self)

        do_POST = do_PATCH = do_DELETE = do_CONNECT = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Serves)
    server.daemon_threads = True
    stub = Stub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.stopped.set()
        server.shutdown()
        server.server_close()
