"""The cluster Secret: what is written, and when nothing is (docs/objects.md#cluster-secret)."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions import secret_plan
from shared.decisions.secret_plan import CONFIG, Plan
from shared.values import cluster_secret
from shared.values.cluster_secret import ClusterSecret, Hold, select_unmanaged, timestamp
from shared.values.errors import PermanentError
from shared.values.model import Cluster, Membership
from shared.values.names import ClusterName, MembershipName
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

SKIP = "argocd.argoproj.io/skip-reconcile"
REFRESH = "argocd.argoproj.io/refresh"
LATER = NOW + timedelta(hours=3)  # when all plans here are made
SILENT = replace(EDGE, last_connection=NOW)
BACK = replace(EDGE, last_connection=LATER)


def plan(
    standing: ClusterSecret | None,
    cluster: Cluster | None = BLUE,
    membership: Membership = BLUE_MEMBER,
    *,
    granted: bool = False,
    drop: tuple[str, ...] = (),
    under: Any = SETTINGS,
) -> Plan:
    return secret_plan.plan(standing, cluster, membership, under, granted=granted, drop=frozenset(drop), now=LATER)


def labelled(**labels: str) -> Cluster:
    return replace(BLUE, labels=labels)


def decoded(data: dict[str, str]) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


# --- what is written ---------------------------------------------------------------------------------------------

GOLDEN_CONFIG = (
    '{"execProviderConfig":{"apiVersion":"client.authentication.k8s.io/v1beta1","args":["gcp"],'
    '"command":"argocd-k8s-auth"},"tlsClientConfig":{"insecure":false}}'
)
HOST = "https://europe-west1-connectgateway.googleapis.com/v1/projects/100000000001/locations/europe-west1"


REWRITTEN_BY_ARGO_CD = (
    '{"tlsClientConfig":{"insecure":false,"caData":""},"username":"","execProviderConfig":{"command":"argocd-k8s-auth",'
    '"args":["gcp"],"env":{},"apiVersion":"client.authentication.k8s.io/v1beta1","installHint":""},"awsAuthConfig":null}'
)


def golden(name: str, server: str, labels: dict[str, str], annotations: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": name,
            "namespace": "argocd",
            "labels": {
                "argocd.argoproj.io/secret-type": "cluster",
                "app.kubernetes.io/managed-by": "fleet-registrar",
                **labels,
            },
            "annotations": annotations,
        },
        "data": {
            key: base64.b64encode(value.encode()).decode()
            for key, value in {"name": name, "server": server, "config": GOLDEN_CONFIG}.items()
        },
    }


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
            "fleet-registrar/grant": GRANT,
            "fleet-registrar/label-keys": "env",
        },
    )


def test_nothing_is_created_without_the_grant() -> None:
    found = plan(None)
    assert (found.create, found.patch, found.needs_grant) == (None, None, True)


def test_the_server_follows_the_endpoint_override() -> None:
    under = settings(CLOUDSDK_API_ENDPOINT_OVERRIDES_CONNECTGATEWAY="https://127.0.0.1:8443/")
    found = plan(None, granted=True, under=under)
    assert found.create is not None
    server = decoded(found.create["data"])["server"]
    assert server == found.server
    assert server.startswith("https://127.0.0.1:8443/v1/projects/100000000001/locations/europe-west1/gkeMemberships/")


# --- when nothing differs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("granted", [False, True])
@pytest.mark.parametrize(("cluster", "membership"), [(BLUE, BLUE_MEMBER), (None, BACK)])
def test_nothing_differs_nothing_is_written(cluster: Cluster | None, membership: Membership, granted: bool) -> None:
    found = plan(secret(cluster, membership), cluster, membership, granted=granted)
    assert (found.create, found.patch, found.needs_grant) == (None, None, False)


labels = st.dictionaries(
    st.sampled_from(["env", "tier", "team", "env-", "größe", "goog-x"]), st.sampled_from(["a", "b-", "ß", ""])
)


@given(labels, labels, labels, st.booleans(), st.frozensets(st.sampled_from(["env", "tier", "team"])))
def test_what_has_been_written_is_not_written_again(
    before: dict[str, str], after: dict[str, str], theirs: dict[str, str], granted: bool, drop: frozenset[str]
) -> None:
    standing = as_secret(created(labelled(**before)))
    standing = replace(standing, labels={**theirs, **standing.labels})
    arguments: Any = {"granted": granted, "drop": drop, "now": LATER}
    first = secret_plan.plan(standing, labelled(**after), BLUE_MEMBER, SETTINGS, **arguments)
    if first.patch is not None:
        standing = patched(standing, first.patch)
    assert secret_plan.plan(standing, labelled(**after), BLUE_MEMBER, SETTINGS, **arguments).patch is None


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
    standing = secret()
    assert plan(replace(standing, data={**standing.data, "config": config})).patch is None


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
def test_a_config_that_means_something_else_is_mended(config: str) -> None:
    standing = secret()
    found = plan(replace(standing, data={**standing.data, "config": config})).patch
    assert found is not None
    assert decoded(found["data"]) == {"config": GOLDEN_CONFIG}
    assert CONFIG == GOLDEN_CONFIG


def test_another_server_is_mended_and_a_trailing_slash_is_none() -> None:
    standing = secret()
    same = replace(standing, data={**standing.data, "server": standing.data["server"] + "/"})
    other = replace(standing, data={**standing.data, "server": "https://elsewhere"})
    assert plan(same).patch is None
    found = plan(other).patch
    assert found is not None
    assert decoded(found["data"]) == {"server": standing.data["server"]}


def test_an_adopted_secret_keeps_its_names_and_what_people_added() -> None:
    standing = secret()
    adopted = replace(
        standing,
        name="by-hand",
        labels={**standing.labels, "theirs": "1"},
        annotations={**standing.annotations, "theirs": "2"},
        data={**standing.data, "name": "my cluster", "shard": "3", "project": "team"},
    )
    assert plan(adopted, granted=True).patch is None


# --- labels ------------------------------------------------------------------------------------------------------


def after(standing: ClusterSecret, cluster: Cluster, **arguments: Any) -> tuple[dict[str, str], str]:
    """The source's labels on the Secret, and our list of keys, once the plan has been carried out."""
    found = plan(standing, cluster, **arguments)
    now = patched(standing, found.patch) if found.patch else standing
    own = {key: value for key, value in now.labels.items() if "/" not in key}
    return own, now.annotations["fleet-registrar/label-keys"]


