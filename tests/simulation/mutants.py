"""Deliberate faults in the product: the simulation must find each of them, or it proves nothing.

A fault replaces a function or an attribute while runs go on; no file is touched.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import ServiceUnavailable

from functions import grant_rbac, remove_secret, unregister_membership, write_secret
from shared.clients import deadline, observe
from shared.clients.argocd_secrets import Central
from shared.decisions import differences, rbac, removal, secret_plan, steps, sweep_plan
from shared.decisions.steps import Action, MembershipAction
from shared.decisions.sweep_plan import Plan
from shared.runtime import dispatch
from shared.runtime.dispatch import Dispatcher
from shared.values.cluster_secret import HELD, SKIP_RECONCILE, ClusterSecret
from shared.values.codes import Decision
from shared.values.findings import PlannedRequest
from shared.values.messages import StepRequest
from shared.values.model import GONE, Membership, State
from tests.simulation.cast import ATTACHED
from tests.simulation.noise import Noise
from tests.simulation.one_thread import replaced
from tests.simulation.runs import RATES, Run, run
from tests.simulation.stories import StoryEvent, by_events_alone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shared.values.messages import Outcome

Change = tuple[Any, str, Any]
ROUGH = 0.08
NOTHING_LEFT = (Decision.NO_SECRET, Decision.UNCHANGED, Decision.NO_BINDING)


@dataclass(frozen=True)
class Mutant:
    """A fault, and within how many runs it must be found. `by_events` looks only at runs in which events must be enough.

    `story` finds a fault that random stories meet too rarely: each line is a time, an action, a cluster and how.
    `seed` is a random story that met the fault when it was last written down: it comes first, and saves a search.
    """

    name: str
    runs: int
    changes: tuple[Change, ...]
    by_events: bool = False
    seed: int | None = None
    story: tuple[tuple[float, str, str, Mapping[str, Any]], ...] = ()
    faults: tuple[tuple[str, int, str], ...] = ()  # what goes wrong in the story: call, its how-manieth time, and how


_OF_ATTACHED = differences._Comparison._of_attached


def _without_checks_of_leftovers(comparison: Any, name: Any, secret: Any) -> Iterator[Any]:
    before = len(comparison.unchanged)
    yield from _OF_ATTACHED(comparison, name, secret)
    comparison.unchanged[before:] = [one for one in comparison.unchanged[before:] if one.topic != "revoke-rbac"]


def kill(mutant: Mutant, first: int = 0) -> tuple[int, Run | None]:
    """Tell rough runs until the fault is found; return how many that took, and the run that found it."""
    seeds = (seed for seed in itertools.count(first) if RATES[seed % len(RATES)] >= ROUGH)
    fit = (seed for seed in seeds if by_events_alone(seed) or not mutant.by_events)
    chosen = itertools.chain([] if mutant.seed is None else [mutant.seed], fit)
    if mutant.story:
        happenings = [StoryEvent(*line) for line in mutant.story]
        script = {(call, count): Noise(kind) for call, count, kind in mutant.faults}
        intact = run(first, happenings, script)
        assert not intact.violation, intact
        with replaced(*mutant.changes):
            found = run(first, happenings, script)
        return 1, found if found.violation else None
    with replaced(*mutant.changes):
        for count, seed in enumerate(itertools.islice(chosen, mutant.runs), 1):
            found = run(seed)
            if found.violation:
                return count, found
    return mutant.runs, None


def _no_proof(name: Any, services: Any) -> Any:
    return services.gke.cluster(name) or GONE


def _no_proof_of_membership(name: Any, services: Any) -> Any:
    return services.fleet.membership(name) or GONE


def _spoilt(step: str, outcome: Outcome) -> Outcome:
    return replace(outcome, next=()) if outcome.decision in NOTHING_LEFT else outcome


_step, _answer = dispatch.step, Dispatcher.answer


def _no_next_where_nothing_was_left(name: str, run: Any, *more: Any) -> Any:
    return _step(name, lambda asked, services: _spoilt(name, run(asked, services)), *more)


def _acknowledged_before_done(self: Dispatcher, name: str, event: Any, run: Any) -> None:
    try:
        _answer(self, name, event, run)
    except ServiceUnavailable:
        return


_hold, _patch, _labels, _plan = (
    secret_plan.hold,
    secret_plan._patch,
    secret_plan._label_changes,
    secret_plan.plan,
)


def _hold_counted_on(existing: ClusterSecret, reason: Any, now: Any) -> Any:
    return _hold(existing, reason, existing.hold.since if existing.hold else now)


_removal = differences._Comparison._removal


def _any_hold_has_passed(self: Any, request: Any, situation: Any) -> Any:
    for each in _removal(self, request, situation):
        if isinstance(each, PlannedRequest) and situation.secret.hold is not None:
            yield replace(each, limit=None)
        else:
            yield each


def _edited_hold_stays(existing: ClusterSecret, reason: Any, now: Any) -> Any:
    return None if existing.hold and existing.hold.reason == reason else _hold(existing, reason, now)


def _every_skip_is_ours(existing: ClusterSecret) -> Any:
    return {HELD: None, SKIP_RECONCILE: None} if HELD in existing.annotations else {}


def _whatever_is_limited_now(found: Any, _settings: Any, scope: Any, *_: Any) -> Plan:
    return Plan(tuple(each for each in found.requests if each.limit and scope.seals), found.findings)


def _patch_without_precondition(existing: ClusterSecret, meta: Any, data: Any) -> Any:
    made = _patch(existing, meta, data)
    if made is not None:
        made["metadata"].pop("uid")
        made["metadata"].pop("resourceVersion")
    return made


def _delete_without_precondition(central: Central, secret: ClusterSecret) -> None:
    central._gateway.delete(central._url, central._secrets, secret.name, {})


def _all_labels_dropped(existing: ClusterSecret, source: Any, _drop: Any) -> Any:
    return _labels(existing, source, existing.written_keys)


def _always_granted(*args: Any, **kwargs: Any) -> Any:
    return _plan(*args, **{**kwargs, "granted": True})


class _ReadLater:
    """The memberships are read when they are first used: after the cluster."""

    def __init__(self, asked: StepRequest, services: Any) -> None:
        self._asked, self._services = asked, services

    def __iter__(self) -> Iterator[Membership]:
        return iter(_read(self._asked, self._services))


_read = unregister_membership._read
_membership_for, _write, _leave, _revoke = (
    steps.membership_for,
    steps.write,
    removal._leaving,
    steps.revoke,
)


def _theirs_is_replaced(cluster: Any, found: Any) -> MembershipAction:
    decided = _membership_for(cluster, found)
    return MembershipAction.REPLACE if decided is MembershipAction.UNMANAGED else decided


def _written_unwanted(state: State, secret: ClusterSecret | None) -> Action:
    return Action.WRITE if state is State.UNSELECTED else _write(state, secret)


def _an_event_holds(secret: ClusterSecret, reason: Any, leave: Any, *args: Any) -> Action:
    return _leave(secret, reason, leave or "hold", *args)


def _revoked_under_a_secret(state: State, *, secret_left: bool) -> Action:
    return _revoke(state, secret_left=False)


def _deleted_unread(membership: Membership, services: Any) -> bool:
    return bool(services.fleet.delete(membership.name))


def _of_any_fleet(secret: ClusterSecret, settings: Any) -> bool:
    return secret.is_managed and secret.instance == settings.instance


def _found_by_our_name(central: Central, name: Any, *, claim: bool = False) -> Any:
    found = _secret_of(central, name, claim=claim)
    return found if found is None or found.name == name.secret_name else None


_secret_of = Central.secret_of


def _any_word_is_a_proof(request: StepRequest, _target: Any, services: Any) -> Any:
    return services.now() if request.granted else None


_PROD = {"labels": {"env": "prod"}, "takes": 30}

MUTANTS = (
    Mutant("a deletion follows an old read", 400, ((deadline, "require_fresh_read", lambda _: None),), seed=859),
    Mutant(
        "Secrets of another fleet are ours",
        1,
        ((ClusterSecret, "is_of_instance", _of_any_fleet),),
        story=(
            (1, "create", "blue", _PROD),
            (900, "fleet", "", {"project": "demo-next"}),
            (1000, "delete", "blue", {"takes": 60}),
        ),
    ),
    Mutant(
        "an adopted Secret is not found by its labels",
        1,
        ((Central, "secret_of", _found_by_our_name),),
        story=(
            (1, "foreign_secret", "blue", {"same": "server"}),
            (2, "create", "blue", _PROD),
            (800, "adopt", "", {}),
            (1000, "repeat", "blue", {"topic": "register-membership"}),
        ),
    ),
    Mutant("a forged word proves a grant", 400, ((write_secret, "_signed", _any_word_is_a_proof),), seed=34),
    Mutant("a forged leave counts", 2000, ((StepRequest, "from_reader_of", lambda request, _: request),), seed=1644),
    Mutant(
        "an earlier identity keeps its access", 800, ((grant_rbac, "_delete_stale", lambda *_, **__: None),), seed=188
    ),
    Mutant(
        "an earlier identity that nothing notes keeps its access",
        2000,
        ((rbac, "_was_made_by", lambda *_: False),),
        seed=1389,
    ),
    Mutant(
        "nobody looks for a binding that stayed in an attached cluster",
        1,
        ((differences._Comparison, "_of_attached", _without_checks_of_leftovers),),
        story=(
            (1, "attach", "edge", {"labels": {"env": "prod"}}),
            (900, "delete_secret", "edge", {}),
            (1000, "settings", "", {"selector": "tier"}),
        ),
    ),
    Mutant(
        "nobody looks for a binding that stayed",
        1,
        ((differences._Comparison, "_check_binding_left", lambda *_: None),),
        story=(
            (1, "create", "blue", _PROD),
            (900, "delete_secret", "blue", {}),
            (1000, "settings", "", {"selector": "tier"}),
        ),
    ),
    Mutant(
        "a reused membership is not seen",
        1,
        ((removal, "is_of_another", lambda *_: False),),
        story=(
            (1, "create", "blue", {**_PROD, "fleet": "shared"}),
            (900, "other_fleet", "blue", {}),
            (1000, "create", "navy", {**_PROD, "fleet": "shared"}),
            (2000, "sweep", "", {"times": 1}),
        ),
    ),
    Mutant("a 404 alone is the proof that a cluster is gone", 800, ((observe, "read_cluster", _no_proof),), seed=799),
    Mutant(
        "a 404 alone is the proof that a membership is gone",
        1,
        (
            (observe, "read_membership", _no_proof_of_membership),
            (remove_secret, "read_membership", _no_proof_of_membership),
        ),
        story=((1, "attach", "edge", {"labels": {"env": "prod"}}), (900, "repeat", "edge", {"topic": "remove-secret"})),
        faults=tuple((f"gkehub get {ATTACHED['edge']}", count, "denied") for count in range(5, 9)),
    ),
    Mutant(
        "a later cluster's Secret is taken for an earlier one's",
        2000,
        ((ClusterSecret, "is_of", lambda *_: True),),
        seed=644,
    ),
    Mutant(
        "a later cluster's membership is taken for an earlier one's",
        400,
        ((Membership, "is_of_earlier", lambda *_: False),),
        seed=323,
    ),
    Mutant(
        "nobody asks whom the Secret was written for",
        1200,
        ((ClusterSecret, "was_written_for_another", lambda *_: False),),
        seed=264,
    ),
    Mutant(
        "the next publish is skipped when nothing was left to do",
        200,
        ((dispatch, "step", _no_next_where_nothing_was_left),),
    ),
    Mutant(
        "a message is acknowledged before it is done",
        200,
        ((Dispatcher, "answer", _acknowledged_before_done),),
        seed=19,
    ),
    Mutant(
        "the time of a hold is counted from another reason", 2000, ((secret_plan, "hold", _hold_counted_on),), seed=1124
    ),
    Mutant(
        "a hold for another reason passes the removal limit",
        1,
        ((differences._Comparison, "_removal", _any_hold_has_passed),),
        story=(
            (1, "create", "blue", _PROD),
            (900, "settings", "", {"selector": "tier"}),
            (901, "delete", "blue", {"takes": 60, "ends": "RUNNING"}),
            (1000, "sweep", "", {"times": 1}),
        ),
    ),
    Mutant("an edited hold is not restored", 200, ((secret_plan, "hold", _edited_hold_stays),)),
    Mutant(
        "the end of a hold takes a person's skip-reconcile along",
        1,
        ((secret_plan, "_released", _every_skip_is_ours),),
        story=(
            (1, "create", "blue", _PROD),
            (900, "edit", "blue", {"what": "skip for good"}),
            (901, "delete", "blue", {"takes": 60, "ends": "RUNNING"}),
        ),
    ),
    Mutant(
        "a release covers whatever is limited meanwhile",
        1,
        ((sweep_plan, "release", _whatever_is_limited_now),),
        story=(
            (1, "create", "blue", _PROD),
            (1, "create", "navy", _PROD),
            (700, "settings", "", {"selector": "env=prod", "limited": True, "most": 0}),
            (1000, "relabel", "blue", {"labels": {}}),
            (1300, "release", "", {}),
            (1302.6, "relabel", "navy", {"labels": {}}),  # between the seals and their release
        ),
    ),
    Mutant(
        "a Secret is changed without its precondition", 200, ((secret_plan, "_patch", _patch_without_precondition),)
    ),
    Mutant("a Secret is deleted without its precondition", 200, ((Central, "delete", _delete_without_precondition),)),
    Mutant("anybody's binding is ours", 800, ((rbac, "is_managed", lambda *_: True), (rbac, "SELECT", "")), seed=613),
    Mutant("anybody's membership may be replaced", 800, ((steps, "membership_for", _theirs_is_replaced),), seed=453),
    Mutant("nobody looks for others' Secrets before creating", 1200, ((Central, "rivals", lambda *_: []),), seed=93),
    Mutant(
        "the cluster is not read again after the creation",
        2000,
        ((write_secret, "_read_again", lambda subject, _: subject),),
        by_events=True,
    ),
    Mutant("memberships are read after the cluster", 6000, ((unregister_membership, "_read", _ReadLater),), seed=3943),
    Mutant("a membership is deleted unread", 100, ((unregister_membership, "_delete", _deleted_unread),), seed=29),
    Mutant(
        "the removal limit is off",
        200,
        ((sweep_plan, "limit", lambda found, _: Plan(found.requests, found.findings)),),
        seed=18,
    ),
    Mutant("label keys are dropped at once", 200, ((secret_plan, "_label_changes", _all_labels_dropped),)),
    Mutant("a hold is lifted without a grant", 400, ((secret_plan, "plan", _always_granted),), seed=188),
    Mutant("pins are not seen", 400, ((ClusterSecret, "is_pinned", property(lambda _: False)),), seed=104),
    Mutant("a Secret is written for what is not wanted", 6000, ((steps, "write", _written_unwanted),), seed=2668),
    Mutant("an event lets a living cluster leave", 2000, ((removal, "_leaving", _an_event_holds),), seed=854),
    Mutant("a binding is revoked under a Secret", 2000, ((steps, "revoke", _revoked_under_a_secret),), seed=1878),
)
