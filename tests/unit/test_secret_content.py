"""The cluster Secret: what is written, and when nothing is (docs/objects.md#cluster-secret)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions import secret_plan
from shared.decisions.secret_plan import CONFIG
from shared.values.model import Cluster, Membership
from shared.values.names import ClusterName
from shared.values.target import target_of
from tests.unit.given import (
    BLUE,
    BLUE_MEMBER,
    EDGE,
    GRANT,
    NOW,
    SETTINGS,
    as_secret,
    created,
    patched,
    secret,
    settings,
)
from tests.unit.secret_plans import (
    BACK,
    GOLDEN_CONFIG,
    HOST,
    LATER,
    REWRITTEN_BY_ARGO_CD,
    decoded,
    golden,
    labelled,
    plan,
)

pytestmark = pytest.mark.usefixtures("without_collection")


def test_a_regional_clusters_secret() -> None:
    assert created() == golden(
        "demo-apps.europe-west1.blue",
        f"{HOST}/gkeMemberships/blue-842a4948",
        {
            "env": "prod",
            "fleet-registrar/cluster-hash": "842a4948cc940382c1acbce5f1225c88",
            "fleet-registrar/membership-hash": BLUE_MEMBER.name.hash,
            "fleet-registrar/name": "blue",
            "fleet-registrar/project": "demo-apps",
            "fleet-registrar/location": "europe-west1",
            "fleet-registrar/region": "europe-west1",
            "fleet-registrar/instance": "default",
            "fleet-registrar/kind": "gke",
        },
        {
            "fleet-registrar/cluster": "projects/demo-apps/locations/europe-west1/clusters/blue",
            "fleet-registrar/cluster-id": "a" * 64,
            "fleet-registrar/membership": "projects/demo-fleet/locations/europe-west1/memberships/blue-842a4948",
            "fleet-registrar/membership-uid": "uid-blue",
            "fleet-registrar/functions-project": "demo-fleet",
            "fleet-registrar/grant": GRANT,
            "fleet-registrar/label-keys": "env",
        },
    )


def test_a_zonal_clusters_secret_in_a_project_with_a_domain() -> None:
    cluster = Cluster(ClusterName("example.com:apps", "europe-west1-b", "blue"), "id-1", "RUNNING")
    member = Membership(cluster.name.membership("demo-fleet"), "uid-2", "READY", cluster=cluster.name)
    short = cluster.name.hash[:8]
    assert created(cluster, member) == golden(
        "example.com-apps.europe-west1-b.blue",
        f"{HOST}/gkeMemberships/blue-{short}",
        {
            "fleet-registrar/cluster-hash": cluster.name.hash,
            "fleet-registrar/membership-hash": member.name.hash,
            "fleet-registrar/name": "blue",
            "fleet-registrar/project": "example.com-apps",
            "fleet-registrar/location": "europe-west1-b",
            "fleet-registrar/region": "europe-west1",
            "fleet-registrar/instance": "default",
            "fleet-registrar/kind": "gke",
        },
        {
            "fleet-registrar/cluster": "projects/example.com:apps/locations/europe-west1-b/clusters/blue",
            "fleet-registrar/cluster-id": "id-1",
            "fleet-registrar/membership": f"projects/demo-fleet/locations/europe-west1/memberships/blue-{short}",
            "fleet-registrar/membership-uid": "uid-2",
            "fleet-registrar/functions-project": "demo-fleet",
            "fleet-registrar/grant": GRANT,
            "fleet-registrar/label-keys": "",
        },
    )


def test_an_autopilot_cluster_says_so() -> None:
    assert created(replace(BLUE, autopilot=True))["metadata"]["labels"]["fleet-registrar/kind"] == "gke-autopilot"


def test_an_attached_clusters_secret() -> None:
    assert created(None, EDGE) == golden(
        "demo-fleet.global.memberships.edge",
        "https://connectgateway.googleapis.com/v1/projects/100000000001/locations/global/memberships/edge",
        {
            "env": "prod",
            "fleet-registrar/membership-hash": EDGE.name.hash,
            "fleet-registrar/name": "edge",
            "fleet-registrar/project": "demo-fleet",
            "fleet-registrar/location": "global",
            "fleet-registrar/instance": "default",
            "fleet-registrar/kind": "attached",
        },
        {
            "fleet-registrar/membership": "projects/demo-fleet/locations/global/memberships/edge",
            "fleet-registrar/membership-uid": "uid-edge",
            "fleet-registrar/project-number": "100000000001",
            "fleet-registrar/functions-project": "demo-fleet",
            "fleet-registrar/grant": GRANT,
            "fleet-registrar/label-keys": "env",
        },
    )


def test_the_server_follows_the_endpoint_override() -> None:
    under = settings(CLOUDSDK_API_ENDPOINT_OVERRIDES_CONNECTGATEWAY="https://127.0.0.1:8443/")
    target = target_of(BLUE, BLUE_MEMBER)
    server = decoded(secret_plan.new_secret(target, under, NOW)["data"])["server"]
    assert server == plan(secret(), granted=True, under=under).server
    assert server.startswith("https://127.0.0.1:8443/v1/projects/100000000001/locations/europe-west1/gkeMemberships/")


@pytest.mark.parametrize("granted", [False, True])
@pytest.mark.parametrize(("cluster", "membership"), [(BLUE, BLUE_MEMBER), (None, BACK)])
def test_nothing_differs_nothing_is_written(cluster: Cluster | None, membership: Membership, granted: bool) -> None:
    found = plan(secret(cluster, membership), cluster, membership, granted=granted)
    assert (found.patch, found.needs_grant) == (None, False)


labels = st.dictionaries(
    st.sampled_from(["env", "tier", "team", "env-", "größe", "goog-x"]), st.sampled_from(["a", "b-", "ß", ""])
)


@given(labels, labels, labels, st.booleans(), st.frozensets(st.sampled_from(["env", "tier", "team"])))
def test_what_has_been_written_is_not_written_again(
    before: dict[str, str], after: dict[str, str], theirs: dict[str, str], granted: bool, drop: frozenset[str]
) -> None:
    current = as_secret(created(labelled(**before)))
    current = replace(current, labels={**theirs, **current.labels})
    arguments: Any = {"granted": granted, "drop": drop, "now": LATER}
    target = target_of(labelled(**after), BLUE_MEMBER)
    first = secret_plan.plan(current, target, SETTINGS, **arguments)
    if first.patch is not None:
        current = patched(current, first.patch)
    assert secret_plan.plan(current, target, SETTINGS, **arguments).patch is None


def test_a_patch_names_the_very_version_that_was_read() -> None:
    found = plan(secret(), labelled(env="dev"))
    assert found.patch == {"metadata": {"labels": {"env": "dev"}, "uid": "uid-1", "resourceVersion": "7"}}


@pytest.mark.parametrize(
    "config",
    [
        GOLDEN_CONFIG,
        json.dumps(json.loads(GOLDEN_CONFIG), indent=2, sort_keys=True),
        REWRITTEN_BY_ARGO_CD,
        json.dumps({"execProviderConfig": json.loads(GOLDEN_CONFIG)["execProviderConfig"]}),
    ],
)
def test_a_config_that_means_the_same_is_left_as_it_is(config: str) -> None:
    current = secret()
    assert plan(replace(current, data={**current.data, "config": config})).patch is None


@pytest.mark.parametrize(
    "config",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        GOLDEN_CONFIG.replace("false", "true"),
        GOLDEN_CONFIG.replace("v1beta1", "v1"),
        GOLDEN_CONFIG.replace('["gcp"]', '["aws"]'),
        GOLDEN_CONFIG[:-1] + ',"bearerToken":"x"}',
        GOLDEN_CONFIG[:-1] + ',"username":"x"}',
    ],
)
def test_a_config_with_another_meaning_is_repaired(config: str) -> None:
    current = secret()
    found = plan(replace(current, data={**current.data, "config": config})).patch
    assert found is not None
    assert decoded(found["data"]) == {"config": GOLDEN_CONFIG}
    assert CONFIG == GOLDEN_CONFIG


def test_another_server_is_repaired_and_a_trailing_slash_is_ignored() -> None:
    current = secret()
    same = replace(current, data={**current.data, "server": current.data["server"] + "/"})
    other = replace(current, data={**current.data, "server": "https://elsewhere"})
    assert plan(same).patch is None
    found = plan(other).patch
    assert found is not None
    assert decoded(found["data"]) == {"server": current.data["server"]}


def test_an_adopted_secret_keeps_its_names_and_what_people_added() -> None:
    current = secret()
    adopted = replace(
        current,
        name="by-hand",
        labels={**current.labels, "theirs": "1"},
        annotations={**current.annotations, "theirs": "2"},
        data={**current.data, "name": "my cluster", "shard": "3", "project": "team"},
    )
    assert plan(adopted, granted=True).patch is None


@pytest.mark.parametrize(("cluster", "membership"), [(BLUE, BLUE_MEMBER), (None, EDGE)])
def test_a_missing_cluster_name_is_written(cluster: Cluster | None, membership: Membership) -> None:
    current = secret(cluster, membership)
    data = {key: value for key, value in current.data.items() if key != "name"}
    found = plan(replace(current, data=data), cluster, membership).patch
    assert found is not None
    assert decoded(found["data"]) == {"name": current.name}
