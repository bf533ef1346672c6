"""Two fleets, each with a registrar of its own, and one Argo CD: the central cluster is a member of the first fleet."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import pytest

from local.grants import REGISTERING
from local.identities import service_account, shipped_roles
from local.names import NUMBERS
from tests.chain.running import ARGOCD, CENTRAL_MEMBERSHIP, FLEET, REGION, SECRETS, Chain, fresh, running

if TYPE_CHECKING:
    from collections.abc import Iterator

STAGING = "demo-staging"
PROJECTS = {"default": FLEET, "staging": STAGING}
NUMBER = {FLEET: NUMBERS[FLEET], STAGING: 100000000004}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A cloud with both fleets."""
    with running(tmp_path_factory.mktemp("fleets"), "--staging", "--hold", "0") as chain:
        yield chain


def onboarded(cloud: Chain, cluster: str) -> dict[str, str]:
    """Wait for a cluster's Secret with all its labels, and return them."""

    def complete() -> dict[str, str]:
        found = cloud.secret(cluster)
        labels: dict[str, str] = (found or {}).get("labels") or {}
        return labels if "fleet-registrar/name" in labels else {}

    return cloud.wait_for(complete, what=f"{cluster} in Argo CD's list")


def sweep(cloud: Chain, instance: str) -> None:
    """Let the registrar of one fleet compare its lists, and wait until it has finished."""
    function = "sweep" if instance == "default" else f"{instance}/sweep"
    before = len(cloud.lines(function, '"swept"'))
    cloud.do("scheduler", "run", name=f"projects/{PROJECTS[instance]}/locations/{REGION}/jobs/sweep")
    cloud.wait_for(lambda: len(cloud.lines(function, '"swept"')) > before, what=f"{function} ended")
    cloud.wait_quiet()


def test_each_fleets_clusters_appear_in_one_argocd(cloud: Chain) -> None:
    name = fresh("both")
    clusters = {instance: cloud.create_cluster(name, project=project) for instance, project in PROJECTS.items()}
    for instance, cluster in clusters.items():
        project = PROJECTS[instance]
        assert onboarded(cloud, cluster)["fleet-registrar/instance"] == instance
        secret = cloud.secret(cluster)
        assert secret is not None
        membership = secret["annotations"]["fleet-registrar/membership"]
        assert membership.split("/")[1] == project
        path = f"/v1/projects/{NUMBER[project]}/locations/{REGION}/gkeMemberships/{membership.rpartition('/')[2]}"
        assert secret["data.server"].endswith(path)
        assert cloud.through_gateway(ARGOCD, membership, "GET", "/api/v1/namespaces")[0] == 200


def test_neither_sweep_touches_the_other_fleets_secrets(cloud: Chain) -> None:
    name = fresh("kept")
    clusters = [cloud.create_cluster(name, project=project) for project in PROJECTS.values()]
    for cluster in clusters:
        onboarded(cloud, cluster)
    cloud.wait_quiet()
    before = cloud.everything()["secrets"]
    for instance in PROJECTS:
        sweep(cloud, instance)
    assert cloud.everything()["secrets"] == before


def test_a_deleted_cluster_leaves_its_namesake_of_the_other_fleet(cloud: Chain) -> None:
    name = fresh("one")
    ours, theirs = (cloud.create_cluster(name, project=project) for project in PROJECTS.values())
    for cluster in (ours, theirs):
        onboarded(cloud, cluster)
    cloud.delete_cluster(theirs)
    cloud.wait_for(lambda: cloud.secret(theirs) is None, what=f"{theirs} out of Argo CD's list")
    cloud.wait_quiet()
    sweep(cloud, "default")
    assert cloud.secret(ours) is not None
    assert cloud.membership(ours)
    assert cloud.membership(theirs) == ""


def test_the_second_fleets_identities_have_no_gateway_but_the_central_ones(cloud: Chain) -> None:
    """`write-secret` reaches Argo CD's Secrets through the first fleet, and no cluster of its own fleet."""
    name = fresh("reach")
    cluster = cloud.create_cluster(name, project=STAGING)
    onboarded(cloud, cluster)
    writer = service_account("write-secret", STAGING)
    assert cloud.through_gateway(writer, CENTRAL_MEMBERSHIP, "GET", SECRETS)[0] == 200
    status, answer = cloud.through_gateway(writer, cloud.membership(cluster), "GET", "/api/v1/namespaces")
    assert (status, answer["error"]["status"]) == (403, "PERMISSION_DENIED")


def test_a_cluster_that_is_attached_to_the_second_fleet_appears(cloud: Chain) -> None:
    membership = str(cloud.do("cloud", "attach", name=fresh("edge"), admit=True, project=STAGING))
    assert onboarded(cloud, membership)["fleet-registrar/instance"] == "staging"


@pytest.mark.parametrize("instance", PROJECTS)
def test_the_status_page_of_each_fleet_shows_its_own_clusters(cloud: Chain, instance: str) -> None:
    """It reads the other fleet's Secrets in the same namespace, and reports nothing of them."""
    name = fresh("page")
    clusters = {one: cloud.create_cluster(name, project=project) for one, project in PROJECTS.items()}
    for cluster in clusters.values():
        onboarded(cloud, cluster)
    cloud.wait_quiet()
    page = cloud.state()["endpoints"]["status page" if instance == "default" else f"{instance}/status page"]
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{page}/status.json", timeout=60) as answer:
        document = json.load(answer)
    assert document["instance"] == instance
    stages = {one["name"]: one["stage"] for one in document["clusters"]}
    assert stages[clusters[instance]] == "in_argocd"
    assert {one.split("/")[1] for one in stages} == {PROJECTS[instance]}
    assert not [one for one in document["problems"] if one["unknown"]]


def test_with_wait_no_identity_may_register(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running(tmp_path_factory.mktemp("wait"), "--registration", "wait") as cloud:
        settings = cloud.do("cloud", "settings")
        assert settings["REGISTRATION"] == "wait"
        cluster = cloud.create_cluster(fresh("waits"))
        cloud.logged("register-membership", cluster, decision="waiting", code="waiting_for_membership")
        for name in shipped_roles():
            for permission in REGISTERING:
                email = service_account(name, FLEET)
                assert not cloud.do("iam", "allows", email=email, permission=permission, project=FLEET)
