"""The events that GKE and the fleet emit, in the shapes of recorded ones."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from shared.decisions import events
from tests.simulation.cast import FLEET
from tests.simulation.deliveries import Event

if TYPE_CHECKING:
    from shared.values.model import Membership
    from shared.values.names import ClusterName
    from tests.simulation.kubernetes import Object
    from tests.simulation.scheduler import Simulation


def emit_cluster_event(world: Simulation, name: ClusterName, method: str, when: str, *, failed: bool = False) -> None:
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


def emit_membership_event(world: Simulation, kind: str, member: Membership) -> None:
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
