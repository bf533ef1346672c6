"""Two registrars with one Argo CD, whose clusters overlap: what happens to them, and the promise that neither breaks.

The writer of an object owns it. This is noted here by uid, not read from labels.
"""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from shared.clients.inventory import read_inventory
from shared.values import settings
from shared.values.names import ClusterName, MembershipName
from tests.simulation.kubernetes import copied
from tests.simulation.ports import WorldServices
from tests.simulation.world import STEPS, World
from tests.unit.given import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.simulation.kubernetes import Object

NAMES = [ClusterName(project, "europe-west1", name) for project in ("demo-apps", "demo-fleet") for name in ("a", "b")]
EDGES = [MembershipName(project, "global", "edge") for project in ("demo-fleet", "demo-next")]
LABELS: tuple[dict[str, str], ...] = ({"env": "prod"}, {"env": "dev"}, {"env": "prod", "tier": "web"}, {})
SELECTORS = ("", "env=prod", "env=dev", "tier", "env")
TURNS = 12
_OTHER_FLEET = {
    "FLEET_PROJECT": "demo-next",
    "FLEET_PROJECT_NUMBER": "200000000002",
    "CENTRAL_PROJECT_NUMBER": "100000000001",
}
# How the second registrar differs from the first. `namesakes`: a mistake, which must not make them fight.
KINDS: Mapping[str, Mapping[str, str]] = {
    "instances": {
        "INSTANCE": "second",
        "PUBSUB_PROJECT": "other-run",
        "ARGOCD_SERVICE_ACCOUNT": "argocd-second@demo-fleet.iam.gserviceaccount.com",
    },
    "fleets": _OTHER_FLEET,
    "fleets and instances": {**_OTHER_FLEET, "INSTANCE": "second"},
    "namesakes": {"PUBSUB_PROJECT": "other-run"},
}


def pair(kind: str = "instances") -> tuple[World, World]:
    """The worlds of two registrars: one Google Cloud and one central cluster, settings and topics of their own."""
    first, second = World(), World(settings=settings.load({**ENVIRONMENT, **KINDS[kind]}))
    second.clusters, second.memberships, second.kubernetes = first.clusters, first.memberships, first.kubernetes
    second.ids = first.ids
    return first, second


def secrets(world: World) -> dict[str, Object]:
    """The Secrets by uid."""
    return {stored["metadata"]["uid"]: copied(stored) for stored in world.secrets().values()}


def bindings(world: World) -> dict[str, Object]:
    """The bindings by cluster and uid."""
    return {
        f"{id_} {stored['metadata']['uid']}": copied(stored)
        for id_, cluster in world.kubernetes.items()
        for (where, _), stored in cluster.objects.items()
        if where.endswith("clusterrolebindings")
    }


def acts(world: World, random: Random) -> None:
    """A message of any kind for this registrar, and what follows from it."""
    body: Object
    if random.random() < 0.4:
        world.publish("sweep", {})
    elif random.random() < 0.2:
        topic = random.choice(("register-membership", "write-secret", "remove-secret"))
        world.publish(topic, {"membership": str(random.choice(EDGES))})
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


def happens(world: World, random: Random) -> int:
    """Something happens to a cluster; return 1 if a life began."""
    name, edge = random.choice(NAMES), random.choice(EDGES)
    match random.randrange(6):
        case 0 | 1 if name not in world.clusters:
            world.create(name, random.choice(LABELS))
            return 1
        case 2 if name in world.clusters:
            world.change(name, labels=random.choice(LABELS))
        case 3 if name in world.clusters:
            world.delete(name)
        case 4 if edge not in world.memberships:
            world.attach(edge, random.choice(LABELS))
            return 1
        case 5:
            world.memberships.pop(edge, None)
    return 0


def run_pair(seed: int, kind: str) -> tuple[int, str]:
    """Tell one story of two registrars; return how many lives began, and which promise was broken ('' for none)."""
    random, worlds = Random(seed), pair(kind)
    owner: dict[str, int] = {}
    lives = 0
    for _ in range(TURNS):
        lives += happens(worlds[0], random)
        index = random.randrange(2)
        mine, other = worlds[index], worlds[1 - index]
        mine.now = other.now = max(mine.now, other.now) + timedelta(minutes=random.choice((0, 1, 15)))
        mine.select(random.choice(SELECTORS))
        # Namesakes share the binding of a cluster, which has the name of Argo CD's one identity.
        read = (secrets,) if kind == "namesakes" else (secrets, bindings)
        before = {uid: one for kept in read for uid, one in kept(mine).items()}
        acts(mine, random)
        after = {uid: one for kept in read for uid, one in kept(mine).items()}
        changed = [uid for uid, one in before.items() if after.get(uid) != one]
        if wrong := [before[uid]["metadata"]["name"] for uid in changed if owner.get(uid) != index]:
            return lives, f"registrar {index} changed {', '.join(wrong)}, which the other one wrote"
        owner |= dict.fromkeys(after.keys() - before.keys(), index)
        counted = {secret.uid for secret in read_inventory(WorldServices(mine)).secrets}
        if wrong := [uid for uid in counted if owner.get(uid) != index]:
            return lives, f"registrar {index} counts {len(wrong)} Secrets that the other one wrote"
    return lives, ""
