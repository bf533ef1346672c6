"""`ops serve`: the status page on this machine, with the operator's identity. It answers on loopback alone."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

from ops.page.answer import Answer, Source, answer
from ops.page.reading import Live
from ops.survey import connected
from ops.terminal import MistakeError

if TYPE_CHECKING:
    import argparse

HOST: Final = "127.0.0.1"


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    services = connected()
    with open_server(Live(lambda: services), options.port) as server:
        print(f"The status page is at {address(server)}/ (Ctrl-C stops it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")
    return 0


def open_server(source: Source, port: int = 0) -> ThreadingHTTPServer:
    """Listen on loopback; port 0 takes a free one. Raises MistakeError when the port is in use."""

    class Handler(_Handler):
        shown = source

    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        raise MistakeError(f"port {port} cannot be opened ({error.strerror}): choose another with --port") from error


def address(server: ThreadingHTTPServer) -> str:
    """Return where a server answers."""
    return f"http://{HOST}:{server.server_port}"


class _Handler(BaseHTTPRequestHandler):
    """One connection of a browser."""

    shown: Source
    server_version = "fleet-registrar"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        self._send(self._answered())

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def _answered(self) -> Answer:
        # A page of another site may name this address by a host of its own (DNS rebinding): only loopback's names are ours.
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if host not in (HOST, "localhost"):
            return Answer(403, "text/plain; charset=utf-8", "this page answers to loopback alone\n")
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, max_num_fields=50))
        return answer(self.command, parts.path, query, self.shown)

    def _send(self, one: Answer) -> None:
        body = one.body.encode(errors="backslashreplace")
        self.send_response(one.status)
        for name, value in one.all_headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing: the terminal is the operator's."""
