"""Role bindings in application clusters: what grant-rbac creates and proves, and what revoke-rbac deletes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from functions import grant_rbac, revoke_rbac
from shared.decisions import rbac
from shared.values.codes import Decision, ErrorCode, FindingCode
from shared.values.errors import PermanentError, RefusedError, RetryableError
from shared.values.messages import StepRequest
from shared.values.names import ClusterName, MembershipName
from tests.simulation.kubernetes import Kubernetes, Object
from tests.simulation.ports import WorldServices
from tests.simulation.world import World

BLUE = ClusterName("demo-apps", "europe-west1", "blue")
EDGE = MembershipName("demo-fleet", "global", "edge")
NAME = "fleet-registrar:argocd@demo-fleet.iam.gserviceaccount.com"
BINDING = (rbac.BINDINGS, NAME)
VIEW: Object = {
    "kind": "ClusterRole",
    "metadata": {"name": "view"},
    "rules": [{"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["get"]}],
}


def registered() -> World:
    """A cluster with its membership, without a binding and without a Secret."""
    world = World()
    world.create(BLUE)
    world.join(BLUE, BLUE.membership("demo-fleet"))
    return world


def granted(world: World, request: StepRequest | None = None) -> Any:
    return grant_rbac.run(request or StepRequest(BLUE), WorldServices(world))


def revoked(world: World, request: StepRequest | None = None) -> Any:
    return revoke_rbac.run(request or StepRequest(BLUE), WorldServices(world))


def refusing(world: World) -> World:
    world.inside(BLUE).admits_us = False
    return world


class Doubting(Kubernetes):
    """Answers access reviews with 'no', the first `noes` times."""

    noes = 10**6
    asked: list[Object]

    def allows(self, spec: Object) -> bool:
        self.asked = [*getattr(self, "asked", []), spec]
        return len(self.asked) > self.noes and super().allows(spec)


def doubting(world: World, noes: int = 10**6) -> Doubting:
    inside = Doubting()
    inside.noes = noes
    world.kubernetes[world.clusters[BLUE].id] = inside
    return inside


def test_a_binding_without_our_label_is_never_revoked() -> None:
    world = registered()
    world.select("env=prod")
    theirs = rbac.objects(world.settings, attached=False)[0]
    theirs = {**theirs, "metadata": {"name": NAME, "labels": {"app.kubernetes.io/managed-by": "somebody"}}}
    stored = world.inside(BLUE).put(rbac.BINDINGS, theirs)
    assert revoked(world).decision is Decision.NO_BINDING
    assert world.inside(BLUE).objects == {BINDING: stored}


def test_a_binding_without_our_label_is_never_changed() -> None:
    world = registered()
    theirs = {"kind": "ClusterRoleBinding", "metadata": {"name": NAME}, "subjects": []}
    stored = world.inside(BLUE).put(rbac.BINDINGS, theirs)
    with pytest.raises(PermanentError) as raised:
        granted(world)
    assert raised.value.code is ErrorCode.UNMANAGED_BINDING
    assert world.inside(BLUE).objects == {BINDING: stored}


def test_our_binding_of_an_unselected_cluster_is_revoked() -> None:
    world = registered()
    granted(world)
    world.select("env=prod")
    assert revoked(world).decision is Decision.REVOKED
    assert world.inside(BLUE).objects == {}
    assert revoked(world).decision is Decision.NO_BINDING


def test_a_binding_stays_as_long_as_its_secret_does() -> None:
    world = registered()
    world.publish("grant-rbac", {"cluster": str(BLUE)})
    world.settle()
    assert world.secrets()
    world.select("env=prod")
    for request in (StepRequest(BLUE), StepRequest(None, BLUE.membership("demo-fleet"))):
        assert revoked(world, request).decision is Decision.NO_OP
        assert BINDING in world.inside(BLUE).objects


def test_a_changed_role_replaces_the_binding() -> None:
    world = registered()
    granted(world)
    first = world.inside(BLUE).objects[BINDING]
    world.settings = replace(world.settings, argocd_cluster_role="view")
    world.inside(BLUE).put(rbac.ROLES, VIEW)
    assert granted(world).decision is Decision.GRANTED
    binding = world.inside(BLUE).objects[BINDING]
    assert binding["roleRef"]["name"] == "view"
    assert binding["metadata"]["uid"] != first["metadata"]["uid"]


def test_the_proof_asks_for_a_permission_of_the_bound_role() -> None:
    world = registered()
    inside = doubting(world, noes=0)
    world.settings = replace(world.settings, argocd_cluster_role="view")
    inside.put(rbac.ROLES, VIEW)
    granted(world)
    assert inside.asked[0]["resourceAttributes"] == {
        "verb": "get",
        "group": "apps",
        "resource": "deployments",
        "subresource": "scale",
    }


def test_a_missing_role_is_no_grant() -> None:
    world = registered()
    world.settings = replace(world.settings, argocd_cluster_role="view")
    with pytest.raises(RetryableError) as raised:
        granted(world)
    assert raised.value.code is ErrorCode.NO_ROLE


def test_changed_subjects_are_repaired_in_place() -> None:
    world = registered()
    granted(world)
    inside = world.inside(BLUE)
    uid = inside.objects[BINDING]["metadata"]["uid"]
    inside.objects[BINDING]["subjects"] = [{"kind": "User", "name": "somebody"}]
    assert granted(world).decision is Decision.GRANTED
    assert inside.objects[BINDING]["subjects"] == rbac.objects(world.settings, attached=False)[0]["subjects"]
    assert inside.objects[BINDING]["metadata"]["uid"] == uid
    assert granted(world).decision is Decision.UNCHANGED


def test_a_review_that_says_no_is_no_grant() -> None:
    world = registered()
    inside = doubting(world)
    with pytest.raises(RetryableError) as raised:
        granted(world)
    assert raised.value.code is ErrorCode.ACCESS_UNPROVEN
    assert len(inside.asked) == len(grant_rbac.REVIEW_PAUSES) + 1
    assert world.queue == []


def test_a_review_that_says_no_at_first_is_asked_again() -> None:
    world = registered()
    doubting(world, noes=len(grant_rbac.REVIEW_PAUSES))
    assert granted(world).next[0].topic == "write-secret"


def test_an_attached_cluster_is_proven_twice_and_lets_the_agent_impersonate() -> None:
    world = World()
    world.attach(EDGE)
    granted(world, StepRequest(None, EDGE))
    inside = world.kubernetes[world.memberships[EDGE].unique_id]
    assert [kind for kind, _ in inside.objects] == [rbac.BINDINGS, rbac.ROLES, rbac.BINDINGS]
    assert len([call for call in world.calls if "SubjectAccessReview" in call]) == 2


def test_a_refusal_of_a_gke_cluster_is_retried() -> None:
    world = refusing(registered())
    with pytest.raises(RefusedError):
        granted(world)
    world.select("env=prod")
    with pytest.raises(RefusedError):
        revoked(world)
    assert issubclass(RefusedError, RetryableError)


def test_a_refusal_of_an_attached_cluster_names_the_command() -> None:
    world = World()
    world.attach(EDGE)
    world.kubernetes[world.memberships[EDGE].unique_id].admits_us = False
    with pytest.raises(PermanentError) as raised:
        granted(world, StepRequest(None, EDGE))
    assert "generate-gateway-rbac" in str(raised.value)
    world.select("env=prod")
    with pytest.raises(PermanentError) as raised:
        revoked(world, StepRequest(None, EDGE))
    assert "generate-gateway-rbac" in str(raised.value)


def test_a_binding_that_changed_since_it_was_read_is_not_deleted() -> None:
    world = registered()
    granted(world)
    world.select("env=prod")
    inside = world.inside(BLUE)

    def changed(phase: str, call: str) -> None:
        if phase == "before" and call.startswith("gateway delete"):
            inside.put(rbac.BINDINGS, inside.objects[BINDING], inside.objects[BINDING]["metadata"]["uid"])

    world.touch = changed
    with pytest.raises(RetryableError):
        revoked(world)
    assert BINDING in inside.objects


def test_a_binding_that_no_membership_leads_to_is_reported() -> None:
    world = World()
    world.create(BLUE)
    world.select("env=prod")
    outcome = revoked(world)
    assert (outcome.decision, outcome.code) == (Decision.BLOCKED, FindingCode.BINDING_LEFT)
    assert outcome.message.splitlines()[-1].startswith("kubectl delete clusterrolebindings,clusterroles -l ")
    assert outcome.next[0].topic == "unregister-membership"
    assert not [call for call in world.calls if call.startswith("gateway delete")]
