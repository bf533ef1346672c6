"""Terraform's states over HTTP, as remote as the bucket is: a local backend writes the whole file after each resource.

An address is a file's path on a server of this process. What has that path on disk is the state, so a copied directory has it too.
"""

from __future__ import annotations

import functools
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote


class _States(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        file = Path(unquote(self.path))
        self._answer(file.read_bytes() if file.exists() else None)

    def do_POST(self) -> None:
        Path(unquote(self.path)).write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(b"")

    def _answer(self, body: bytes | None) -> None:
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@functools.cache
def _server() -> ThreadingHTTPServer:
    """Start the server; it ends with this process."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _States)
    threading.Thread(target=server.serve_forever, name="states", daemon=True).start()
    return server


def address(file: Path) -> str:
    """Return where the state in this file is read and written."""
    return f"http://127.0.0.1:{_server().server_port}{quote(file.as_posix())}"
