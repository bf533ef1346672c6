"""What people do to Secrets, settings and messages: one function for each effect."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from functions import sweep
from ops.adoption import match_secrets
from ops.survey import survey
from shared.decisions import rbac
from shared.decisions.secret_plan import CONFIG
from shared.values.cluster_secret import AGENT_LOST, FUNCTIONS_PROJECT, GRANT, HELD, KEEP, SKIP_RECONCILE
from shared.values.errors import ReconcileError
from shared.values.labels import LabelKeys
from shared.values.messages import _KEYS, AUDIT_LOG_ENTRIES, DEAD_LETTERS, Message, Scope
from shared.values.model import Membership
from shared.values.names import ClusterName
from shared.values.settings import RemovalLimit
from tests.simulation import limit_ledger
from tests.simulation.cast import ATTACHED, CLUSTERS, FLEET, SECRETS, SHARED, secret_name_of
from tests.simulation.entries import audit_entry
from tests.simulation.ports import NUMBERS
from tests.simulation.scheduler import RandomServices, Simulation
from tests.simulation.world import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.decisions.sweep_plan import Reached
    from tests.simulation.kubernetes import Object


def _edited(world: Simulation, who: str, edit: Callable[[Object, Object, Object], None]) -> None:
    """A person edits a Secret of ours."""
    key = (SECRETS, secret_name_of(who))
    stored = world.central.objects.get(key)
    if stored is None or not _marked(stored):
        return
    annotations = stored["metadata"]["annotations"]
    labels, note, skips = stored["metadata"]["labels"], annotations.get(HELD), SKIP_RECONCILE in annotations
    marked = HELD in annotations or HELD in labels
    edit(labels, annotations, stored["data"])
    # A skip-reconcile is theirs that a person sets on a Secret that is not held, or of which they remove every mark.
    theirs = world.ledger.skipped
    if SKIP_RECONCILE not in annotations:
        theirs.discard(stored["metadata"]["uid"])
    elif HELD not in annotations and HELD not in labels and (marked or not skips):
        theirs.add(stored["metadata"]["uid"])
    elif note != annotations.get(HELD):
        theirs.discard(stored["metadata"]["uid"])
    world.ledger.noted(world.central.put(SECRETS, stored, stored["metadata"]["uid"]))


def _marked(stored: Object) -> bool:
    return bool(stored["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "fleet-registrar")


def do_pin(world: Simulation, who: str) -> None:
    _edited(world, who, lambda _, annotations, __: annotations.update({KEEP: "true"}))


def do_unpin(world: Simulation, who: str) -> None:
    _edited(world, who, lambda _, annotations, __: annotations.pop(KEEP, None))


def do_edit(world: Simulation, who: str, what: str) -> None:
    def unskipped(_labels: Object, annotations: Object, _data: Object) -> None:
        annotations.pop(SKIP_RECONCILE, None)

    def edit(labels: Object, annotations: Object, data: Object) -> None:
        match what:
            case "label":
                labels["person-team"] = annotations["person-note"] = "a"
            case "drift" if "env" in labels:
                labels["env"] = "drifted"
            case "skip" | "skip for good":
                annotations[SKIP_RECONCILE] = "true"
                if what == "skip":
                    world.at(300, lambda: _edited(world, who, unskipped))
            case "unskip":
                unskipped(labels, annotations, data)
            case "unheld":
                unskipped(labels, annotations, data)
                annotations.pop(HELD, None)
                labels.pop(HELD, None)
            case "unnoted":
                annotations.pop(HELD, None)
            case "unlabelled":
                labels.pop(HELD, None)
            case "garbled" if HELD in annotations:
                annotations[HELD] = "by hand"
            case "future" if HELD in annotations:
                annotations[HELD] = f"{annotations[HELD].split()[0]} 2099-01-01T00:00:00Z skip-reconcile=ours"
            case "grant":
                annotations[GRANT] = "view somebody@demo-fleet.iam.gserviceaccount.com"
            case "agent":
                annotations[AGENT_LOST] = "2026-11-24T08:00:00Z"
            case "facts":
                labels.pop("fleet-registrar/name", None)
                annotations.pop(FUNCTIONS_PROJECT, None)
            case "server":
                data["server"] = base64.b64encode(b"https://elsewhere").decode()
            case "config":
                again = json.loads(CONFIG) | {"username": ""}
                data["config"] = base64.b64encode(json.dumps(again).encode()).decode()

    _edited(world, who, edit)


def edit_holds(world: Simulation) -> int:
    """A person edits every hold, in one of two ways; return how many."""
    what = ("unskip", "unlabelled")[len(world.ledger.made) % 2]
    held = [who for who in (*CLUSTERS, *ATTACHED) if _is_held(world, who)]
    for who in held:
        do_edit(world, who, what)
    return len(held)


def _is_held(world: Simulation, who: str) -> bool:
    stored = world.central.objects.get((SECRETS, secret_name_of(who)))
    return stored is not None and HELD in stored["metadata"].get("annotations", {})


def do_delete_secret(world: Simulation, who: str) -> None:
    stored = world.central.objects.get((SECRETS, secret_name_of(who)))
    if stored is not None and _marked(stored):
        del world.central.objects[SECRETS, secret_name_of(who)]


def do_foreign_secret(world: Simulation, who: str, same: str) -> None:
    """An unmanaged cluster Secret: under the same name, for the same server, or just another one."""
    name = secret_name_of(who) if same == "name" else f"by-hand-{who}-{same}"
    if (SECRETS, name) in world.central.objects:
        return
    member = CLUSTERS[who].membership(FLEET) if who in CLUSTERS else ATTACHED[who]
    url = member.gateway_url(NUMBERS[FLEET], gke=who in CLUSTERS)
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


def do_foreign_binding(world: Simulation, who: str) -> None:
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


def do_foreign_membership(world: Simulation, who: str) -> None:
    """An unmanaged membership under the very id that we derive; it names no cluster of ours."""
    name = CLUSTERS[who].membership(FLEET)
    if name in world.memberships:
        return
    theirs = Membership(
        name, f"uid-{next(world.ids)}", "READY", {}, ClusterName("demo-other", "europe-west1", f"their-{who}")
    )
    world.memberships[name] = theirs
    world.ledger.registrations[name] = theirs


def do_foreign_goes(world: Simulation, _who: str) -> None:
    """They clear away what is theirs."""
    for cluster, key, _ in world.ledger.unmanaged.values():
        cluster.objects.pop(key, None)
    for name in world.ledger.registrations:
        world.memberships.pop(name, None)
    world.ledger.unmanaged.clear()
    world.ledger.registrations.clear()


def do_adopt(world: Simulation, _who: str) -> None:
    """A person runs `ops adopt`: Secrets of others for our clusters become ours in place."""
    calm, world.calm = world.calm, True
    services: Any = RandomServices(world)
    with suppress(ReconcileError):
        adoptions, _ = match_secrets(survey(services), services.settings)
        for one in adoptions:
            services.central.patch(one.secret, one.patch)
            world.ledger.unmanaged.pop((str(id(world.central)), one.secret.name), None)
            world.ledger.noted(world.central.objects[SECRETS, one.secret.name])
            world.publish(one.next.topic, one.next.body())
    world.calm = calm


def do_fleet(world: Simulation, _who: str, project: str) -> None:
    """A person changes FLEET_PROJECT under the Secrets that exist."""
    world.settings = replace(world.settings, fleet_project=project, fleet_project_number=NUMBERS[project])


def do_settings(world: Simulation, _who: str, selector: str, limited: bool = False, most: int = 1) -> None:
    world.select(selector)
    if limited:
        world.settings = replace(world.settings, max_removals=RemovalLimit(most, percent=False))


def do_identity(world: Simulation, _who: str, number: int) -> None:
    email = f"argocd{number or ''}@demo-fleet.iam.gserviceaccount.com"
    world.settings = replace(world.settings, argocd_service_account=email)


def do_label_keys(world: Simulation, _who: str, keys: str) -> None:
    world.settings = replace(world.settings, label_keys=LabelKeys.parse(keys) if keys else LabelKeys())


def do_sources(world: Simulation, _who: str, projects: str) -> None:
    world.settings = replace(world.settings, source_projects=frozenset(projects.split(",")))


def do_sweep(world: Simulation, _who: str, times: int, scope: Mapping[str, str] | None = None) -> None:
    for _ in range(times):
        world.publish("sweep", dict(scope or {}))


def do_release(world: Simulation, _who: str, after: float = 0.0) -> None:
    """A person releases the plan that a sweep would limit now."""
    calm, world.calm = world.calm, True
    plan = sweep.planned(Scope(), RandomServices(world))
    world.calm = calm
    if plan.blocked:
        world.at(after, lambda: release(world, plan.reached[0]))


def release(world: Simulation, reached: Reached) -> None:
    """A person releases exactly the requests that a limit stops."""
    world.ledger.released[reached.hash] = {limit_ledger.text_of(each.next.body()) for each in reached.requests}
    world.publish("sweep", {"release": reached.hash})


def do_outage(world: Simulation, _who: str, where: str, seconds: float) -> None:
    world.hide(where, seconds)


def do_repeat(world: Simulation, who: str, topic: str) -> None:
    """A person publishes to a step: that is replay."""
    world.publish(topic, {"cluster": str(CLUSTERS[who])} if who in CLUSTERS else {"membership": str(ATTACHED[who])})


def do_forge(world: Simulation, who: str, topic: str, number: int) -> None:
    """Somebody who may publish to one topic, and can read neither Secrets nor logs, tries every control key."""
    random = Random(number)
    body: Object = {"cluster": str(CLUSTERS[who])} if who in CLUSTERS else {"membership": str(ATTACHED[who])}
    if random.random() < 0.3:
        body["membership"] = str(random.choice((SHARED, *ATTACHED.values(), world.settings.central_membership)))
    keys: Object = {
        "granted": random.choice((world.settings.grant, "x.y.z", "")),
        "drop_labels": ["env", "tier", "person-team"],
        "secret_uid": random.choice(("guessed", "")),
        "leave": random.choice(("hold", "remove", "other-cluster")),
        # Nobody can name the uid of a membership that does not exist yet.
        "membership_uid": random.choice([one.unique_id for one in world.memberships.values()] or ["uid-none"]),
        "renewed": True,
        "new": True,
        "previous": f"argocd{random.choice(('', 1, 2))}@demo-fleet.iam.gserviceaccount.com",
    }
    allowed = _KEYS.get(topic, frozenset())
    body |= {key: value for key, value in keys.items() if key in allowed and random.random() < 0.7}
    attributes = random.choice(({}, {"requested-by": "sweep"}, {"reversed": "true"}))
    if topic == "sweep":
        body = {"release": f"{random.getrandbits(64):016x}"}
    if topic == AUDIT_LOG_ENTRIES:
        method = random.choice(("CreateCluster", "UpdateCluster", "SetLabels", "DeleteCluster"))
        name = CLUSTERS.get(who, CLUSTERS["blue"])
        body = audit_entry(name, method, random.choice(("started", "finished", "done")), failed=random.random() < 0.3)
    if topic == DEAD_LETTERS:
        # An operator replays the letter, control keys included.
        message = Message(json.dumps(body).encode(), attributes, f"forged-{number}", world.now)
        world.letters.append((random.choice(sorted(STEPS)), message))
        return
    world.publish(topic, body, attributes)
