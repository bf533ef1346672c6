"""Which Secrets of others are for our clusters, and what is changed to make them ours."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from ops.adoption import Adoption, Skipped, known, match_secrets
from shared.decisions import secret_plan
from shared.decisions.recognition import PLUGIN, membership_at
from shared.values import cluster_secret
from shared.values.model import Cluster, Membership, State
from shared.values.names import MembershipName
from shared.values.target import target_of
from tests.unit.given import (
    BLUE,
    BLUE_MEMBER,
    CENTRAL,
    EDGE,
    NOW,
    SELECTING,
    SETTINGS,
    patched,
    secret,
    settings,
)
from tests.unit.surveys import seen, theirs

if TYPE_CHECKING:
    from shared.values.cluster_secret import ClusterSecret

NUMBER = SETTINGS.fleet_project_number
URL = BLUE_MEMBER.name.gateway_url(NUMBER, gke=True)
EDGE_URL = EDGE.name.gateway_url(NUMBER, gke=False)
MEMBER = BLUE_MEMBER.name


def only(unmanaged: ClusterSecret, *, change_server: bool = False) -> Adoption | Skipped:
    """What becomes of the only Secret of others."""
    adoptions, left = match_secrets(seen(unmanaged=[unmanaged]), SETTINGS, change_server=change_server)
    both: list[Adoption | Skipped] = [*adoptions, *left]
    assert len(both) == 1
    return both[0]


def taken(unmanaged: ClusterSecret, *, change_server: bool = False) -> Adoption:
    one = only(unmanaged, change_server=change_server)
    assert isinstance(one, Adoption), one
    return one


def why_left(unmanaged: ClusterSecret) -> str:
    one = only(unmanaged)
    assert isinstance(one, Skipped), one
    return one.reason


@pytest.mark.parametrize(
    "server",
    [
        f"https://europe-west1-connectgateway.googleapis.com/v1/projects/{NUMBER}/locations/europe-west1/gkeMemberships/m",
        f"https://connectgateway.googleapis.com/v1/projects/{NUMBER}/locations/europe-west1/gkeMemberships/m/",
        f"https://connectgateway.googleapis.com/v1beta1/projects/{NUMBER}/locations/europe-west1/memberships/m",
        "https://connectgateway.googleapis.com/v1/projects/demo-fleet/locations/europe-west1/memberships/m?dummy=1",
    ],
)
def test_a_gateway_url_leads_to_a_membership_in_all_its_forms(server: str) -> None:
    assert membership_at(server, SETTINGS) == MembershipName("demo-fleet", "europe-west1", "m")


def test_the_endpoint_that_replaces_googles_is_a_gateway_too() -> None:
    local = settings(CLOUDSDK_API_ENDPOINT_OVERRIDES_CONNECTGATEWAY="https://127.0.0.1:8443/")
    server = MEMBER.gateway_url(NUMBER, gke=True, override=local.connectgateway_endpoint)
    assert membership_at(server, local) == MEMBER
    assert membership_at(server, SETTINGS) is None


def test_a_secret_is_known_by_its_server() -> None:
    one = taken(theirs(server=f"{URL}/"))
    assert (one.known_by, one.request.cluster, one.request.membership) == ("its server", BLUE.name, MEMBER)
    assert one.next.topic == "register-membership"


def test_the_secret_of_an_attached_cluster_is_known_by_its_server() -> None:
    one = taken(theirs(server=EDGE_URL))
    assert (one.request.cluster, one.request.membership) == (None, EDGE.name)


@pytest.mark.parametrize(
    "given",
    [
        f"{MEMBER.membership}.europe-west1.{NUMBER}",
        f"connectgateway_demo-fleet_europe-west1_{MEMBER.membership}",
        "gke_demo-apps_europe-west1_blue",
        "demo-apps.europe-west1.blue",
    ],
)
def test_a_secret_is_known_by_the_names_that_known_tools_give(given: str) -> None:
    one = taken(theirs("x", "https://10.0.0.1", given), change_server=True)
    assert (one.known_by, one.request.cluster) == ("its name", BLUE.name)


def test_a_secret_is_known_by_what_a_person_has_annotated() -> None:
    one = taken(
        theirs("x", "https://10.0.0.1", annotations={cluster_secret.CLUSTER: str(BLUE.name)}), change_server=True
    )
    assert (one.known_by, one.request.cluster) == ("its annotation", BLUE.name)


def test_a_server_changes_only_when_a_person_says_so() -> None:
    by_name = theirs("x", "https://10.0.0.1", "gke_demo-apps_europe-west1_blue")
    assert "--change-server" in why_left(by_name)
    assert taken(by_name, change_server=True).notes == ("server changes from https://10.0.0.1",)
    assert taken(theirs(server=URL)).notes == ()


@pytest.mark.parametrize(
    ("unmanaged", "wording"),
    [
        (theirs(server="https://kubernetes.default.svc"), "no cluster or membership"),
        (
            theirs(server="https://connectgateway.googleapis.com/v1/projects/77/locations/global/memberships/m"),
            "not of",
        ),
        (
            theirs(server="https://connectgateway.googleapis.com/v1/projects/other/locations/a/memberships/m"),
            "fleet of other",
        ),
        (theirs(server=f"https://connectgateway.googleapis.com/v1/projects/{NUMBER}/clusters/m"), "of no membership"),
        (theirs(server=URL.replace(MEMBER.membership, "unknown")), "lists no membership"),
        (theirs(server=URL, labels={"argocd.argoproj.io/cluster-profile-origin": "a.b"}), "ClusterProfile"),
        (theirs(server=URL, annotations={"multicluster.x-k8s.io/managed-by-cp-syncer": "true"}), "syncer"),
        (theirs(server=URL, labels={cluster_secret.MANAGED_BY_LABEL: "Helm"}), "app.kubernetes.io/managed-by=Helm"),
        (
            replace(secret(), labels={**secret().labels, cluster_secret.INSTANCE: "staging"}),
            "belongs to the instance 'staging'",
        ),
        (theirs(server=URL, annotations={cluster_secret.CLUSTER: "blue"}), ""),
        (theirs(annotations={cluster_secret.CLUSTER: "blue"}), "is invalid"),
    ],
)
def test_what_is_not_ours_is_left_with_the_reason(unmanaged: ClusterSecret, wording: str) -> None:
    if wording:
        assert wording in why_left(unmanaged)
    else:
        assert taken(unmanaged).known_by == "its server"


@pytest.mark.parametrize(
    ("cluster", "wording"),
    [
        (replace(BLUE, status="STOPPING"), State.DELETING.text),
        (replace(BLUE, status="ERROR"), State.UNKNOWN.text),
        (replace(BLUE, labels={}), State.UNSELECTED.text),
        (replace(BLUE, fleet_project="demo-other"), State.OTHER_FLEET.text),
        (replace(BLUE, membership=MembershipName("demo-fleet", "global", "z")), "would change from"),
    ],
)
def test_a_cluster_that_is_not_alive_and_wanted_is_left(cluster: Cluster, wording: str) -> None:
    adoptions, [left] = match_secrets(seen([cluster], unmanaged=[theirs(server=URL)], settings=SELECTING), SELECTING)
    assert not adoptions
    assert wording in left.reason


def test_unlisted_cluster_is_skipped_and_unread_project_named() -> None:
    _, [left] = match_secrets(seen([], unmanaged=[theirs(server=URL)]), SETTINGS)
    assert "is not listed" in left.reason
    _, [left] = match_secrets(seen([], unmanaged=[theirs(server=URL)], listed=frozenset({"demo-fleet"})), SETTINGS)
    assert "could not be read: 403" in left.reason


def test_the_central_cluster_is_left() -> None:
    central = Membership(SETTINGS.central_membership, "u", "READY", cluster=CENTRAL)
    inventory = seen(
        [Cluster(CENTRAL, "c", "RUNNING")],
        [central],
        unmanaged=[theirs(server=central.name.gateway_url(NUMBER, gke=True))],
    )
    _, [left] = match_secrets(inventory, SETTINGS)
    assert "central cluster" in left.reason


def test_a_lost_agent_is_waited_for() -> None:
    lost = replace(EDGE, last_connection=NOW - timedelta(hours=1))
    _, [left] = match_secrets(seen(memberships=[lost], unmanaged=[theirs(server=EDGE_URL)]), SETTINGS)
    assert "agent" in left.reason


def test_of_two_secrets_for_one_cluster_neither_is_taken() -> None:
    two = [theirs("one", URL), theirs("two", f"{URL}/")]
    adoptions, left = match_secrets(seen(unmanaged=two), SETTINGS)
    assert not adoptions
    assert [one.secret.name for one in left] == ["one", "two"]
    assert all("has 2 Secrets (one, two)" in one.reason for one in left)


def test_where_ours_is_already_there_theirs_is_left() -> None:
    adoptions, [left] = match_secrets(seen(secrets=[secret()], unmanaged=[theirs(server=URL)]), SETTINGS)
    assert not adoptions
    assert "by-hand, demo-apps.europe-west1.blue" in left.reason


def test_taking_over_adds_our_mark_and_the_names_and_changes_nothing_else() -> None:
    before = theirs(server=URL, labels={"team": "a", "env": "prod"}, annotations={"note": "x"}, shard="3", project="p")
    after = patched(before, taken(before).patch)
    assert after.is_managed
    assert (after.cluster, after.membership) == (BLUE.name, MEMBER)
    assert after.data == before.data
    assert (after.name, after.uid) == (before.name, before.uid)
    assert before.labels.items() <= after.labels.items()
    assert before.annotations.items() <= after.annotations.items()


def test_an_adopted_secret_belongs_to_the_instance_that_adopts_it() -> None:
    staging = settings(INSTANCE="staging")
    adoptions, _ = match_secrets(seen(unmanaged=[theirs(server=URL)], settings=staging), staging)
    adopted = patched(adoptions[0].secret, adoptions[0].patch)
    assert adopted.is_of_instance(staging)
    assert not adopted.is_of_instance(SETTINGS)


def test_until_the_access_is_proven_the_chain_writes_nothing_to_it() -> None:
    after = patched(theirs(server=URL), taken(theirs(server=URL)).patch)
    plan = secret_plan.plan(after, target_of(BLUE, BLUE_MEMBER), SETTINGS, granted=False, drop=frozenset(), now=NOW)
    assert plan.patch is None
    assert plan.needs_grant


def test_chain_completes_an_adopted_secret_and_keeps_its_data() -> None:
    before = theirs("old", URL, "prod-blue", labels={"env": "prod", "team": "a", "colour": "mine"}, shard="3")
    blue = replace(BLUE, labels={"env": "prod", "colour": "theirs", "tier": "web"})
    after = patched(before, taken(before).patch)
    plan = secret_plan.plan(after, target_of(blue, BLUE_MEMBER), SETTINGS, granted=True, drop=frozenset(), now=NOW)
    assert plan.patch is not None
    complete = patched(after, plan.patch)
    assert (complete.name, complete.data["name"], complete.data["shard"]) == ("old", "prod-blue", "3")
    assert complete.data["config"] == secret_plan.CONFIG
    assert {"env": "prod", "team": "a", "colour": "mine", "tier": "web"}.items() <= complete.labels.items()
    assert complete.written_keys == {"env", "tier"}
    again = secret_plan.plan(complete, target_of(blue, BLUE_MEMBER), SETTINGS, granted=False, drop=frozenset(), now=NOW)
    assert (again.patch, again.needs_grant) == (None, False)


def test_a_server_that_changes_takes_our_configuration_along_byte_for_byte() -> None:
    same = secret_plan.CONFIG.replace('"insecure":false', '"insecure":false,"caData":""')
    before = theirs(
        f"{MEMBER.membership}.europe-west1.{NUMBER}", URL.replace("gkeMemberships", "memberships"), config=same
    )
    after = patched(before, taken(before, change_server=True).patch)
    plan = secret_plan.plan(after, target_of(BLUE, BLUE_MEMBER), SETTINGS, granted=True, drop=frozenset(), now=NOW)
    assert plan.patch is not None
    complete = patched(after, plan.patch)
    assert (complete.data["server"], complete.data["config"]) == (URL, secret_plan.CONFIG)


def test_a_configuration_that_changes_takes_our_server_along_byte_for_byte() -> None:
    before = theirs(server=f"{URL}/")
    after = patched(before, taken(before).patch)
    plan = secret_plan.plan(after, target_of(BLUE, BLUE_MEMBER), SETTINGS, granted=True, drop=frozenset(), now=NOW)
    assert plan.patch is not None
    complete = patched(after, plan.patch)
    assert (complete.data["server"], complete.data["config"]) == (URL, secret_plan.CONFIG)


def test_a_secret_without_a_name_gets_ours() -> None:
    one = theirs(server=URL, namespaces="a,b")
    nameless = replace(one, data={**one.data, "name": ""})
    after = patched(nameless, taken(nameless).patch)
    assert after.data == {**nameless.data, "name": "demo-apps.europe-west1.blue"}


def test_adoption_removes_the_fleet_plugins_annotation() -> None:
    plugins = theirs(f"{MEMBER.membership}.europe-west1.{NUMBER}", URL, annotations={PLUGIN: "true"})
    one = taken(plugins)
    assert "stop fleet-argocd-plugin" in one.notes[0]
    assert PLUGIN not in patched(plugins, one.patch).annotations


def test_the_cluster_of_a_skipped_secret_is_known() -> None:
    found = known(seen(secrets=[secret()], unmanaged=[theirs("a", URL), theirs("b", EDGE_URL), theirs("c")]), SETTINGS)
    assert {name: [one.name for one in secrets] for name, secrets in found.items()} == {
        BLUE.name: ["a"],
        EDGE.name: ["b"],
    }


GLOBAL = Membership(MembershipName("demo-fleet", "global", "blue"), "uid-g", "READY", cluster=BLUE.name)
REGIONAL = Membership(MembershipName("demo-fleet", "europe-west1", "blue"), "uid-r", "READY", cluster=BLUE.name)
HOST = "https://connectgateway.googleapis.com"
BESIDE = f"{HOST}/v1/projects/{NUMBER}/locations/global/gkeMemberships/blue"
FIRST = f"{HOST}/v1beta1/projects/{NUMBER}/memberships/blue"
SAYS = {cluster_secret.CLUSTER: str(BLUE.name)}


@pytest.mark.parametrize(
    ("written", "memberships", "known_by", "changes"),
    [
        (theirs("blue", BESIDE), [GLOBAL], "its server", False),
        (theirs("cluster-connectgateway.googleapis.com-123", BESIDE), [GLOBAL], "its server", False),
        (theirs(f"blue.global.{NUMBER}", BESIDE, annotations={PLUGIN: "true"}), [GLOBAL], "its server", False),
        (theirs("blue", BESIDE.replace("v1", "v1beta1")), [GLOBAL], "its server", True),
        (theirs("x", BESIDE.replace("gkeM", "m")), [GLOBAL], "its server", True),
        (theirs("x", BESIDE.replace(NUMBER, "demo-fleet")), [GLOBAL], "its server", True),
        (theirs("x", f"{BESIDE}?__uid=shop"), [GLOBAL], "its server", True),
        (theirs("x", BESIDE.replace("connectgateway", "ConnectGateway")), [GLOBAL], "its server", True),
        (theirs("x", BESIDE.replace(".com", ".com:443")), [GLOBAL], "its server", True),
        (theirs("x", FIRST), [GLOBAL], "its server", True),
        (theirs("connectgateway_demo-fleet_blue", FIRST), [GLOBAL], "its server", True),
        (theirs("x", FIRST, annotations=SAYS), [GLOBAL], "its annotation", True),
        (theirs("c", "https://34.90.1.2", "gke_demo-apps_europe-west1_blue"), [GLOBAL], "its name", True),
        (theirs("blue", BESIDE, annotations=SAYS), [GLOBAL, REGIONAL], "its annotation", True),
        (theirs("blue", BESIDE), [GLOBAL, REGIONAL], "its server", True),
        (theirs("blue", BESIDE, annotations=SAYS), [REGIONAL], "its annotation", True),
    ],
)
def test_secret_of_every_form_is_taken_over(
    written: ClusterSecret, memberships: list[Membership], known_by: str, changes: bool
) -> None:
    """The cluster names the last of the memberships. A changed server needs `--change-server`."""
    blue = replace(BLUE, membership=memberships[-1].name)
    survey = seen([blue], memberships, unmanaged=[written])
    [one], [] = match_secrets(survey, SETTINGS, change_server=True)
    assert (one.known_by, one.request.cluster, one.request.membership) == (known_by, BLUE.name, memberships[-1].name)
    adopted, left = match_secrets(survey, SETTINGS)
    assert (len(adopted), len(left)) == ((0, 1) if changes else (1, 0))


@pytest.mark.parametrize(
    ("written", "memberships"),
    [
        (theirs("cluster-local", "https://kubernetes.default.svc", "in-cluster"), [GLOBAL]),
        (theirs("blue", "https://34.90.1.2"), [GLOBAL]),
        (theirs("blue", BESIDE), [REGIONAL]),  # its membership is gone: only a person can say which cluster it is
    ],
)
def test_unknown_secret_is_left_with_the_command(written: ClusterSecret, memberships: list[Membership]) -> None:
    blue = replace(BLUE, membership=memberships[-1].name)
    adoptions, [left] = match_secrets(seen([blue], memberships, unmanaged=[written]), SETTINGS, change_server=True)
    assert not adoptions
    assert f"annotate --overwrite secret {written.name} {cluster_secret.CLUSTER}=" in left.command


def test_a_secret_that_another_object_owns_is_left() -> None:
    """External Secrets, Sealed Secrets and other operators would overwrite it, and Kubernetes deletes it with its owner."""
    owned = replace(theirs(server=URL), controller="ExternalSecret clusters")
    assert "ExternalSecret clusters" in why_left(owned)


def test_an_immutable_secret_is_left() -> None:
    assert "immutable" in why_left(replace(theirs(server=URL), is_immutable=True))
