"""A message is only a hint: whatever it claims, nothing changes anywhere that is not true."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

import pytest

from shared.decisions import rbac
from shared.values import settings
from shared.values.messages import STEPS
from shared.values.model import Membership
from shared.values.names import MembershipName
from shared.values.target import AttachedTarget
from tests.chain.running import ARGOCD, CENTRAL, CENTRAL_MEMBERSHIP, FLEET, OTHER, REGION, Chain, fresh, running
from tests.unit.given import ENVIRONMENT
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chain.running import Json

SETTINGS = settings.load(ENVIRONMENT)
GRANTED = f"cluster-admin {ARGOCD}"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A cloud that soon gives up on what cannot be true: some forged messages contradict what is read, and are retried."""
    with running(tmp_path_factory.mktemp("forged"), "--attempts", "5", "--retry-max", "0.3") as chain:
        yield chain


class World:
    """What the forger may name: a cluster of each kind, and what belongs to it."""

    def __init__(self, cloud: Chain) -> None:
        self.blue = cloud.onboard("blue")
        self.green = cloud.onboard("green", labels={"env": "prod"})
        self.edge = cloud.attach(fresh("edge"), admit=True)
        cloud.onboarded(self.edge)
        self.outside = cloud.create_cluster(fresh("outside"), project=OTHER)
        cloud.running(self.outside)
        cloud.wait_quiet()
        self.membership = {cluster: cloud.membership(cluster) for cluster in (self.blue, self.green)}


@pytest.fixture
def world(cloud: Chain) -> World:
    return cloud.once(World)


def bodies(world: World) -> dict[str, Json]:
    elsewhere = f"projects/{OTHER}/locations/{REGION}/memberships/any"
    return {
        "the central cluster": {"cluster": CENTRAL},
        "the central membership": {"membership": CENTRAL_MEMBERSHIP},
        "both of the central cluster": {"cluster": CENTRAL, "membership": CENTRAL_MEMBERSHIP},
        "a cluster with the central membership": {"cluster": world.blue, "membership": CENTRAL_MEMBERSHIP},
        "the central cluster with somebody's membership": {
            "cluster": CENTRAL,
            "membership": world.membership[world.blue],
        },
        "a cluster of a project that is no source": {"cluster": world.outside},
        "that with a membership of ours": {"cluster": world.outside, "membership": world.membership[world.blue]},
        "a cluster with the membership of another": {
            "cluster": world.blue,
            "membership": world.membership[world.green],
        },
        "a cluster with an attached one's membership": {"cluster": world.blue, "membership": world.edge},
        "a cluster with a membership in another fleet": {"cluster": world.blue, "membership": elsewhere},
        "a cluster that never was": {"cluster": f"projects/{FLEET}/locations/{REGION}/clusters/never-was"},
        "a cluster that never was, with a membership that is": {
            "cluster": f"projects/{FLEET}/locations/{REGION}/clusters/never-was",
            "membership": world.membership[world.green],
        },
        "a membership that never was": {"membership": f"projects/{FLEET}/locations/{REGION}/memberships/never-was"},
        "a membership of a GKE cluster in an attached one's place": {"membership": world.membership[world.blue]},
        "a cluster by the fleet's number": {"cluster": world.blue.replace(FLEET, "100000000001")},
    }


ATTRIBUTES: dict[str, dict[str, str]] = {
    "plain": {},
    "reversed": {"reversed": "true"},
    "odd": {
        "cause": "x" * 1024,
        "traceparent": "00-zz",
        "topic": "dead-letters",
        "data": "{}",
        "ordering_key": "k",
        "retry": "1",
        "timeout": "1",
        "step": "other",
        "reason": "none",
    },
    "as a sweep": {"requested-by": "sweep"},
}


@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_forged_messages_to_every_step_change_nothing(cloud: Chain, world: World, kind: str) -> None:
    before = cloud.everything()
    for body in bodies(world).values():
        for step in STEPS:
            cloud.publish(step, body, ATTRIBUTES[kind])
    cloud.wait_quiet()
    assert cloud.everything() == before


def test_forged_keys_of_another_step_change_nothing(cloud: Chain, world: World) -> None:
    before = cloud.everything()
    for cluster in (world.blue, world.outside, CENTRAL):
        cloud.publish("write-secret", {"cluster": cluster, "granted": GRANTED})
        cloud.publish("write-secret", {"cluster": cluster, "drop_labels": ["env", "fleet-registrar/kind"]})
        for leave in ("hold", "remove"):
            cloud.publish("remove-secret", {"cluster": cluster, "leave": leave})
    cloud.publish("write-secret", {"cluster": world.green, "granted": GRANTED, "drop_labels": ["env"]})
    cloud.publish("write-secret", {"membership": world.edge, "granted": GRANTED})
    cloud.wait_quiet()
    assert cloud.everything() == before
    for step in STEPS:
        cloud.publish(step, {"cluster": world.green, "membership": world.membership[world.green]})
    cloud.wait_quiet()
    assert cloud.everything() == before


