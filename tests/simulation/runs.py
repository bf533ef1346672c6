"""One run: a story happens in the world, the faults stop, all becomes quiet, and then everything must be true again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from functions import sweep
from shared.decisions import sweep_plan
from shared.values.messages import Scope
from tests.simulation import people
from tests.simulation.cast import FLEET
from tests.simulation.effects import apply
from tests.simulation.one_thread import replaced
from tests.simulation.oracle import blocked, incomplete_holds, oracle
from tests.simulation.scheduler import RandomServices, Simulation
from tests.simulation.stored import ViolationError
from tests.simulation.stories import by_events_alone, draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.decisions.sweep_plan import Plan
    from tests.simulation.noise import Key, Noise
    from tests.simulation.stories import StoryEvent

RATES = (0.0, 0.01, 0.03, 0.08, 0.15)


@dataclass
class Run:
    """What a run came to. `violation` is '' when every promise was kept."""

    seed: int
    story: Sequence[StoryEvent]
    violation: str = ""
    lives: int = 0
    deliveries: int = 0
    faults: Mapping[Key, Noise] = field(default_factory=dict)

    def __str__(self) -> str:
        story = "\n".join(map(str, self.story))
        noise = "\n".join(f"  {noise}: {call} (time {count})" for (call, count), noise in self.faults.items())
        return f"seed {self.seed}: {self.violation}\n{story}\nfaults:\n{noise or '  none'}"


def run(seed: int, story: Sequence[StoryEvent] | None = None, script: Mapping[Key, Noise] | None = None) -> Run:
    """Run the story of a seed; or a shorter one of it, with the faults that are named."""
    story = draw(seed) if story is None else story
    world = Simulation(seed, RATES[seed % len(RATES)], script, events_are_enough=by_events_alone(seed))
    violation = ""
    try:
        _play(world, story)
        _settle(world)
    except ViolationError as error:
        violation = str(error)
    return Run(seed, story, violation, world.lives, world.deliveries, world.fired)


def _play(world: Simulation, story: Sequence[StoryEvent]) -> None:
    for event in story:
        world.run(until=event.at)
        apply(world, event)
    world.run(until=world.t + 600)


def _settle(world: Simulation) -> None:
    """The faults stop. Everything is delivered, dead letters are replayed; then sweeps, two of them for leaving."""
    world.calm = True
    people.do_fleet(world, "", FLEET)
    for name in sorted(world.lost_agents):
        world.lost_agents.discard(name)
    world.run()
    for _ in range(2):
        world.replay_dead_letters()
        world.run()
    if world.events_are_enough and (found := sorted(oracle(world))):
        raise ViolationError("by events alone: " + "; ".join(found))
    for _ in range(2):
        with replaced((sweep_plan, "CHECK_ONE_IN", 1)):  # every check has had its turn
            _sweep(world)
            if people.edit_holds(world):  # and the next sweep restores each of them
                _sweep(world)
        world.run(until=world.t + world.settings.hold.total_seconds() + 60)
    found = sorted(oracle(world))
    if found:
        raise ViolationError("in the end: " + "; ".join(found))
    plan = _planned(world)
    subjects = {str(cluster.name) for cluster in world.clusters.values() if blocked(world, cluster)}
    left = [
        f"{ask.next.topic} {ask.subject}: {ask.reason}"
        for ask in (*plan.requests, *plan.blocked)
        if ask.kind != "check" and ask.subject not in subjects and not _refused(world, ask.subject)
    ]
    if left:
        raise ViolationError("not quiet in the end, a sweep asks for " + "; ".join(sorted(left)))


def _refused(world: Simulation, subject: str) -> bool:
    """Whether a person must act first: an attached cluster that admits nobody, or an unmanaged object that conflicts."""
    for name, membership in world.memberships.items():
        if str(name) == subject and membership.cluster is None:
            unmanaged = any(
                key[1] == name.secret_name or "by-hand" in key[1] for _, key, _ in world.ledger.unmanaged.values()
            )
            return unmanaged or not world.kubernetes[membership.unique_id].admits_us
    return False


def _sweep(world: Simulation) -> None:
    """A sweep and all that it asks for; what is limited is released."""
    limited = bool(_planned(world).reached)
    world.publish("sweep", {})
    world.run()
    if limited:
        stopped = _planned(world).reached
        if not stopped:
            world.publish("sweep", {})
            world.run()
        for reached in stopped:
            people.release(world, reached)
            world.run()
    if found := sorted(incomplete_holds(world)):
        raise ViolationError("after a sweep: " + "; ".join(found))


def _planned(world: Simulation) -> Plan:
    world.current = None
    return sweep.planned(Scope(), RandomServices(world))


def shrink(found: Run, budget: int = 400) -> Run:
    """Leave out events and faults as long as a promise is still broken in the same way."""
    kind = _kind(found.violation)
    best = found
    for _ in range(4):
        before = len(best.story), len(best.faults)
        for size in (8, 4, 2, 1):
            index = 0
            while index < len(best.story) and budget > 0:
                budget -= 1
                tried = run(best.seed, [*best.story[:index], *best.story[index + size :]], best.faults)
                if _kind(tried.violation) == kind:
                    best = tried
                else:
                    index += size
            keys = list(best.faults)
            index = 0
            while index < len(keys) and budget > 0:
                budget -= 1
                fewer = {key: best.faults[key] for key in keys[:index] + keys[index + size :]}
                tried = run(best.seed, best.story, fewer)
                if _kind(tried.violation) == kind:
                    best = tried
                    keys = [key for key in keys if key in best.faults]
                else:
                    index += size
        if (len(best.story), len(best.faults)) == before:
            break
    return best


def _kind(violation: str) -> str:
    """What is broken, without whose."""
    words = violation.replace(";", " ").split()
    return " ".join(word for word in words if word.isalpha())[:60] if violation else ""
