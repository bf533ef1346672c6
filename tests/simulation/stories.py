"""What people and Google do to the world in a random run, and the events that the real thing would emit.

A event says only who and what; when it does not fit the state by then, nothing happens. So any of them can be left
out of a story, and the rest can still run.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any

from functions import sweep
from shared.decisions import events, rbac
from shared.decisions.secret_plan import CONFIG
from shared.values.cluster_secret import KEEP, SKIP_RECONCILE
from shared.values.labels import LabelKeys
from shared.values.messages import _KEYS, AUDIT_LOG_ENTRIES, Scope
from shared.values.model import Membership
from shared.values.names import ClusterName, MembershipName
from shared.values.settings import RemovalLimit
from tests.simulation.scheduler import Event, RandomServices, Simulation
from tests.simulation.world import STEPS, Kubernetes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.values.model import Cluster
    from tests.simulation.world import Object

FLEET = "demo-fleet"
CLUSTERS = {
    "blue": ClusterName("demo-apps", "europe-west1", "blue"),
    "green": ClusterName("demo-apps", "europe-west1-b", "green"),
    "navy": ClusterName(FLEET, "europe-west1", "blue"),
    "alien": ClusterName("demo-other", "europe-west1", "blue"),
}
ATTACHED = {
    "edge": MembershipName(FLEET, "global", "edge"),
    "shop": MembershipName(FLEET, "europe-west1", "shop"),
}
# A membership id that GKE and people choose for any cluster, and use again once it is free.
SHARED = MembershipName(FLEET, "europe-west1", "blue")
LABELS: tuple[Mapping[str, str], ...] = (
    {"env": "prod", "tier": "web"},
    {"env": "prod", "tier": "db"},
    {"env": "prod"},
    {"env": "dev", "tier": "web"},
    {"tier": "web"},
    {},
)
_STEPS = (*sorted(STEPS), "sweep")
SELECTORS = ("", "env", "env=prod", "env", "tier")
SECRETS = f"api/v1/namespaces/{'argocd'}/secrets"


@dataclass(frozen=True)
class StoryEvent:
    """At this second, this happens to that one."""

    at: float
    what: str
    who: str = ""
    how: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        how = " ".join(f"{key}={value!r}" for key, value in self.how.items())
        return f"{self.at:9.1f} s  {self.what.replace('_', ' ')} {self.who} {how}".rstrip()


def apply(world: Simulation, event: StoryEvent) -> None:
    """Apply one event of a story, if it fits the state."""
    world.current = None
    _EFFECTS[event.what](world, event.who, **event.how)


def by_events_alone(seed: int) -> bool:
    """Whether a run is one without sweeps and lost events: then the events must be enough."""
    return seed % 4 == 3


def draw(seed: int) -> list[StoryEvent]:
    """Draw a random story."""
    random = Random(f"story {seed}")
    alone = by_events_alone(seed)
    names = random.sample(sorted(CLUSTERS), random.choice((1, 2, 2, 3)))
    members = random.sample(sorted(ATTACHED), random.choice((0, 0, 1, 1, 2)))
    selector = "" if alone else random.choice(SELECTORS)
    drawn = [StoryEvent(0.0, "settings", "", {"selector": selector, "brake": random.random() < 0.3})]
    drawn += [
        _draw(random, random.uniform(1, 400), "create" if who in CLUSTERS else "attach", who, alone=alone)
        for who in names + members
    ]
    # A deletion right after the creation finds a chain on its way.
    drawn += [
        StoryEvent(round(each.at + each.how["takes"] + random.uniform(0, 30), 1), "delete", each.who, {"takes": 2})
        for each in drawn[1:]
        if each.what == "create" and random.random() < 0.3
    ]
    time = 0.0
    pace = random.choice((8.0, 60.0, 400.0))
    weights = [each for each in _WEIGHTS if not alone or each[0] in _CARRIED_BY_EVENTS]
    for _ in range(random.randint(4, 18)):
        time += random.expovariate(1 / pace) if random.random() < 0.8 else random.choice((1.0, 300.0, 700.0, 2000.0))
        what, kind = random.choices([each[:2] for each in weights], [each[2] for each in weights])[0]
        if kind == "attached" and not members:
            continue
        group = {"cluster": names, "attached": members, "any": names + members}.get(kind)
        drawn.append(_draw(random, time + 200, what, random.choice(group) if group else "", alone=alone))
    return sorted(drawn, key=lambda event: event.at)


_CARRIED_BY_EVENTS = frozenset({"create", "delete", "relabel", "attach", "reattach", "relabel_attached", "repeat"})
_WEIGHTS = (
    ("create", "cluster", 16),
    ("delete", "cluster", 14),
    ("relabel", "cluster", 10),
    ("status", "cluster", 3),
    ("other_fleet", "cluster", 2),
    ("back_to_our_fleet", "cluster", 2),
    ("unregister", "cluster", 3),
    ("register", "cluster", 3),
    ("attach", "attached", 5),
    ("detach", "attached", 4),
    ("reattach", "attached", 2),
    ("relabel_attached", "attached", 3),
    ("disconnect", "attached", 2),
    ("reconnect", "attached", 2),
    ("pin", "any", 2),
    ("unpin", "any", 2),
    ("edit", "any", 4),
    ("delete_secret", "any", 1),
    ("foreign_secret", "any", 2),
    ("foreign_binding", "cluster", 1),
    ("foreign_membership", "cluster", 1),
    ("foreign_goes", "", 2),
    ("settings", "", 3),
    ("sources", "", 1),
    ("identity", "", 1),
    ("label_keys", "", 1),
    ("sweep", "", 12),
    ("release", "", 2),
    ("outage", "", 4),
    ("repeat", "any", 14),
    ("forge", "any", 8),
)


def _draw(random: Random, at: float, what: str, who: str, *, alone: bool = False) -> StoryEvent:
    how: dict[str, Any] = {}
    # Keys that go and failures that no event tells of are the sweep's to find.
    labels = LABELS[0] if random.random() < 0.4 else random.choice(LABELS[:2] if alone else LABELS)
    match what:
        case "create":
            how = {"labels": labels, "takes": round(random.uniform(30, 300))}
            if random.random() < 0.25:
                how["fleet"] = random.choice(("own", "shared"))
            if random.random() < 0.07:
                how["fails"] = True
        case "delete":
            how = {"takes": round(random.choice((2, 60, 200)) * random.uniform(0.5, 1.5))}
            # A hold that is on its way when the deletion fails lands on a Secret in which nothing has differed since: no
            # precondition stops it, and no event follows. The sweep lifts it.
            if random.random() < 0.25 and not alone:
                how["ends"] = random.choice(("RUNNING", "ERROR"))
            if random.random() < 0.2:
                how["cleans"] = True
        case "relabel" | "relabel_attached":
            how = {"labels": labels}
        case "attach":
            how = {"labels": labels} | ({"admits": False} if random.random() < 0.1 else {})
        case "forge":
            how = {"topic": random.choice(_STEPS), "number": random.getrandbits(16)}
        case "register":
            how = {"shared": random.random() < 0.5}
        case "identity":
            how = {"number": random.randint(0, 2)}
        case "label_keys":
            how = {"keys": random.choice(("", "env", "tier", "env,tier"))}
        case "status":
            how = {"status": random.choice(("RECONCILING", "DEGRADED", "ERROR", "RUNNING"))}
        case "edit":
            how = {"what": random.choice(("label", "drift", "skip", "server", "config"))}
        case "foreign_secret":
            how = {"same": random.choice(("name", "server", "nothing"))}
        case "settings":
            how = {"selector": random.choice(SELECTORS)}
        case "sources":
            how = {"projects": random.choice(("demo-fleet", "demo-fleet,demo-apps"))}
        case "sweep":
            how = {"times": random.choice((1, 1, 1, 2, 3))}
            if random.random() < 0.2:
                how["scope"] = random.choice(({"project": "demo-apps"}, {"cluster": str(CLUSTERS["blue"])}))
        case "outage":
            places = ("demo-apps", "demo-apps/europe-west1-b", "demo-fleet", "fleet/europe-west1", "fleet/global")
            how = {"where": random.choice(places), "seconds": random.choice((30, 300, 3000))}
        case "repeat":
            how = {
                "topic": random.choice(
                    (
                        "register-membership",
                        "write-secret",
                        "revoke-rbac",
                        "remove-secret",
                        "revoke-rbac",
                        "unregister-membership",
                        "grant-rbac",
                        "write-secret",
                    )
                )
            }
        case "release":
            how = {"after": random.choice((0, 0, 100))}
    return StoryEvent(round(at, 1), what, who, how)


# GKE.


def _emit(world: Simulation, name: ClusterName, method: str, when: str, *, failed: bool = False) -> None:
    world.sequence += 1
    entry = audit_entry(name, method, when, failed=failed, number=world.sequence)
    what = f"{method} {when} {name}"
    if name.project == FLEET:
        world.event(
            what,
            Event(entry, {"type": events.AUDIT, "id": f"e{world.sequence}", "source": "//cloudaudit.googleapis.com/"}),
        )
        return
    inside = {
        "data": base64.b64encode(json.dumps(entry).encode()).decode(),
        "attributes": {},
        "messageId": f"e{world.sequence}",
        "publishTime": world.now.isoformat(),
    }
    world.event(
        what,
        Event(
            {"message": inside},
            {"type": events.PUBSUB, "id": f"e{world.sequence}", "source": "//pubsub.googleapis.com/"},
        ),
    )


def audit_entry(name: ClusterName, method: str, when: str, *, failed: bool = False, number: int = 1) -> Object:
    """An entry of GKE's audit log in the recorded shapes: started and finished carry an operation."""
    payload: Object = {
        "serviceName": "container.googleapis.com",
        "methodName": f"google.container.v1.ClusterManager.{method}",
        "resourceName": f"projects/{name.project}/zones/{name.location}/clusters/{name.cluster}",
    }
    entry: Object = {
        "insertId": str(number),
        "logName": f"projects/{name.project}/logs/cloudaudit.googleapis.com%2Factivity",
        "resource": {
            "type": "gke_cluster",
            "labels": {"project_id": name.project, "location": name.location, "cluster_name": name.cluster},
        },
        "protoPayload": payload,
    }
    if when != "done":
        entry["operation"] = {"id": f"operation-{number}", "first" if when == "started" else "last": True}
    if when == "finished":
        payload["status"] = {"code": 13, "message": "failed"} if failed else {}
    else:
        payload["authenticationInfo"] = {"principalEmail": "you@example.com"}
    return entry


