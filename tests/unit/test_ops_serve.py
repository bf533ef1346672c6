"""`ops serve` on loopback: which requests it answers, and what it says of a port that is in use."""

from __future__ import annotations

import http.client
import threading
from typing import TYPE_CHECKING

import pytest

from ops.serve import HOST, address, open_server
from ops.terminal import MistakeError
from tests.unit.test_status_page import Source, board

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import ThreadingHTTPServer


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with open_server(Source(board())) as found:
        threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True).start()
        yield found
        found.shutdown()


def ask(server: ThreadingHTTPServer, method: str = "GET", path: str = "/", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=60)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_the_page_is_shown(server: ThreadingHTTPServer) -> None:
    status, body = ask(server)
    assert status == 200
    assert b"blue" in body
    assert address(server) == f"http://{HOST}:{server.server_port}"


@pytest.mark.parametrize("host", ["attacker.example.com", "attacker.example.com:8070", ""])
def test_another_host_name_is_refused(server: ThreadingHTTPServer, host: str) -> None:
    """A page of another site may name loopback by a host of its own (DNS rebinding)."""
    assert ask(server, Host=host)[0] == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:8070", HOST])
def test_loopbacks_own_names_are_answered(server: ThreadingHTTPServer, host: str) -> None:
    assert ask(server, Host=host)[0] == 200


def test_head_has_no_body(server: ThreadingHTTPServer) -> None:
    assert ask(server, "HEAD") == (200, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_written(server: ThreadingHTTPServer, method: str) -> None:
    assert ask(server, method)[0] == 405


def test_a_port_in_use_is_a_mistake_that_names_the_option(server: ThreadingHTTPServer) -> None:
    with pytest.raises(MistakeError, match="--port"):
        open_server(Source(board()), server.server_port)
