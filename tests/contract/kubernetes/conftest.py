"""The rules of a Kubernetes API, as the official client sees them: of the embedded server always, of a real one where it is given.

Everything in this folder must be true of both servers. `../test_kubernetes_embedded.py` has what only the embedded server does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.kubernetes.api import Api, api_client, core_of, rbac_of, role
from tests.contract.kubernetes_server import Server, kubernetes_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kubernetes import client


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with kubernetes_server() as found:
        yield found


@pytest.fixture(scope="session")
def admin(server: Server) -> Iterator[client.ApiClient]:
    with api_client(server) as found:
        yield found


@pytest.fixture(scope="session")
def core(admin: client.ApiClient) -> Api:
    return core_of(admin)


@pytest.fixture(scope="session")
def rbac(admin: client.ApiClient) -> Api:
    return rbac_of(admin)


@pytest.fixture
def namespace(core: Api) -> Iterator[str]:
    name = core.create_namespace({"metadata": {"generateName": "contract-"}}).metadata.name
    yield name
    core.delete_namespace(name)


@pytest.fixture
def user(server: Server, namespace: str) -> Iterator[client.ApiClient]:
    """A user without permissions; the name is the namespace's, so that no two tests share a user."""
    with api_client(server, namespace) as found:
        yield found


@pytest.fixture
def cluster_role(rbac: Api, namespace: str) -> Iterator[str]:
    """The name of a ClusterRole without rules."""
    rbac.create_cluster_role(role(namespace))
    yield namespace
    rbac.delete_cluster_role(namespace)