def _member_event(world: Simulation, kind: str, member: Membership) -> None:
    world.sequence += 1
    payload: Object = {"name": str(member.name), "labels": dict(member.labels)}
    if member.cluster:
        payload["endpoint"] = {"gkeCluster": {"resourceLink": member.cluster.link}}
    attributes = {
        "type": f"{events.MEMBERSHIP}{kind}",
        "id": f"e{world.sequence}",
        "source": f"//gkehub.googleapis.com/projects/{member.name.project}/locations/{member.name.location}",
        "subject": f"memberships/{member.name.membership}",
    }
    world.event(f"{kind} {member.name}", Event({} if kind == "deleted" else {"payload": payload}, attributes))


def _create(
    world: Simulation, who: str, labels: Mapping[str, str], takes: float, *, fleet: str = "", fails: bool = False
) -> None:
    name = CLUSTERS[who]
    if name in world.clusters:
        return
    made = world.create(name, labels, "PROVISIONING")
    world.lives += 1
    _emit(world, name, "CreateCluster", "started")

    def finished() -> None:
        now = world.clusters.get(name)
        if now is None or now.id != made.id or now.status != "PROVISIONING":
            return
        world.change(name, status="ERROR" if fails else "RUNNING")
        if fleet and not fails:
            _join(world, name, SHARED if fleet == "shared" else _id_of_gke(name))
        _emit(world, name, "CreateCluster", "finished", failed=fails)

    world.at(max(takes, 30.0), finished)


