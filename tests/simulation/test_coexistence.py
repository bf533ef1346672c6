"""Clusters, memberships and Secrets that other people or tools made, on the simulated world."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from functions import sweep
from shared.decisions.recognition import PROFILE_SYNCER
from shared.values.cluster_secret import CLUSTER, MANAGED_BY_LABEL, TYPE
from shared.values.codes import FindingCode
from shared.values.messages import Scope
from shared.values.names import ClusterName, MembershipName
from tests.simulation.given import SECRET, onboarded
from tests.simulation.ports import WorldServices
from tests.simulation.test_ops import adopted
from tests.simulation.world import World

if TYPE_CHECKING:
    from shared.decisions.sweep_plan import Plan

BLUE = ClusterName("demo-apps", "europe-west1", "blue")
EDGE = MembershipName("demo-fleet", "global", "edge")
SECRETS = "api/v1/namespaces/argocd/secrets"
ADDRESS = "34.90.1.2"


def planned(world: World) -> Plan:
    return sweep.planned(Scope(), WorldServices(world))


def written_by_hand(world: World, server: str, name: str, **annotations: str) -> str:
    """A Secret as `argocd cluster add` and scripts write one; return its name."""
    data = {"name": name, "server": server, "config": "{}"}
    manifest = {
        "metadata": {"name": "by-hand", "labels": {TYPE: "cluster"}, "annotations": annotations},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }
    return str(world.central.put(SECRETS, manifest)["metadata"]["name"])


@pytest.mark.parametrize(
    ("server", "name"),
    [
        (f"https://{ADDRESS}", "gke_demo-apps_europe-west1_blue"),
        (f"https://{ADDRESS}", "blue"),
        ("https://10.1.1.1", "gke_demo-apps_europe-west1_blue"),
    ],
)
def test_secret_of_argocd_cluster_add_and_a_sweep_are_one_entry(server: str, name: str) -> None:
    world = World()
    world.create(BLUE, {"env": "prod"})
    world.change(BLUE, addresses=frozenset({ADDRESS}))
    written_by_hand(world, server, name)
    world.sweep()
    world.sweep()
    assert set(world.secrets()) == {"by-hand"}
    plan = planned(world)
    assert [(finding.code, finding.subject) for finding in plan.findings] == [(FindingCode.CLASHING_SECRET, str(BLUE))]
    assert "by-hand" in plan.findings[0].text
    assert not [ask for ask in plan.requests if ask.subject == str(BLUE)]


def test_event_of_a_cluster_with_another_entry_is_dead_lettered() -> None:
    world = World()
    world.create(BLUE, {"env": "prod"})
    world.change(BLUE, addresses=frozenset({ADDRESS}))
    written_by_hand(world, f"https://{ADDRESS}", "blue")
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    assert set(world.secrets()) == {"by-hand"}
    [letter] = world.dead
    assert letter.attributes["code"] == "unmanaged_secret"
    assert "by-hand" in letter.attributes["reason"]


def test_entry_of_an_attached_cluster_gets_no_second_secret() -> None:
    world = World()
    world.attach(EDGE)
    number = world.settings.fleet_project_number
    written_by_hand(world, f"https://connectgateway.googleapis.com/v1beta1/projects/{number}/memberships/edge", "old")
    world.sweep()
    assert set(world.secrets()) == {"by-hand"}
    assert [finding.subject for finding in planned(world).findings] == [str(EDGE)]


def test_annotation_for_another_cluster_lets_the_chain_write_its_own_secret() -> None:
    world = World()
    world.create(BLUE, {"env": "prod"})
    world.change(BLUE, addresses=frozenset({"172.16.0.2"}))
    written_by_hand(
        world, "https://172.16.0.2", "green", **{CLUSTER: "projects/team/locations/us-east1/clusters/green"}
    )
    world.sweep()
    assert set(world.secrets()) == {"by-hand", "demo-apps.europe-west1.blue"}


def test_second_entry_beside_ours_is_reported() -> None:
    world = World()
    world.create(BLUE, {"env": "prod"})
    world.change(BLUE, addresses=frozenset({ADDRESS}))
    world.sweep()
    written_by_hand(world, f"https://{ADDRESS}", "blue")
    [finding] = planned(world).findings
    assert (finding.code, finding.subject) == (FindingCode.CLASHING_SECRET, "by-hand")
    assert "demo-apps.europe-west1.blue" in finding.text


THEIRS = MembershipName("demo-fleet", "global", "theirs")


def waiting() -> World:
    world = World()
    world.settings = replace(world.settings, registration="wait")
    return world


def member_names(world: World) -> set[MembershipName]:
    return {name for name, one in world.memberships.items() if one.cluster == BLUE}


def test_cluster_without_a_membership_waits_and_is_no_error() -> None:
    world = waiting()
    world.create(BLUE, {"env": "prod"})
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    world.sweep()
    assert not member_names(world)
    assert not world.dead
    assert not world.secrets()
    plan = planned(world)
    assert [finding.code for finding in plan.findings] == [FindingCode.WAITING_FOR_MEMBERSHIP]
    assert not plan.requests


@pytest.mark.parametrize("names_it_back", [True, False])
def test_membership_of_others_continues_the_chain(names_it_back: bool) -> None:
    world = waiting()
    world.create(BLUE, {"env": "prod"})
    world.join(BLUE, THEIRS)
    if not names_it_back:  # GKE tells a little later by which membership a cluster is registered
        world.change(BLUE, membership=None, fleet_project="")
    world.publish("register-membership", {"membership": str(THEIRS)})
    world.settle()
    assert set(world.secrets()) == {"demo-apps.europe-west1.blue"}
    assert not planned(world).findings


@pytest.mark.parametrize("registration", ["create", "wait"])
def test_membership_of_others_survives_its_cluster(registration: str) -> None:
    world = World()
    world.settings = replace(world.settings, registration=registration)  # type: ignore[arg-type]
    world.create(BLUE, {"env": "prod"})
    world.join(BLUE, THEIRS)
    world.sweep()
    assert set(world.secrets()) == {"demo-apps.europe-west1.blue"}
    world.delete(BLUE)
    world.sweep()
    assert not world.secrets()
    assert member_names(world) == {THEIRS}


def test_wait_never_deletes_a_membership_that_we_made_before() -> None:
    world = World()
    world.create(BLUE, {"env": "prod"})
    world.sweep()
    [made] = member_names(world)
    world.settings = replace(world.settings, registration="wait")
    world.delete(BLUE)
    world.sweep()
    world.sweep()
    assert not world.secrets()
    assert member_names(world) == {made}


def test_membership_that_the_cluster_does_not_name_yet_is_found_and_used() -> None:
    world = World(refuses_by_link=True)
    world.create(BLUE, {"env": "prod"})
    world.join(BLUE, THEIRS)
    world.change(BLUE, membership=None, fleet_project="")
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    assert member_names(world) == {THEIRS}
    assert set(world.secrets()) == {"demo-apps.europe-west1.blue"}
    assert not world.dead
    plan = planned(world)
    assert not [ask for ask in plan.requests if ask.kind == "repair"]


def test_stale_membership_of_a_namesake_is_named() -> None:
    world = World(refuses_by_link=True)
    world.create(BLUE, {"env": "prod"})
    stale = replace(world.join(BLUE, THEIRS), created=world.now)
    world.memberships[THEIRS] = stale
    world.delete(BLUE)
    world.create(BLUE, {"env": "prod"})
    world.change(BLUE, created=world.now + timedelta(hours=1))
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    [letter] = world.dead
    assert letter.attributes["code"] == "unmanaged_membership"
    assert str(THEIRS) in letter.attributes["reason"]
    assert world.memberships == {**world.memberships, THEIRS: stale}
    assert not world.secrets()
    [ask] = [ask for ask in planned(world).requests if ask.subject == str(BLUE)]
    assert str(THEIRS) in ask.reason
    del world.memberships[THEIRS]
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    assert set(world.secrets()) == {"demo-apps.europe-west1.blue"}


def external(world: World) -> World:
    world.settings = replace(world.settings, secrets="external")
    return world


def test_external_secrets_are_left_to_their_writer() -> None:
    world = external(World())
    world.create(BLUE, {"env": "prod"})
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    assert not world.secrets()
    assert not world.dead
    assert world.heard == ["onboarded"]
    assert any(name.startswith("fleet-registrar:") for _, name in world.inside(BLUE).objects)
    [member] = member_names(world)
    written_by_hand(world, member.gateway_url(world.settings.fleet_project_number, gke=True), "profile")
    plan = planned(world)
    assert not plan.findings
    assert not [ask for ask in plan.requests if ask.kind != "check"]


def test_external_leaves_secrets_that_we_wrote_before_managed() -> None:
    world = World()
    world.create(BLUE, {"env": "prod"})
    world.sweep()
    external(world)
    world.change(BLUE, labels={"env": "dev"})
    world.publish("write-secret", {"cluster": str(BLUE)})
    world.settle()
    assert world.secrets()["demo-apps.europe-west1.blue"]["metadata"]["labels"]["env"] == "dev"
    world.delete(BLUE)
    world.sweep()
    assert not world.secrets()


def synced_profile(world: World) -> None:
    """The Secret that Google's syncer writes from the cluster's ClusterProfile."""
    world.create(BLUE, {"env": "prod"})
    [member] = [world.join(BLUE, BLUE.membership("demo-fleet"))]
    server = member.name.gateway_url(world.settings.fleet_project_number, gke=True)
    written_by_hand(world, server, "blue", **{PROFILE_SYNCER: "true"})


def test_secret_of_a_cluster_profile_is_reported_with_three_ways_out() -> None:
    world = World()
    synced_profile(world)
    world.sweep()
    assert set(world.secrets()) == {"by-hand"}
    [finding] = planned(world).findings
    assert finding.code is FindingCode.CLASHING_SECRET
    assert all(way in finding.text for way in ("Stop argocd-clusterprofile-syncer", "adopt", "SECRETS=external"))


def test_stopping_the_syncer_leaves_the_cluster_to_us() -> None:
    world = World()
    synced_profile(world)
    del world.central.objects[SECRETS, "by-hand"]
    world.sweep()
    assert set(world.secrets()) == {"demo-apps.europe-west1.blue"}


def test_adopted_secret_of_a_stopped_syncer_is_ours() -> None:
    world = World()
    synced_profile(world)
    adopted(world)  # the syncer's annotation says that it still writes the Secret
    assert MANAGED_BY_LABEL not in world.secrets()["by-hand"]["metadata"]["labels"]
    del world.central.objects[SECRETS, "by-hand"]["metadata"]["annotations"][PROFILE_SYNCER]
    adopted(world)
    assert set(world.secrets()) == {"by-hand"}
    assert MANAGED_BY_LABEL in world.secrets()["by-hand"]["metadata"]["labels"]
    assert not planned(world).findings


def test_external_leaves_the_clusters_to_the_syncer() -> None:
    world = external(World())
    synced_profile(world)
    world.sweep()
    assert set(world.secrets()) == {"by-hand"}
    assert not planned(world).findings


@pytest.mark.parametrize("owner", [None, "", "Helm"])
def test_a_secret_that_lost_our_mark_alone_is_reported_and_gets_no_rival(owner: str | None) -> None:
    """A person takes a Secret out of our hands: it keeps every other label of ours."""
    world = onboarded()
    labels = world.central.objects[SECRETS, SECRET]["metadata"]["labels"]
    labels[MANAGED_BY_LABEL] = owner
    world.central.objects[SECRETS, SECRET]["metadata"]["labels"] = {k: v for k, v in labels.items() if v is not None}
    before = json.dumps(world.secrets(), sort_keys=True)
    world.published.clear()
    world.sweep()
    assert json.dumps(world.secrets(), sort_keys=True) == before
    assert [topic for topic, _, _ in world.published if topic != "sweep"] == []
    assert [(one.code, one.subject) for one in planned(world).findings] == [(FindingCode.CLASHING_SECRET, str(BLUE))]