def test_new_and_changed_labels_go_through_at_once() -> None:
    assert after(secret(), labelled(env="dev", tier="a")) == ({"env": "dev", "tier": "a"}, "env,tier")


def test_a_label_that_is_gone_at_the_source_stays_until_a_sweep_drops_it() -> None:
    assert after(secret(), labelled()) == ({"env": "prod"}, "env")
    assert after(secret(), labelled(), drop=("env",)) == ({}, "")


def test_a_dropped_label_goes_whoever_wrote_it_last() -> None:
    standing = secret()
    standing = replace(standing, labels={**standing.labels, "env": "a person's"})
    assert after(standing, labelled(), drop=("env",)) == ({}, "")


def test_a_label_is_dropped_only_if_it_is_gone_in_our_own_read() -> None:
    assert after(secret(), BLUE, drop=("env", "other")) == ({"env": "prod"}, "env")


def test_a_label_that_we_did_not_write_is_never_dropped() -> None:
    standing = secret()
    standing = replace(standing, labels={**standing.labels, "theirs": "1"})
    assert after(standing, BLUE, drop=("theirs",)) == ({"env": "prod", "theirs": "1"}, "env")


def test_a_persons_value_under_a_key_that_is_not_listed_stays() -> None:
    standing = secret(labelled())
    standing = replace(standing, labels={**standing.labels, "env": "theirs"})
    assert after(standing, BLUE) == ({"env": "theirs"}, "")


def test_a_persons_label_of_the_same_value_becomes_ours() -> None:
    standing = secret(labelled())
    standing = replace(standing, labels={**standing.labels, "env": "prod"})
    assert after(standing, BLUE) == ({"env": "prod"}, "env")