def _id_of_gke(name: ClusterName) -> MembershipName:
    return MembershipName(FLEET, "europe-west1", f"{name.project}-{name.cluster}")


def _join(world: Simulation, name: ClusterName, membership: MembershipName) -> None:
    """GKE or a person registers a cluster: an id of their own, no mark of ours."""
    standing = world.memberships.get(membership)
    if standing is None or (standing.cluster == name and not standing.cluster_id):
        _member_event(world, "created", world.join(name, membership))


def _delete(world: Simulation, who: str, takes: float, ends: str = "gone", cleans: bool = False) -> None:
    name = CLUSTERS[who]
    found = world.clusters.get(name)
    if found is None or found.status == "STOPPING":
        return
    world.change(name, status="STOPPING")
    _emit(world, name, "DeleteCluster", "started")

    def finished() -> None:
        now = world.clusters.get(name)
        if now is None or now.id != found.id or now.status != "STOPPING":
            return
        if ends != "gone":
            world.change(name, status=ends)
            _emit(world, name, "DeleteCluster", "finished", failed=True)
            return
        world.delete(name)
        member = now.membership and world.memberships.get(now.membership)
        if cleans and member and not world.ledger.registrations.get(member.name):
            _drop(world, member)
        _emit(world, name, "DeleteCluster", "finished")

    world.at(takes, finished)


