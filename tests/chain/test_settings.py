"""Missing or invalid settings are reported together; correcting them is enough, and valid ones take effect."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from shared.values.messages import STEPS
from tests.chain.running import ARGOCD, BINDING, CENTRAL_MEMBERSHIP, FLEET, NUMBER, Chain, fresh, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FUNCTIONS = ("route-event", *STEPS)
RIGHT = {
    "FLEET_PROJECT": FLEET,
    "FLEET_PROJECT_NUMBER": NUMBER,
    "SOURCE_PROJECTS": f"{FLEET},demo-apps",
    "CLUSTER_SELECTOR": "",
    "CENTRAL_MEMBERSHIP": CENTRAL_MEMBERSHIP,
    "ARGOCD_NAMESPACE": "",
    "ARGOCD_SERVICE_ACCOUNT": ARGOCD,
    "ARGOCD_CLUSTER_ROLE": "",
    "MAX_REMOVALS": "",
    "SWEEP_REQUESTS": "",
    "HOLD": "600",
    "REGISTRATION": "",
    "SECRETS": "",
}
WRONG = {
    "FLEET_PROJECT": "",
    "FLEET_PROJECT_NUMBER": "my-fleet",
    "SOURCE_PROJECTS": "100000000002",
    "CLUSTER_SELECTOR": "env in (dev",
    "CENTRAL_MEMBERSHIP": "central",
    "ARGOCD_NAMESPACE": "Argo CD",
    "ARGOCD_SERVICE_ACCOUNT": "argocd",
    "ARGOCD_CLUSTER_ROLE": "-",
    "MAX_REMOVALS": "many",
    "SWEEP_REQUESTS": "0",
    "HOLD": "soon",
    "REGISTRATION": "never",
    "SECRETS": "maybe",
}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A cloud whose functions are deployed again and again."""
    with running(tmp_path_factory.mktemp("settings"), "--attempts", "100") as chain:
        yield chain


@contextmanager
def deployed(
    cloud: Chain, functions: tuple[str, ...], settings: dict[str, str], after: dict[str, str]
) -> Iterator[None]:
    """Deploy functions with some settings, and with others afterwards."""
    with ThreadPoolExecutor() as at_once:
        list(at_once.map(lambda function: cloud.redeploy(function, settings), functions))
        try:
            yield
        finally:
            list(at_once.map(lambda function: cloud.redeploy(function, after), functions))


def test_invalid_settings_are_reported_together_and_retried(cloud: Chain) -> None:
    name = fresh("blue")
    cloud.wait_quiet()
    acknowledged = {step: cloud.state()["queues"][step]["acknowledged"] for step in STEPS}
    with deployed(cloud, FUNCTIONS, WRONG, RIGHT):
        cluster = cloud.create_cluster(name)
        for step in STEPS:
            cloud.publish(step, {"cluster": cluster})
        for function in FUNCTIONS:
            message = cloud.logged(function, decision="retry", code="invalid_settings")["message"]
            for setting, value in WRONG.items():
                assert f"{setting} is not set" in message or f"{setting}={value!r}: " in message, setting
            assert message.count("example: ") == len(WRONG)
        events = [one for one in cloud.state()["events"]["log"] if one["name"].endswith(cluster)]
        assert {one["state"] for one in events} == {"waiting"}
        assert {step: cloud.state()["queues"][step]["acknowledged"] for step in STEPS} == acknowledged
    cloud.onboarded(cluster)
    cloud.wait_quiet()
    assert not cloud.dead_letters(name)


def test_missing_central_membership_is_reported_and_retried(cloud: Chain) -> None:
    elsewhere = CENTRAL_MEMBERSHIP.replace("/central", "/elsewhere")
    with deployed(cloud, ("write-secret",), {"CENTRAL_MEMBERSHIP": elsewhere}, RIGHT):
        cluster = cloud.create_cluster(fresh("blue"))
        cloud.logged("write-secret", elsewhere, cluster, code="no_central_membership")
    cloud.onboarded(cluster)


