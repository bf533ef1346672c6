"""Mutated events and messages: each comes to a clear outcome, a route or a fault that says what is wrong."""

from __future__ import annotations

import base64
import json
from random import Random
from typing import Any

from functions import sweep
from shared.decisions.events import Route, route_entry, route_membership
from shared.decisions.sweep_plan import Plan
from shared.runtime import dispatch
from shared.runtime.delivery import decode
from shared.values.errors import ReconcileError
from shared.values.messages import Message, Outcome
from tests.simulation.cast import CLUSTERS
from tests.simulation.deliveries import Event
from tests.simulation.entries import audit_entry
from tests.simulation.kubernetes import Object, copied
from tests.simulation.one_thread import one_thread_no_logs
from tests.simulation.ports import WorldServices
from tests.simulation.seeds import draw_seed
from tests.simulation.world import STEPS, World

EVENTS = 5000
MESSAGES = 5000
JUNK: tuple[Any, ...] = (
    None, True, 0, -1, 1e308, 10**400, "", " ", "a" * 5000, "\ud800", "\x00", "projects/", "projects/a/locations/b/clusters/c",
    "//container.googleapis.com/projects/demo-apps/zones/europe-west1/clusters/blue", "last", "true", [], {}, [[]], {"": None}, ["x"] * 50,
)  # fmt: skip


def mutated(random: Random, value: Any) -> Any:
    """Change something, somewhere in it."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        key = random.choice(list(value))
        changed = dict(value)
        match random.randrange(4):
            case 0:
                del changed[key]
            case 1:
                changed[f"{key}x"] = changed.pop(key)
            case _:
                changed[key] = mutated(random, value[key])
        return changed
    if isinstance(value, str) and value and random.random() < 0.5:
        place = random.randrange(len(value))
        return value[:place] + random.choice(("", "/", "é", "\n", "A", "..", "%2F")) + value[place + 1 :]
    return random.choice(JUNK)


def test_every_mutated_event_is_routed_or_refused_with_a_reason() -> None:
    seed = draw_seed()
    random = Random(seed)
    numbers = {"100000000001": "demo-fleet"}
    for _ in range(EVENTS):
        value: Any
        if random.random() < 0.6:
            method = random.choice(("CreateCluster", "DeleteCluster", "UpdateCluster", "SetLabels"))
            value = audit_entry(CLUSTERS["blue"], method, random.choice(("started", "finished", "done")))
        else:
            value = {
                "payload": {
                    "name": "projects/demo-fleet/locations/global/memberships/edge",
                    "endpoint": {"gkeCluster": {}},
                }
            }
        is_entry = "protoPayload" in value
        for _ in range(random.randint(1, 4)):
            value = mutated(random, value)
        try:
            if is_entry:
                found = route_entry(value if isinstance(value, dict) else {}, numbers)
            else:
                attributes = {
                    "source": "//gkehub.googleapis.com/projects/demo-fleet/locations/global",
                    "subject": str(value)[:80],
                }
                found = route_membership(
                    random.choice(("created", "updated", "deleted", "x")), value, attributes, numbers
                )
        except ReconcileError as error:
            reason = str(error)
        else:
            reason = found.reason
            assert isinstance(found, Route), f"seed {seed}"
        assert reason, f"seed {seed}"


def test_every_mutated_message_has_an_outcome_or_a_fault() -> None:
    seed = draw_seed()
    random = Random(seed)
    with one_thread_no_logs():
        world = World()
        world.create(CLUSTERS["blue"])
        world.sweep()
        for _ in range(MESSAGES):
            world.queue.clear()
            topic = random.choice((*STEPS, "sweep"))
            message = envelope(random, topic)
            services: Any = WorldServices(world)
            try:
                found: Outcome | Plan | None
                if topic == "sweep":
                    found = sweep.run(message, services, "")
                else:
                    found = dispatch.step(topic, STEPS[topic])(message, services, "")
            except ReconcileError as error:
                reason = str(error)
            else:
                reason = found.message if isinstance(found, Outcome) else "a plan"
                assert isinstance(found, Outcome | Plan), f"seed {seed}"
            assert reason, f"seed {seed}"


def envelope(random: Random, topic: str) -> Message:
    """A push whose body, or whose envelope, is spoilt."""
    body: Object = {
        "cluster": str(CLUSTERS["blue"]),
        "membership": "projects/demo-fleet/locations/global/memberships/edge",
    }
    if topic == "write-secret":
        body |= {"granted": "a b", "drop_labels": ["x"]}
    elif topic == "remove-secret":
        body["leave"] = "hold"
    body = {"cluster": str(CLUSTERS["blue"])} if topic == "sweep" else body
    value: Any = copied(body)
    for _ in range(random.randint(0, 3)):
        value = mutated(random, value)
    data = json.dumps(value).encode()
    if random.random() < 0.3 and data:
        place = random.randrange(len(data))
        data = data[:place] + bytes([random.randrange(256)]) + data[place + random.randint(0, 2) :]
    inside: Any = {
        "data": base64.b64encode(data).decode(),
        "messageId": "1",
        "publishTime": "2026-11-24T09:00:00Z",
        "attributes": {"requested-by": "sweep", "reversed": "true"},
    }
    pushed: Any = {"message": mutated(random, inside) if random.random() < 0.3 else inside}
    return decode(Event(pushed if random.random() < 0.95 else mutated(random, pushed), {"id": "1"}))