def _drop(world: Simulation, member: Membership) -> None:
    """A membership goes, by a person or by Google."""
    world.memberships.pop(member.name)
    cluster = world.clusters.get(member.cluster) if member.cluster else None
    if cluster is not None and cluster.membership == member.name:
        world.change(cluster.name, fleet_project="", membership=None)
        world.ledger.left_behind.add(cluster.id)  # no way leads to its binding, until it is registered again
    _member_event(world, "deleted", member)


def _alive(world: Simulation, who: str) -> Cluster | None:
    found = world.clusters.get(CLUSTERS[who])
    return found if found is not None and found.status not in ("PROVISIONING", "STOPPING") else None


def _relabel(world: Simulation, who: str, labels: Mapping[str, str]) -> None:
    found = _alive(world, who)
    if found is not None:
        world.change(found.name, labels=dict(labels))
        _emit(world, found.name, "SetLabels", "done")


def _status(world: Simulation, who: str, status: str) -> None:
    found = _alive(world, who)
    if found is not None:
        world.change(found.name, status=status)
        _emit(world, found.name, "UpdateCluster", "finished")


def _other_fleet(world: Simulation, who: str) -> None:
    found = _alive(world, who)
    if found is None:
        return
    member = found.membership and world.memberships.get(found.membership)
    if member:
        _drop(world, member)
    world.change(found.name, fleet_project="999", membership=None)
    _emit(world, found.name, "UpdateCluster", "finished")


def _back_to_our_fleet(world: Simulation, who: str) -> None:
    found = _alive(world, who)
    if found is not None and found.fleet_project == "999":
        world.change(found.name, fleet_project="", membership=None)
        _emit(world, found.name, "UpdateCluster", "finished")


def _unregister(world: Simulation, who: str) -> None:
    found = _alive(world, who)
    member = found and found.membership and world.memberships.get(found.membership)
    if member and member.name not in world.ledger.registrations:
        _drop(world, member)


def _register(world: Simulation, who: str, shared: bool = False) -> None:
    found = _alive(world, who)
    if found is not None and not found.fleet_project:
        _join(world, found.name, SHARED if shared else MembershipName(FLEET, "global", f"by-hand-{who}"))


# Attached clusters.


def _attach(
    world: Simulation, who: str, labels: Mapping[str, str], admits: bool = True, inside: Kubernetes | None = None
) -> None:
    if ATTACHED[who] in world.memberships:
        return
    made = world.attach(ATTACHED[who], labels)
    world.kubernetes[made.unique_id] = inside or Kubernetes(admits_us=admits)
    world.lives += 1
    world.lost_agents.discard(made.name)
    _member_event(world, "created", made)


def _detach(world: Simulation, who: str) -> None:
    member = world.memberships.get(ATTACHED[who])
    if member is not None:
        _drop(world, member)


def _reattach(world: Simulation, who: str) -> None:
    """The same cluster, registered again under its name."""
    member = world.memberships.get(ATTACHED[who])
    if member is not None:
        _drop(world, member)
        _attach(world, who, member.labels, inside=world.kubernetes[member.unique_id])


