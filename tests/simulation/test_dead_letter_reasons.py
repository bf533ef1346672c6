"""A dead letter that only a person can resolve ends with the command, on a line of its own."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from shared.decisions import rbac
from shared.values.codes import ErrorCode
from shared.values.model import Membership
from shared.values.names import ClusterName, MembershipName
from tests.simulation.cast import SECRETS
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

BLUE = ClusterName("demo-apps", "europe-west1", "blue")
OWN = BLUE.membership("demo-fleet")
EDGE = MembershipName("demo-fleet", "global", "edge")
BINDING = "fleet-registrar:argocd@demo-fleet.iam.gserviceaccount.com"


def other_fleet(world: World) -> None:
    world.change(BLUE, fleet_project="999")


def unmanaged_membership(world: World) -> None:
    red = ClusterName("demo-apps", "europe-west1", "red")
    world.memberships[OWN] = Membership(OWN, "uid", "READY", {}, red)


def unmanaged_binding(world: World) -> None:
    theirs = {"kind": "ClusterRoleBinding", "metadata": {"name": BINDING}, "subjects": []}
    world.inside(BLUE).put(rbac.BINDINGS, theirs)


def unmanaged_secret(world: World) -> None:
    world.central.put(SECRETS, {"kind": "Secret", "metadata": {"name": BLUE.secret_name}, "data": {}})


def not_admitted(world: World) -> None:
    world.attach(EDGE)
    world.kubernetes[world.memberships[EDGE].unique_id].admits_us = False


@pytest.mark.parametrize(
    ("happens", "code", "command"),
    [
        (other_fleet, ErrorCode.OTHER_FLEET, "gcloud container clusters update blue"),
        (
            unmanaged_membership,
            ErrorCode.UNMANAGED_MEMBERSHIP,
            f"gcloud container fleet memberships delete {OWN.membership}",
        ),
        (unmanaged_binding, ErrorCode.UNMANAGED_BINDING, f"kubectl delete clusterrolebinding {BINDING}"),
        (unmanaged_secret, ErrorCode.UNMANAGED_SECRET, f"kubectl -n argocd delete secret {BLUE.secret_name}"),
        (not_admitted, ErrorCode.NOT_ADMITTED, "gcloud container fleet memberships generate-gateway-rbac"),
    ],
)
def test_reason_ends_with_the_command(happens: Callable[[World], None], code: ErrorCode, command: str) -> None:
    world = World()
    world.create(BLUE)
    happens(world)
    name = {"membership": str(EDGE)} if happens is not_admitted else {"cluster": str(BLUE)}
    world.publish("register-membership", name)
    world.settle()
    [letter] = world.dead
    assert letter.attributes["code"] == code
    last = letter.attributes["reason"].splitlines()[-1]
    assert last.startswith(command)
    assert shlex.split(last)
