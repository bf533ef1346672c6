"""`ops doctor` where the central cluster is not a GKE cluster: the Connect agent impersonates our identities there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.names import CENTRAL_ATTACHED
from ops.doctor.codes import Code
from tests.chain.breakages import central
from tests.chain.breakages.operator import Operator, doctor, red, sourced
from tests.chain.running import running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    with (
        running(tmp_path_factory.mktemp("attached"), "--central", "attached") as cloud,
        sourced(cloud) as environment,
    ):
        cloud.publish("sweep", {})
        cloud.wait_quiet()
        yield Operator(cloud, environment, CENTRAL_ATTACHED)


def test_attached_central_cluster_passes(operator: Operator) -> None:
    assert red(doctor(operator.environment)) == set()


def test_agent_that_may_not_impersonate_is_named(operator: Operator) -> None:
    name = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/fleet-registrar.default.impersonate"
    with central.removed(name)(operator):
        found = doctor(operator.environment)
    assert red(found) == {(Code.IMPERSONATION_MISSING, "secrets-access")}