def _relabel_attached(world: Simulation, who: str, labels: Mapping[str, str]) -> None:
    member = world.memberships.get(ATTACHED[who])
    if member is not None:
        world.memberships[member.name] = replace(member, labels=dict(labels))
        _member_event(world, "updated", world.memberships[member.name])


def _disconnect(world: Simulation, who: str) -> None:
    member = world.memberships.get(ATTACHED[who])
    if member is not None and member.name not in world.lost_agents:
        world.memberships[member.name] = replace(member, last_connection=world.now)
        world.lost_agents.add(member.name)


def _reconnect(world: Simulation, who: str) -> None:
    world.lost_agents.discard(ATTACHED[who])


# People, in the central cluster and elsewhere.


def _secret_name(who: str) -> str:
    return CLUSTERS[who].secret_name if who in CLUSTERS else ATTACHED[who].secret_name


def _edited(world: Simulation, who: str, edit: Callable[[Object, Object, Object], None]) -> None:
    """A person edits a Secret of ours."""
    key = (SECRETS, _secret_name(who))
    stored = world.central.objects.get(key)
    if stored is None or not _marked(stored):
        return
    edit(stored["metadata"]["labels"], stored["metadata"]["annotations"], stored["data"])
    world.ledger.noted(world.central.put(SECRETS, stored, stored["metadata"]["uid"]))


