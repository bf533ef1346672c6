"""Random stories: what happens to which cluster, and when.

A story event has only the name of a cluster and an effect. An effect that does not fit the state does nothing, so any
event can be left out of a story.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from shared.values.messages import AUDIT_LOG_ENTRIES, DEAD_LETTERS
from tests.simulation.cast import ATTACHED, CLUSTERS, LABELS
from tests.simulation.windows import draw_window
from tests.simulation.world import STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping


_TOPICS = (*sorted(STEPS), "sweep", AUDIT_LOG_ENTRIES, DEAD_LETTERS)
SELECTORS = ("", "env", "env=prod", "env", "tier")


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
    drawn = [StoryEvent(0.0, "settings", "", {"selector": selector, "limited": random.random() < 0.3})]
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
    begun = [(each.at, each.who) for each in drawn[1:] if each.what != "delete"]
    time = 0.0
    pace = random.choice((8.0, 60.0, 400.0))
    weights = [each for each in WEIGHTS if not alone or each[0] in _CARRIED_BY_EVENTS]
    for _ in range(random.randint(4, 18)):
        time += random.expovariate(1 / pace) if random.random() < 0.8 else random.choice((1.0, 300.0, 700.0, 2000.0))
        what, kind = random.choices([each[:2] for each in weights], [each[2] for each in weights])[0]
        if kind == "attached" and not members:
            continue
        group = {"cluster": names, "attached": members, "any": names + members}.get(kind)
        drawn.append(_draw(random, time + 200, what, random.choice(group) if group else "", alone=alone))
    if not alone:
        window = draw_window(seed, begun, drawn[0].how)
        drawn += [StoryEvent(round(at, 1), what, who, how) for at, what, who, how in window]
    return sorted(drawn, key=lambda event: event.at)


_CARRIED_BY_EVENTS = frozenset({"create", "delete", "relabel", "attach", "reattach", "relabel_attached", "repeat"})
WEIGHTS = (
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
    ("fleet", "", 1),
    ("adopt", "", 2),
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
            how = {"topic": random.choice(_TOPICS), "number": random.getrandbits(16)}
        case "register":
            how = {"shared": random.random() < 0.5}
        case "identity":
            how = {"number": random.randint(0, 2)}
        case "fleet":
            how = {"project": random.choice(("demo-fleet", "demo-next"))}
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