def test_what_a_person_changed_or_took_away_under_our_key_comes_back() -> None:
    standing = secret()
    assert after(replace(standing, labels={**standing.labels, "env": "x"}), BLUE) == ({"env": "prod"}, "env")
    without = {key: value for key, value in standing.labels.items() if key != "env"}
    assert after(replace(standing, labels=without), BLUE) == ({"env": "prod"}, "env")


def test_of_a_value_that_cannot_be_copied_the_old_one_stays_with_a_warning() -> None:
    assert after(secret(), labelled(env="größe"), drop=("env",)) == ({"env": "prod"}, "env")
    assert plan(secret(), labelled(env="größe")).warnings


def test_keys_left_out_by_the_settings_are_gone() -> None:
    under = settings(LABEL_KEYS="tier")
    assert after(secret(), BLUE, under=under) == ({"env": "prod"}, "env")
    assert after(secret(), BLUE, under=under, drop=("env",)) == ({}, "")


@pytest.mark.parametrize("key", ["fleet-registrar/kind", "app.kubernetes.io/managed-by"])
def test_our_marks_are_never_dropped_or_taken_over(key: str) -> None:
    standing = secret(label_keys=f"env,{key}")
    found = plan(standing, BLUE, drop=(key,))
    now = patched(standing, found.patch) if found.patch else standing
    assert now.labels[key] == standing.labels[key]
    assert plan(replace(standing, labels={**standing.labels, key: "x"})).patch is not None


# --- the grant, and later clusters -------------------------------------------------------------------------------


def test_without_the_grant_noted_labels_go_through_and_the_grant_is_asked_for() -> None:
    standing = as_secret(created(), **{"fleet-registrar/grant": None})
    found = plan(standing, labelled(env="dev"))
    assert found.needs_grant
    assert found.patch is not None
    assert found.patch["metadata"]["labels"] == {"env": "dev"}
    assert "annotations" not in found.patch["metadata"]


def test_another_grant_than_the_settings_say_is_asked_for_and_then_noted() -> None:
    standing = secret(grant="view argocd@demo-fleet.iam.gserviceaccount.com")
    assert plan(standing).patch is None
    assert plan(standing).needs_grant
    found = plan(standing, granted=True)
    assert found.patch is not None
    assert found.patch["metadata"]["annotations"] == {"fleet-registrar/grant": GRANT}
    assert not found.needs_grant


LATER_CLUSTER = replace(BLUE, id="b" * 64, labels={"env": "dev"})
LATER_MEMBER = replace(BLUE_MEMBER, unique_id="uid-later")


@pytest.mark.parametrize(
    ("cluster", "membership"),
    [(LATER_CLUSTER, LATER_MEMBER), (LATER_CLUSTER, BLUE_MEMBER), (BLUE, LATER_MEMBER)],
)
def test_of_a_later_cluster_nothing_is_written_before_the_grant(cluster: Cluster, membership: Membership) -> None:
    found = plan(secret(), cluster, membership)
    assert (found.create, found.patch, found.needs_grant) == (None, None, True)


def test_a_later_cluster_gets_the_secret_in_place() -> None:
    found = plan(secret(), LATER_CLUSTER, LATER_MEMBER, granted=True)
    assert found.patch == {
        "metadata": {
            "uid": "uid-1",
            "resourceVersion": "7",
            "labels": {"env": "dev"},
            "annotations": {
                "fleet-registrar/cluster-id": "b" * 64,
                "fleet-registrar/membership-uid": "uid-later",
                "argocd.argoproj.io/refresh": timestamp(LATER),
            },
        }
    }


def test_another_membership_of_the_same_cluster_moves_the_server() -> None:
    auto = replace(BLUE_MEMBER, name=MembershipName("demo-fleet", "europe-west1", "blue"), unique_id="uid-auto")
    found = plan(secret(), BLUE, auto, granted=True)
    assert found.patch is not None
    assert decoded(found.patch["data"]) == {"server": f"{HOST}/gkeMemberships/blue"}
    assert found.patch["metadata"]["labels"] == {"fleet-registrar/membership-hash": auto.name.hash}


# --- holds -------------------------------------------------------------------------------------------------------


def held(standing: ClusterSecret, reason: Any, now: Any = NOW) -> ClusterSecret:
    patch = secret_plan.hold(standing, reason, now)
    assert patch is not None
    return patched(standing, patch)