def test_only_labels_in_label_keys_are_copied(cloud: Chain) -> None:
    with deployed(cloud, ("write-secret",), {"LABEL_KEYS": "env, cost-*, team:example.com/team"}, {"LABEL_KEYS": ""}):
        cluster = cloud.onboard("blue", labels={"env": "prod", "cost-center": "7", "cost": "high", "team": "shop"})
        labels = {key: value for key, value in cloud.labels(cluster).items() if "/" not in key or "example" in key}
        assert labels == {"env": "prod", "cost-center": "7", "example.com/team": "shop"}
    cloud.publish("write-secret", {"cluster": cluster})
    cloud.wait_for(lambda: cloud.labels(cluster).get("cost") == "high")


def test_changed_role_re_creates_the_binding(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    uid = (cloud.binding(cluster) or {})["metadata"]["uid"]
    functions = ("grant-rbac", "write-secret")
    with deployed(cloud, functions, {"ARGOCD_CLUSTER_ROLE": "view"}, {"ARGOCD_CLUSTER_ROLE": ""}):
        cloud.publish("write-secret", {"cluster": cluster})  # it sees that the grant is another one
        cloud.wait_for(
            lambda: cloud.manifest(cluster)["metadata"]["annotations"]["fleet-registrar/grant"] == f"view {ARGOCD}"
        )
        binding = cloud.binding(cluster) or {}
        assert binding["roleRef"]["name"] == "view"
        assert binding["metadata"]["uid"] != uid
        cloud.wait_for(lambda: not cloud.admits(cloud.membership(cluster)))  # `view` shows no Secrets


def test_earlier_identity_of_argo_cd_loses_its_access(cloud: Chain) -> None:
    """A sweep after the change is enough: the new identity has access first, and then the earlier one has none."""
    cluster = cloud.onboard("blue")
    membership = cloud.membership(cluster)
    later = ARGOCD.replace("argocd@", "argocd-new@")
    steps = tuple(step for step in FUNCTIONS if step != "route-event")
    with deployed(cloud, (*steps, "sweep"), {"ARGOCD_SERVICE_ACCOUNT": later}, {"ARGOCD_SERVICE_ACCOUNT": ARGOCD}):
        cloud.publish("sweep", {})
        cloud.wait_for(lambda: cloud.binding(cluster) is None, what=f"the binding of {ARGOCD} gone")
        assert cloud.kubernetes(cluster, "GET", BINDING.replace(ARGOCD, later))[0] == 200
        cloud.wait_for(lambda: not cloud.admits(membership))
        noted = f"cluster-admin {later}"
        cloud.wait_for(lambda: cloud.manifest(cluster)["metadata"]["annotations"]["fleet-registrar/grant"] == noted)
    cloud.publish("sweep", {})
    cloud.wait_for(lambda: cloud.kubernetes(cluster, "GET", BINDING.replace(ARGOCD, later))[0] == 404)
    assert cloud.admits(membership)


def test_missing_role_is_retried(cloud: Chain) -> None:
    functions = ("grant-rbac", "write-secret")
    role = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    with deployed(cloud, functions, {"ARGOCD_CLUSTER_ROLE": "deployer"}, {"ARGOCD_CLUSTER_ROLE": ""}):
        cluster = cloud.create_cluster(fresh("blue"))
        cloud.logged("grant-rbac", cluster, "deployer", code="no_role")
        rules = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}]
        made = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "deployer"}}
        cloud.kubernetes(cluster, "POST", role, made | {"rules": rules})
        cloud.onboarded(cluster)


def test_former_source_project_keeps_its_secrets_until_a_sweep(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", project="demo-apps")
    before = cloud.everything()
    with deployed(cloud, ("register-membership", "write-secret"), {"SOURCE_PROJECTS": FLEET}, RIGHT):
        cloud.set_labels(cluster, {"env": "prod"})
        cloud.logged("write-secret", cluster, decision="no_op")
        cloud.publish("register-membership", {"cluster": cluster})
        cloud.logged("register-membership", cluster, decision="no_op", code="not_source")
        cloud.wait_quiet()
        assert cloud.everything() == before


def test_a_cloud_that_does_not_start_says_why(tmp_path: Path) -> None:
    """Also to the tests: the end of the process that was to be the cloud hides nothing."""
    with pytest.raises(AssertionError, match="CLUSTER_SELECTOR"), running(tmp_path, "--selector", "env in ("):
        pass
