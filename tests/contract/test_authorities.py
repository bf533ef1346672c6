"""Which servers our sessions trust: those that an authority of REQUESTS_CA_BUNDLE has signed."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest
import requests
from google.oauth2.credentials import Credentials

from local.certificates import Authority
from local.names import CENTRAL_MEMBERSHIP, PERSON
from shared.clients.transport import authorized_session
from tests.contract.background import cloud_without_functions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.control import LocalCloud


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with cloud_without_functions(tmp_path_factory.mktemp("cloud")) as running:
        yield running


def url_of(cloud: LocalCloud) -> str:
    return f"{cloud.do('cloud', 'gateway_url', membership=CENTRAL_MEMBERSHIP)}/api"


def test_the_list_of_authorities_is_read_once(
    cloud: LocalCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes((cloud.directory / "ca.pem").read_bytes())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    person = Credentials(cloud.do("iam", "token_for", email=PERSON))
    for _ in range(2):
        with authorized_session(person) as session:
            assert session.get(url_of(cloud), timeout=60).status_code == 200
        trusted.write_text("")


def test_an_unknown_authority_is_refused(cloud: LocalCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(Authority("another").pem)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
    with authorized_session(Credentials("token")) as session, pytest.raises(requests.exceptions.SSLError):
        session.get(url_of(cloud), timeout=60)


def test_the_authorities_of_the_bundle_verify_a_proxy_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority("of the proxy")
    files = tmp_path / "ca.pem", tmp_path / "proxy.pem"
    for file, content in zip(files, (authority.pem, b"".join(authority.issue("127.0.0.1"))), strict=True):
        file.write_bytes(content)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files[1])
    asked: list[bytes] = []

    def refuse(listening: socket.socket) -> None:
        with listening.accept()[0] as accepted, context.wrap_socket(accepted, server_side=True) as connection:
            asked.extend(connection.recv(4096).split()[:2])
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy = threading.Thread(target=refuse, args=(listening,), daemon=True)
        proxy.start()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(files[0]))
        address = f"https://127.0.0.1:{listening.getsockname()[1]}"
        for name, value in {"HTTPS_PROXY": address, "https_proxy": address, "NO_PROXY": "", "no_proxy": ""}.items():
            monkeypatch.setenv(name, value)
        with authorized_session(Credentials("token")) as session, pytest.raises(requests.exceptions.ProxyError):
            session.get("https://gateway.invalid/api", timeout=60)
        proxy.join(60)
    assert asked == [b"CONNECT", b"gateway.invalid:443"]