def test_a_hold_sets_the_secret_aside_and_says_why_and_since_when() -> None:
    now = held(secret(), "going")
    assert now.annotations["fleet-registrar/held"] == "going 2026-11-24T12:00:00Z skip-reconcile=ours"
    assert now.annotations[SKIP] == "true"
    assert now.hold == Hold("going", NOW, owns_skip=True)


def test_what_is_held_for_that_reason_is_not_written_again() -> None:
    assert secret_plan.hold(held(secret(), "going"), "going", LATER) is None


def test_another_reason_starts_the_time_anew() -> None:
    assert held(held(secret(), "going"), "not-wanted", LATER).hold == Hold("not-wanted", LATER, owns_skip=True)


def test_a_hold_whose_skip_reconcile_was_taken_off_is_mended_and_keeps_its_time() -> None:
    standing = held(secret(), "not-wanted")
    off = replace(standing, annotations={key: value for key, value in standing.annotations.items() if key != SKIP})
    again = held(off, "not-wanted", LATER)
    assert again.hold == Hold("not-wanted", NOW, owns_skip=True)
    assert again.annotations[SKIP] == "true"


def test_lifting_leaves_nothing_behind() -> None:
    standing = held(secret(), "going")
    patch = secret_plan.release(standing)
    assert patch is not None
    assert patched(standing, patch).annotations == secret().annotations
    assert secret_plan.release(secret()) is None


@pytest.mark.parametrize("again", [(), ("not-wanted",), ("not-wanted", "going")])
def test_a_skip_reconcile_that_a_person_set_stays(again: tuple[str, ...]) -> None:
    standing = secret()
    standing = held(replace(standing, annotations={**standing.annotations, SKIP: "true"}), "going")
    for reason in again:
        standing = held(standing, reason)
    patch = secret_plan.release(standing)
    assert patch is not None
    now = patched(standing, patch)
    assert now.annotations[SKIP] == "true"
    assert now.hold is None


def test_the_grant_lifts_a_hold_and_nothing_less_does() -> None:
    standing = held(secret(), "not-wanted")
    without = plan(standing)
    assert (without.patch, without.needs_grant) == (None, True)
    found = plan(standing, granted=True)
    assert found.patch is not None
    assert patched(standing, found.patch).annotations == secret().annotations


SPOILT_HOLDS = [
    "",
    "going",
    "someday 2026-11-24T12:00:00Z skip-reconcile=ours",
    "going yesterday skip-reconcile=ours",
    "going 2026-11-24 skip-reconcile=ours",
    "going 2026-11-24T12:00:00 skip-reconcile=ours",
    "going 2026-11-24T12:00:00Z",
    "going 2026-11-24T12:00:00Z skip-reconcile=mine",
]


@pytest.mark.parametrize("text", SPOILT_HOLDS)
def test_a_spoilt_hold_starts_anew_and_is_lifted_whole(text: str) -> None:
    standing = secret(held=text)
    standing = replace(standing, annotations={**standing.annotations, SKIP: "true"})
    assert standing.hold is None
    again = held(standing, "going", LATER)
    assert again.hold == Hold("going", LATER, owns_skip=True)
    for aside in (standing, again):
        patch = secret_plan.release(aside)
        assert patch is not None
        assert patched(aside, patch).annotations == secret().annotations


@given(st.builds(Hold, st.sampled_from(["going", "not-wanted", "left-fleet"]), st.just(NOW), st.booleans()))
def test_a_hold_is_read_as_it_is_written(hold: Hold) -> None:
    assert Hold.parse(str(hold)) == hold


# --- the agent ---------------------------------------------------------------------------------------------------


def test_a_lost_agent_is_noted_once() -> None:
    standing = secret(None, EDGE)
    found = plan(standing, None, SILENT)
    assert found.patch is not None
    assert found.patch["metadata"]["annotations"] == {"fleet-registrar/agent-lost": "2026-11-24T15:00:00Z"}
    assert plan(patched(standing, found.patch), None, SILENT).patch is None


