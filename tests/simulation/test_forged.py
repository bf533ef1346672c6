"""Forged and stale messages: a thousand random ones to every topic, and no object changes."""

from __future__ import annotations

import json
from random import Random

from shared.values.names import ClusterName, MembershipName
from tests.simulation.kubernetes import Object, copied
from tests.simulation.one_thread import one_thread_no_logs
from tests.simulation.ports import CENTRAL
from tests.simulation.seeds import draw_seed
from tests.simulation.world import STEPS, World

MESSAGES = 1000
BLUE = ClusterName("demo-apps", "europe-west1", "blue")
GREEN = ClusterName("demo-apps", "europe-west1-b", "green")
UNWANTED = ClusterName("demo-fleet", "europe-west1", "grey")
STRAY = ClusterName("demo-fleet", "europe-west1", "stray")
OTHERS = ClusterName("demo-other", "europe-west1", "blue")
EARLIER = ClusterName("demo-apps", "europe-west1", "earlier")
EDGE = MembershipName("demo-fleet", "global", "edge")
THEIRS = MembershipName("demo-fleet", "europe-west1", "theirs")


def settled() -> World:
    """A fleet in which everything is as it should be, of every sort of cluster."""
    world = World()
    world.select("env")
    for name in (BLUE, GREEN, OTHERS, EARLIER, STRAY):
        world.create(name, {"env": "prod", "tier": "web"})
    world.create(UNWANTED, {"tier": "web"})
    world.change(STRAY, fleet_project="999")
    world.join(OTHERS, THEIRS)
    world.attach(EDGE, {"env": "prod"})
    world.sweep()
    world.delete(EARLIER)  # re-created under its name: everything that speaks of the first one is stale
    world.create(EARLIER, {"env": "prod"})
    for _ in range(2):
        world.sweep()
    unmanaged = {"metadata": {"name": "by-hand", "labels": {"argocd.argoproj.io/secret-type": "cluster"}}, "data": {}}
    world.central.put("api/v1/namespaces/argocd/secrets", unmanaged)
    assert len(world.secrets()) == 5
    return world


def current(world: World) -> Object:
    """Every object there is, with its version."""
    inside = {
        id_: {" ".join(key): copied(stored) for key, stored in cluster.objects.items()}
        for id_, cluster in world.kubernetes.items()
    }
    return {"inside": inside, "memberships": dict(world.memberships)}


def forged(random: Random, topic: str, names: list[str], members: list[str]) -> Object:
    body: Object = {}
    if random.random() < 0.8:
        body["cluster"] = random.choice(names)
    if random.random() < 0.6 or not body:
        body["membership"] = random.choice(members)
    if topic == "write-secret":
        grants = ("cluster-admin argocd@demo-fleet.iam.gserviceaccount.com", "view x@example.com", "")
        body["granted"] = random.choice(grants)
        body["drop_labels"] = random.sample(["env", "tier", "person-team", "fleet-registrar/project"], 2)
    if topic == "remove-secret":
        body["leave"] = random.choice(("hold", "remove"))
    return body


def test_no_forged_or_stale_message_changes_anything() -> None:
    seed = draw_seed()
    random = Random(seed)
    with one_thread_no_logs():
        world = settled()
        names = [str(name) for name in (BLUE, GREEN, UNWANTED, STRAY, OTHERS, EARLIER, CENTRAL)]
        names += [
            "projects/demo-apps/locations/europe-west1/clusters/never",
            "projects/x/locations/y/clusters/z",
            "blue",
        ]
        members = [str(name) for name in world.memberships]
        members += [str(BLUE.membership("demo-other")), str(STRAY.membership("demo-fleet")), "edge"]
        before = current(world)
        for topic in STEPS:
            for _ in range(MESSAGES):
                attributes = random.choice(({}, {}, {"requested-by": "sweep"}, {"reversed": "true"}))
                world.publish(topic, forged(random, topic, names, members), attributes)
                for _ in range(12):  # what is raised comes again; once is enough here
                    if not world.queue:
                        break
                    world.deliver(world.queue.pop(0))
                world.queue.clear()
            assert current(world) == before, f"seed {seed}: a message to {topic} or what followed from it"
        for _ in range(MESSAGES):
            scope = random.choice(
                (
                    {"release": f"{random.getrandbits(64):016x}"},
                    {"cluster": random.choice(names)},
                    {"project": "x"},
                    {"leave": "remove"},
                )
            )
            world.enqueue("sweep", json.dumps(scope).encode(), {})
            while world.queue:
                world.deliver(world.queue.pop(0))
    assert current(world) == before, f"seed {seed}: a sweep"
