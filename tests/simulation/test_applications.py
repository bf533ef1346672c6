"""Applications on the simulated world: counted when a cluster leaves, read when a hold makes them matter, never written."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

import pytest

from ops import orphans, plan
from ops.partial import survey_in_parts
from shared.values.errors import RefusedError
from shared.values.names import ClusterName
from tests.simulation.test_ops import services
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

BLUE = ClusterName("demo-apps", "europe-west1", "blue")
APPLICATIONS = "apis/argoproj.io/v1alpha1/namespaces/argocd/applications"


def put_application(world: World, name: str, cluster: str = BLUE.secret_name, **meta: Any) -> None:
    spec = {"destination": {"name": cluster}}
    world.central.put(APPLICATIONS, {"kind": "Application", "metadata": {"name": name, **meta}, "spec": spec})


def onboarded(world: World) -> World:
    world.create(BLUE, {"env": "prod"})
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    return world


def offboarded(world: World) -> dict[str, Any]:
    """Delete the cluster; return the data of the event that subscribers hear."""
    world.delete(BLUE)
    world.publish("remove-secret", {"cluster": str(BLUE)})
    world.settle()
    [event] = [one for one in world.events if one.attributes["ce-type"].endswith("offboarded.v1")]
    found: dict[str, Any] = json.loads(event.data)
    return found


def fails(error: Exception) -> Callable[[str, str], None]:
    """Let each list of the central cluster fail after a Secret was deleted."""
    deleted: list[str] = []

    def touch(phase: str, call: str) -> None:
        if phase == "after" and call.startswith("gateway delete"):
            deleted.append(call)
        if deleted and phase == "before" and call.startswith("gateway list"):
            raise error

    return touch


def run(world: World, monkeypatch: pytest.MonkeyPatch, command: Any, **options: Any) -> int:
    monkeypatch.setattr(command, "connected", lambda: services(world))
    code: int = command.run(argparse.Namespace(**({"json": True} | options)))
    return code


def test_offboarding_event_counts_the_applications_that_stay() -> None:
    world = onboarded(World())
    for name in ("a", "b"):
        put_application(world, name)
    put_application(world, "elsewhere", "other")
    put_application(world, "generated", ownerReferences=[{"kind": "ApplicationSet", "name": "fleet"}])
    assert offboarded(world)["applications"] == 2


@pytest.mark.parametrize("error", [RefusedError("403", status=403), TimeoutError("late")])
def test_unreadable_applications_change_nothing_of_an_offboarding(error: Exception) -> None:
    world = onboarded(World())
    world.touch = fails(error)
    event = offboarded(world)
    assert "applications" not in event
    assert not world.secrets()
    assert BLUE.membership("demo-fleet") not in world.memberships


def test_applications_are_listed_only_while_a_secret_is_held() -> None:
    world = onboarded(World())
    put_application(world, "a")
    assert survey_in_parts(services(world)).applications == ()
    world.select("env=dev")
    world.publish("remove-secret", world.leave(BLUE, "hold"))
    world.settle()
    assert [one.name for one in survey_in_parts(services(world)).applications] == ["a"]


def test_plan_warns_before_a_release_and_explains_nothing_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = onboarded(World())
    world.select("env=dev")
    world.publish("remove-secret", world.leave(BLUE, "hold"))
    world.settle()
    put_application(world, "shop", deletionTimestamp="2026-11-24T11:30:00Z")
    world.select("env=prod")
    capsys.readouterr()
    assert run(world, monkeypatch, plan, project="", cluster="") == 2
    [warning] = json.loads(capsys.readouterr().out)["warnings"]
    assert "shop" in warning


def test_orphans_lists_what_an_offboarded_cluster_left_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = onboarded(World())
    put_application(world, "shop")
    assert run(world, monkeypatch, orphans) == 0
    offboarded(world)
    writes = world.central.writes
    capsys.readouterr()
    assert run(world, monkeypatch, orphans) == 2
    [found] = json.loads(capsys.readouterr().out)["orphans"]
    assert (found["name"], found["cluster"]) == ("shop", str(BLUE))
    assert world.central.writes == writes