def test_an_agent_that_is_back_has_argo_cd_look_again_once() -> None:
    standing = secret(None, EDGE, agent_lost="2026-11-24T13:00:00Z")
    found = plan(standing, None, BACK)
    assert found.patch is not None
    assert found.patch["metadata"]["annotations"] == {
        "fleet-registrar/agent-lost": None,
        REFRESH: "2026-11-24T15:00:00Z",
    }
    assert plan(patched(standing, found.patch), None, BACK).patch is None


# --- reading, finding, and others' Secrets -----------------------------------------------------------------------


@pytest.mark.parametrize("value", ["true", "false", "True", ""])
@pytest.mark.parametrize("where", ["labels", "annotations"])
def test_a_person_pins_by_label_or_annotation(value: str, where: str) -> None:
    standing = replace(secret(), **{where: {"fleet-registrar/keep": value}})  # type: ignore[arg-type]
    assert standing.is_pinned is (value == "true")


def test_a_secret_names_its_cluster_and_membership() -> None:
    assert (secret().cluster, secret().membership) == (BLUE.name, BLUE_MEMBER.name)
    assert (secret(None, EDGE).cluster, secret(None, EDGE).membership) == (None, EDGE.name)


def test_a_spoilt_name_is_permanent_and_names_the_annotation() -> None:
    with pytest.raises(PermanentError, match="fleet-registrar/cluster is invalid"):
        assert as_secret(created(), **{"fleet-registrar/cluster": "blue"}).cluster


@pytest.mark.parametrize(
    "manifest",
    [
        {"metadata": {"name": "x", "uid": "u", "resourceVersion": "1"}},
        {"metadata": {"name": "x", "uid": "u", "resourceVersion": "1", "labels": None}, "data": None},
        {"metadata": {"name": "x", "uid": "u", "resourceVersion": "1"}, "data": {"name": "!", "server": None}},
        {"metadata": {"name": "x", "uid": "u", "resourceVersion": "1"}, "data": {"config": "/w=="}},
    ],
)
def test_a_secret_of_somebody_else_may_hold_anything(manifest: dict[str, Any]) -> None:
    found = ClusterSecret.read(manifest)
    assert not found.is_managed
    assert not found.clashes_with("demo-apps.europe-west1.blue", "https://server")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"name": "blue", "server": "https://other"}, True),
        ({"name": "other", "server": "https://server"}, True),
        ({"name": "other", "server": "https://server/"}, True),
        ({"name": "other", "server": "https://other"}, False),
        ({}, False),
    ],
)
def test_the_same_server_or_name_is_in_the_way(data: dict[str, str], expected: bool) -> None:
    assert ClusterSecret("x", "u", "1", data=data).clashes_with("blue", "https://server") is expected


def test_secrets_are_found_by_hash_and_mark() -> None:
    mark = "app.kubernetes.io/managed-by=fleet-registrar"
    by_cluster = f"{mark},fleet-registrar/cluster-hash={BLUE.name.hash}"
    assert cluster_secret.found_by(BLUE.name, None) == by_cluster
    assert cluster_secret.found_by(BLUE.name, EDGE.name) == by_cluster
    assert cluster_secret.found_by(None, EDGE.name) == f"{mark},fleet-registrar/membership-hash={EDGE.name.hash}"
    assert select_unmanaged("blue") == "argocd.argoproj.io/secret-type=cluster,fleet-registrar/instance!=blue"


def test_data_is_never_shown() -> None:
    assert "argocd-k8s-auth" not in repr(secret())


@pytest.mark.parametrize(("cluster", "membership"), [(BLUE, BLUE_MEMBER), (None, EDGE)])
def test_a_missing_cluster_name_is_written(cluster: Cluster | None, membership: Membership) -> None:
    standing = secret(cluster, membership)
    data = {key: value for key, value in standing.data.items() if key != "name"}
    found = plan(replace(standing, data=data), cluster, membership).patch
    assert found is not None
    assert decoded(found["data"]) == {"name": standing.name}


def test_a_grant_keeps_the_skip_reconcile_of_a_person() -> None:
    standing = secret()
    skipped = {**standing.annotations, "argocd.argoproj.io/skip-reconcile": "true"}
    assert plan(replace(standing, annotations=skipped), granted=True).patch is None