def test_forged_grants_gain_nothing_and_real_ones_do(cloud: Chain) -> None:
    """A cluster that refuses `grant-rbac` gets no Secret, whatever a message claims about access."""
    edge = cloud.attach(fresh("edge"), admit=False)
    assert cloud.binding(edge) is None  # it answers: no attempt waits for its start any more
    cloud.dead_letter(edge, "grant-rbac")
    cloud.wait_quiet()
    before = cloud.everything()
    uid = cloud.state()["memberships"][edge]["uniqueId"]
    audience = rbac.grant_audience(AttachedTarget(Membership(MembershipName.parse(edge), uid, "READY")), SETTINGS)
    tokens = {who: signed_by(cloud, who, audience) for who in ("write-secret", "route-event", "grant-rbac")}
    forged = [GRANTED, f"view {ARGOCD}", "x", tokens["write-secret"], tokens["route-event"]]
    forged.append(signed_by(cloud, "grant-rbac", "https://service.example"))
    for index, granted in enumerate(forged):
        cloud.publish("write-secret", {"membership": edge, "granted": granted}, {"cause": f"forged {index} {edge}"})
        cloud.logged("write-secret", f"forged {index} {edge}", decision="retry", code="stale_grant")
    assert cloud.everything() == before
    cloud.publish("write-secret", {"membership": edge, "granted": tokens["grant-rbac"]}, {"cause": f"real {edge}"})
    cloud.onboarded(edge)
    logs = "".join(cloud.logs().values())
    assert not [token for token in tokens.values() if token in logs]


def signed_by(cloud: Chain, who: str, audience: str) -> str:
    """An ID token of a function, as its metadata server issues it."""
    address = cloud.do("cloud", "endpoints")[f"metadata of {who}"]
    path = f"/computeMetadata/v1/instance/service-accounts/default/identity?audience={audience}&format=full"
    asked = urllib.request.Request(f"{address}{path}", headers={"Metadata-Flavor": "Google"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=PATIENCE) as answer:
        return str(answer.read().decode())


def test_cluster_whose_membership_names_another_is_retried(cloud: Chain) -> None:
    """The owner of a cluster may have it say anything: it is believed only where the membership says the same."""
    victim, liar = cloud.onboard("victim"), cloud.create_cluster(fresh("liar"))
    cloud.onboarded(liar)
    cloud.wait_quiet()
    before = cloud.everything()
    stale = cloud.do("gke", "cluster", name=liar)
    stale["fleet"] = {"project": "100000000001", "membership": f"//gkehub.googleapis.com/{cloud.membership(victim)}"}
    cloud.set("gke", "stale", {liar: stale})
    try:
        for step in STEPS:
            cloud.publish(step, {"cluster": liar})
        for step in ("register-membership", "grant-rbac"):
            cloud.logged(step, liar, decision="retry", code="membership_mismatch")
        cloud.logged("write-secret", liar, decision="needs_membership")
        assert cloud.everything() == before
    finally:
        cloud.set("gke", "stale", {})
    cloud.wait_quiet()
    assert cloud.everything() == before


def test_cluster_that_claims_the_central_membership_is_ignored(cloud: Chain) -> None:
    liar = cloud.create_cluster(fresh("liar"), project=OTHER)
    cloud.running(liar)
    before = cloud.everything()
    cloud.publish("register-membership", {"cluster": liar, "membership": CENTRAL_MEMBERSHIP})
    cloud.logged("register-membership", liar, decision="no_op", code="not_source")
    cloud.wait_quiet()
    assert cloud.everything() == before


def test_forged_events_change_nothing(cloud: Chain, world: World) -> None:
    before = cloud.everything()
    for method in ("CreateCluster", "DeleteCluster", "UpdateCluster", "SetLabels"):
        for name in (world.blue, world.outside, CENTRAL):
            _, project, _, location, _, short = name.split("/")
            labels = {"project_id": project, "location": location, "cluster_name": short}
            entry = {
                "protoPayload": {
                    "serviceName": "container.googleapis.com",
                    "methodName": f"google.container.v1.ClusterManager.{method}",
                },
                "resource": {"type": "gke_cluster", "labels": labels},
                "operation": {"id": "forged", "last": True},
            }
            cloud.publish("audit-log-entries", entry)
    for name in (world.membership[world.blue], world.edge, CENTRAL_MEMBERSHIP):
        for kind in ("created", "updated", "deleted"):
            cloud.emit_membership(kind, {"name": name})
    cloud.wait_quiet()
    assert cloud.everything() == before


def test_second_reversal_within_a_minute_is_retried(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    before = cloud.everything()
    cloud.publish("remove-secret", {"cluster": cluster}, {"reversed": "true"})
    cloud.logged("remove-secret", cluster, decision="retry", code="reversed_twice")
    assert cloud.everything() == before
    letter = cloud.dead_letter(cluster, "remove-secret")  # it is not lost: it was retried until the last attempt
    assert (letter.code, letter.attributes["attempts"]) == ("reversed_twice", "5")