def _marked(stored: Object) -> bool:
    return bool(stored["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "fleet-registrar")


def _pin(world: Simulation, who: str) -> None:
    _edited(world, who, lambda _, annotations, __: annotations.update({KEEP: "true"}))


def _unpin(world: Simulation, who: str) -> None:
    _edited(world, who, lambda _, annotations, __: annotations.pop(KEEP, None))


def _edit(world: Simulation, who: str, what: str) -> None:
    def edit(labels: Object, annotations: Object, data: Object) -> None:
        match what:
            case "label":
                labels["person-team"] = annotations["person-note"] = "a"
            case "drift" if "env" in labels:
                labels["env"] = "drifted"
            case "skip":
                annotations[SKIP_RECONCILE] = "true"
                world.at(300, lambda: _edited(world, who, lambda _, later, __: later.pop(SKIP_RECONCILE, None)))
            case "server":
                data["server"] = base64.b64encode(b"https://elsewhere").decode()
            case "config":
                again = json.loads(CONFIG) | {"username": ""}
                data["config"] = base64.b64encode(json.dumps(again).encode()).decode()

    _edited(world, who, edit)


def _delete_secret(world: Simulation, who: str) -> None:
    stored = world.central.objects.get((SECRETS, _secret_name(who)))
    if stored is not None and _marked(stored):
        del world.central.objects[SECRETS, _secret_name(who)]
        if CLUSTERS.get(who) in world.clusters:  # then nothing tells of its binding any more
            world.ledger.left_behind.add(world.clusters[CLUSTERS[who]].id)


def _foreign_secret(world: Simulation, who: str, same: str) -> None:
    """An unmanaged cluster Secret: under the same name, for the same server, or just another one."""
    name = _secret_name(who) if same == "name" else f"by-hand-{who}-{same}"
    if (SECRETS, name) in world.central.objects:
        return
    member = CLUSTERS[who].membership(FLEET) if who in CLUSTERS else ATTACHED[who]
    url = member.gateway_url(world.settings.fleet_project_number, gke=who in CLUSTERS)
    data = {"name": f"by-hand-{who}", "server": url if same == "server" else "https://10.0.0.1"}
    made = world.central.put(
        SECRETS,
        {
            "kind": "Secret",
            "metadata": {"name": name, "labels": {"argocd.argoproj.io/secret-type": "cluster"}, "annotations": {}},
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
        },
    )
    world.ledger.made[made["metadata"]["uid"]] = world.t
    world.ledger.foreign_object(world.central, SECRETS, name)


def _foreign_binding(world: Simulation, who: str) -> None:
    found = world.clusters.get(CLUSTERS[who])
    name = f"fleet-registrar:{world.settings.argocd_service_account}"
    if found is None or (rbac.BINDINGS, name) in world.kubernetes[found.id].objects:
        return
    inside = world.kubernetes[found.id]
    inside.put(
        rbac.BINDINGS,
        {
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"name": "view"},
            "subjects": [{"name": "x"}],
        },
    )
    world.ledger.foreign_object(inside, rbac.BINDINGS, name)


def _foreign_membership(world: Simulation, who: str) -> None:
    """An unmanaged membership under the very id that we derive; it names no cluster of ours."""
    name = CLUSTERS[who].membership(FLEET)
    if name in world.memberships:
        return
    theirs = Membership(
        name, f"uid-{next(world.ids)}", "READY", {}, ClusterName("demo-other", "europe-west1", f"their-{who}")
    )
    world.memberships[name] = theirs
    world.ledger.registrations[name] = theirs


def _foreign_goes(world: Simulation, _who: str) -> None:
    """They clear away what is theirs."""
    for cluster, key, _ in world.ledger.unmanaged.values():
        cluster.objects.pop(key, None)
    for name in world.ledger.registrations:
        world.memberships.pop(name, None)
    world.ledger.unmanaged.clear()
    world.ledger.registrations.clear()


def _settings(world: Simulation, _who: str, selector: str, brake: bool = False) -> None:
    world.select(selector)
    if brake:
        world.settings = replace(world.settings, max_removals=RemovalLimit(1, percent=False))


def _identity(world: Simulation, _who: str, number: int) -> None:
    email = f"argocd{number or ''}@demo-fleet.iam.gserviceaccount.com"
    world.settings = replace(world.settings, argocd_service_account=email)


def _label_keys(world: Simulation, _who: str, keys: str) -> None:
    world.settings = replace(world.settings, label_keys=LabelKeys.parse(keys) if keys else LabelKeys())


def _sources(world: Simulation, _who: str, projects: str) -> None:
    world.settings = replace(world.settings, source_projects=frozenset(projects.split(",")))


def _sweep(world: Simulation, _who: str, times: int, scope: Mapping[str, str] | None = None) -> None:
    for _ in range(times):
        world.publish("sweep", dict(scope or {}))


def _release(world: Simulation, _who: str, after: float = 0.0) -> None:
    """A person releases the plan that a sweep would limit now."""
    calm, world.calm = world.calm, True
    plan = sweep.planned(Scope(), RandomServices(world))
    world.calm = calm
    if plan.blocked:
        world.at(after, lambda: world.publish("sweep", {"release": plan.reached[0].hash}))


def _outage(world: Simulation, _who: str, where: str, seconds: float) -> None:
    world.hide(where, seconds)


def _repeat(world: Simulation, who: str, topic: str) -> None:
    """A person publishes to a step: that is replay."""
    world.publish(topic, {"cluster": str(CLUSTERS[who])} if who in CLUSTERS else {"membership": str(ATTACHED[who])})


def _forge(world: Simulation, who: str, topic: str, number: int) -> None:
    """Somebody who may publish to one topic, and can read neither Secrets nor logs, tries every control key."""
    random = Random(number)
    body: Object = {"cluster": str(CLUSTERS[who])} if who in CLUSTERS else {"membership": str(ATTACHED[who])}
    if random.random() < 0.3:
        body["membership"] = str(random.choice((SHARED, *ATTACHED.values(), world.settings.central_membership)))
    keys: Object = {
        "granted": random.choice((world.settings.grant, "x.y.z", "")),
        "drop_labels": ["env", "tier", "person-team"],
        "secret_uid": random.choice(("guessed", "")),
        "leave": random.choice(("hold", "remove")),
        "membership_uid": f"uid-{random.randrange(20)}",
        "renewed": True,
        "new": True,
    }
    allowed = _KEYS.get(topic, frozenset())
    body |= {key: value for key, value in keys.items() if key in allowed and random.random() < 0.7}
    attributes = random.choice(({}, {"requested-by": "sweep"}, {"reversed": "true"}))
    if topic == "sweep":
        body = {"release": f"{random.getrandbits(64):016x}"}
    world.publish(topic, body, attributes)


_EFFECTS: Mapping[str, Callable[..., None]] = {what: globals()[f"_{what}"] for what, _, _ in _WEIGHTS}
__all__ = ["ATTACHED", "AUDIT_LOG_ENTRIES", "CLUSTERS", "StoryEvent", "apply", "audit_entry", "draw"]
