"""Two registrars with one Argo CD: instances whose clusters overlap. Neither changes or counts what the other owns."""

from __future__ import annotations

from datetime import timedelta

import pytest

from functions import sweep
from shared.values.cluster_secret import INSTANCE
from shared.values.codes import FindingCode
from shared.values.messages import Scope
from shared.values.names import ClusterName
from tests.simulation.kubernetes import Object, copied
from tests.simulation.one_thread import one_thread_no_logs
from tests.simulation.pairs import KINDS, NAMES, pair, run_pair
from tests.simulation.pairs import secrets as secrets_of
from tests.simulation.ports import WorldServices
from tests.simulation.seeds import draw_seed
from tests.simulation.world import World

RUNS = 25


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


@pytest.mark.parametrize("kind", KINDS)
def test_neither_registrar_changes_or_counts_what_the_other_wrote(kind: str) -> None:
    first_seed = draw_seed()
    with one_thread_no_logs():
        for seed in range(first_seed, first_seed + RUNS):
            _, broken = run_pair(seed, kind)
            assert not broken, f"seed {seed}: {broken}"


def test_two_registrars_with_one_instance_are_reported_and_do_not_fight() -> None:
    first, second = pair("namesakes")
    for name in NAMES:
        first.create(name, {"env": "prod"})
    first.sweep()
    written = secrets_of(first)
    second.now = first.now + timedelta(hours=1)
    second.select("env=never")  # nothing of it is selected here, so all of it would be held and removed
    plan = sweep.planned(Scope(), WorldServices(second))
    [reported] = [finding for finding in plan.findings if finding.code is FindingCode.SAME_INSTANCE]
    assert reported.subject == "projects/demo-fleet"
    assert "annotate secrets" in reported.command
    second.sweep()
    assert secrets_of(first) == written
    codes = {finding.code for finding in sweep.planned(Scope(), WorldServices(first)).findings}
    assert FindingCode.SAME_INSTANCE not in codes  # the first one sees no Secret of the second


def test_a_moved_registrar_takes_its_secrets_over_by_the_reported_command() -> None:
    first, second = pair("namesakes")
    first.create(NAMES[0], {"env": "prod"})
    first.sweep()
    for stored in first.secrets().values():
        del stored["metadata"]["annotations"]["fleet-registrar/functions-project"]
    second.now = first.now + timedelta(hours=1)
    second.sweep()
    [kept] = second.secrets().values()
    assert kept["metadata"]["annotations"]["fleet-registrar/functions-project"] == "other-run"
    assert not sweep.planned(Scope(), WorldServices(second)).findings


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
