"""Two registrars with one Argo CD: instances whose clusters overlap. Neither changes or counts what the other owns."""

from __future__ import annotations

import secrets
from datetime import timedelta
from random import Random

import pytest

from functions import sweep
from shared.values import settings
from shared.values.cluster_secret import INSTANCE
from shared.values.messages import Scope
from shared.values.names import ClusterName, MembershipName
from tests.simulation.kubernetes import Object, copied
from tests.simulation.one_thread import one_thread_no_logs
from tests.simulation.ports import WorldServices
from tests.simulation.world import STEPS, World
from tests.unit.given import ENVIRONMENT

NAMES = [ClusterName(project, "europe-west1", name) for project in ("demo-apps", "demo-fleet") for name in ("a", "b")]
EDGE = MembershipName("demo-fleet", "global", "edge")
LABELS: tuple[dict[str, str], ...] = ({"env": "prod"}, {"env": "dev"}, {"env": "prod", "tier": "web"}, {})
SELECTORS = ("", "env=prod", "env=dev", "tier", "env")
RUNS = 60
TURNS = 12


def pair() -> tuple[World, World]:
    """The worlds of two registrars: one Google Cloud and one central cluster, settings and topics of their own."""
    first = World()
    environment = {
        **ENVIRONMENT,
        "INSTANCE": "second",
        "ARGOCD_SERVICE_ACCOUNT": "argocd-second@demo-fleet.iam.gserviceaccount.com",
    }
    second = World(settings=settings.load(environment))
    second.clusters, second.memberships, second.kubernetes = first.clusters, first.memberships, first.kubernetes
    second.ids = first.ids
    return first, second


def owned(world: World, instance: str) -> Object:
    """The Secrets of an instance, and the bindings of its identity, with their versions."""
    mine = {
        name: copied(stored)
        for name, stored in world.secrets().items()
        if stored["metadata"]["labels"].get(INSTANCE, "default") == instance
    }
    identity = "argocd-second@" if instance == "second" else "argocd@"
    inside = {
        (id_, name): copied(stored)
        for id_, cluster in world.kubernetes.items()
        for (_, name), stored in cluster.objects.items()
        if identity in name
    }
    return {"secrets": mine, "inside": inside}


def acts(world: World, random: Random) -> None:
    """A message of any kind for this registrar, and what follows from it."""
    body: Object
    if random.random() < 0.4:
        world.publish("sweep", {})
    elif random.random() < 0.2:
        world.publish(
            random.choice(("register-membership", "write-secret", "remove-secret")), {"membership": str(EDGE)}
        )
    else:
        body = {"cluster": str(random.choice(NAMES))}
        topic = random.choice(sorted(STEPS))
        if topic == "remove-secret" and random.random() < 0.5:
            body["leave"] = random.choice(("hold", "remove"))
        world.publish(topic, body)
    for _ in range(300):  # what is raised comes again
        if not world.queue:
            return
        world.now += timedelta(seconds=1)
        world.deliver(world.queue.pop(0))
    world.queue.clear()


def happens(world: World, random: Random) -> None:
    name = random.choice(NAMES)
    match random.randrange(6):
        case 0 | 1 if name not in world.clusters:
            world.create(name, random.choice(LABELS))
        case 2 if name in world.clusters:
            world.change(name, labels=random.choice(LABELS))
        case 3 if name in world.clusters:
            world.delete(name)
        case 4 if EDGE not in world.memberships:
            world.attach(EDGE, random.choice(LABELS))
        case 5:
            world.memberships.pop(EDGE, None)


def test_neither_registrar_changes_what_the_other_owns() -> None:
    first_seed = secrets.randbits(40)
    with one_thread_no_logs():
        for seed in range(first_seed, first_seed + RUNS):
            random = Random(seed)
            worlds = pair()
            for _ in range(TURNS):
                happens(worlds[0], random)
                mine, other = random.sample(worlds, 2)
                mine.now = other.now = max(mine.now, other.now) + timedelta(minutes=random.choice((0, 1, 15)))
                mine.select(random.choice(SELECTORS))
                before = owned(mine, other.settings.instance)
                acts(mine, random)
                after = owned(mine, other.settings.instance)
                assert after == before, f"seed {seed}: {mine.settings.instance} changed what is not its own"


def test_the_other_registrars_secrets_do_not_raise_the_limit() -> None:
    first, second = pair()
    first.select("env=prod")
    second.select("env=dev")
    for index in range(20):
        first.create(ClusterName("demo-apps", "europe-west1", f"c{index:03}"), {"env": "dev" if index else "prod"})
    second.sweep()
    first.sweep()
    assert len(first.secrets()) == 20
    alone = sweep.planned(Scope(), WorldServices(first))
    first.select("env=never")
    plan = sweep.planned(Scope(), WorldServices(first))
    counted = {request.subject for request in (*plan.requests, *plan.blocked) if request.kind != "check"}
    assert counted <= {str(ClusterName("demo-apps", "europe-west1", "c000"))}
    assert not [request for request in alone.requests if request.kind in ("hold", "drop", "remove")]


@pytest.mark.parametrize("deleted", [False, True])
def test_each_registrar_removes_only_its_own_secret(deleted: bool) -> None:
    first, second = pair()
    mine, theirs = NAMES[0], NAMES[1]
    first.select("env=prod")
    second.select("env=dev")
    first.create(mine, {"env": "prod"})
    first.create(theirs, {"env": "dev"})
    others = [ClusterName("demo-apps", "europe-west1", f"c{index:03}") for index in range(12)]
    for name in others:  # the removal limit lets one in ten go
        first.create(name, {"env": "prod"})
    for world in (first, second):
        world.sweep()
    before = owned(first, "second")
    if deleted:
        first.delete(mine)
        first.delete(theirs)
    else:
        first.change(mine, labels={})
        first.change(theirs, labels={})
    for _ in range(3):
        first.now += timedelta(hours=1)
        first.sweep()
    assert owned(first, "second")["secrets"] == before["secrets"]
    assert set(owned(first, "default")["secrets"]) == {name.secret_name for name in others}
