"""Clusters, memberships and Secrets that other people or tools made, on the simulated world."""

from __future__ import annotations

import base64

import pytest

from functions import sweep
from shared.decisions.sweep_plan import Plan
from shared.values.cluster_secret import CLUSTER, TYPE
from shared.values.codes import FindingCode
from shared.values.messages import Scope
from shared.values.names import ClusterName, MembershipName
from tests.simulation.world import World, WorldServices

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
