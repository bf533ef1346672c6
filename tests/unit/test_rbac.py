"""RBAC objects for Argo CD's identity, and the access reviews (docs/objects.md#rbac-objects-in-an-application-cluster)."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from shared.decisions import rbac
from shared.decisions.rbac import Drift
from shared.values.target import target_of
from tests.unit.given import BLUE, BLUE_MEMBER, EDGE, NOW, SETTINGS, settings

EMAIL = "argocd@demo-fleet.iam.gserviceaccount.com"
MANAGED_BY_LABEL = {"app.kubernetes.io/managed-by": "fleet-registrar", "fleet-registrar/instance": "default"}
[BINDING] = rbac.objects(SETTINGS, attached=False)
ROLE = rbac.objects(SETTINGS, attached=True)[1]


def current(wanted: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The object as the API gives it."""
    meta = {**wanted["metadata"], "uid": "u1", "resourceVersion": "5", "creationTimestamp": "2026-11-24T12:00:00Z"}
    return copy.deepcopy({**wanted, "metadata": meta, **changes})


def test_argo_cds_binding() -> None:
    [binding] = rbac.objects(SETTINGS, attached=False)
    assert binding == {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {
            "name": f"fleet-registrar:{EMAIL}",
            "labels": MANAGED_BY_LABEL,
            "annotations": {"fleet-registrar/functions-project": "demo-fleet"},
        },
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": EMAIL}],
    }


def test_on_attached_clusters_the_agent_may_impersonate_only_argocd() -> None:
    binding, role, agents = rbac.objects(SETTINGS, attached=True)
    assert binding == BINDING
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"], "resourceNames": [EMAIL]}
    ]
    assert agents["roleRef"]["name"] == role["metadata"]["name"] == agents["metadata"]["name"]
    assert agents["subjects"] == [{"kind": "ServiceAccount", "name": "connect-agent-sa", "namespace": "gke-connect"}]
    assert all(item["metadata"]["labels"] == MANAGED_BY_LABEL for item in (role, agents))


@pytest.mark.parametrize("wanted", rbac.objects(SETTINGS, attached=True), ids=lambda item: item["metadata"]["name"])
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Drift.NONE),
        ({"subjects": None, "rules": None}, Drift.CHANGED),
        ({"subjects": [{"kind": "User", "name": "x"}], "rules": []}, Drift.CHANGED),
        ({"metadata": {"name": "n", "uid": "u", "resourceVersion": "5"}}, Drift.UNMANAGED),
        ({"metadata": {"name": "n", "labels": {"app.kubernetes.io/managed-by": "helm"}}}, Drift.UNMANAGED),
    ],
)
def test_an_object_is(wanted: dict[str, Any], changes: dict[str, Any], expected: Drift) -> None:
    assert rbac.compare(current(wanted, **changes), wanted) is expected
    assert rbac.compare(None, wanted) is Drift.MISSING


def test_another_role_cannot_be_patched_in_place() -> None:
    [viewer] = rbac.objects(settings(ARGOCD_CLUSTER_ROLE="view"), attached=False)
    assert rbac.compare(current(BINDING), viewer) is Drift.OTHER_ROLE


def test_what_the_api_server_fills_in_is_no_difference() -> None:
    subject = {**BINDING["subjects"][0], "namespace": ""}
    assert rbac.compare(current(BINDING, subjects=[subject]), BINDING) is Drift.NONE
    labelled = current(BINDING)
    labelled["metadata"]["labels"]["theirs"] = "1"
    assert rbac.compare(labelled, BINDING) is Drift.NONE


@pytest.mark.parametrize(("wanted", "part"), [(BINDING, "subjects"), (ROLE, "rules")])
def test_a_patch_repairs_its_part_of_the_version_that_was_read(wanted: dict[str, Any], part: str) -> None:
    assert rbac.patch(current(wanted), wanted) == {
        "metadata": {"uid": "u1", "resourceVersion": "5"},
        part: wanted[part],
    }


def test_each_object_is_in_its_collection() -> None:
    assert [rbac.collection(item).rpartition("/")[2] for item in rbac.objects(SETTINGS, attached=True)] == [
        "clusterrolebindings",
        "clusterroles",
        "clusterrolebindings",
    ]


def test_cluster_admin_is_proven_by_everything() -> None:
    [review] = rbac.reviews(SETTINGS, None, attached=False)
    assert review["spec"] == {"user": EMAIL, "resourceAttributes": {"verb": "*", "group": "*", "resource": "*"}}


def test_on_attached_clusters_the_impersonation_is_proven_too() -> None:
    spec = rbac.reviews(SETTINGS, None, attached=True)[1]["spec"]
    assert spec["user"] == "system:serviceaccount:gke-connect:connect-agent-sa"
    assert spec["resourceAttributes"] == {"verb": "impersonate", "group": "", "resource": "users", "name": EMAIL}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (
            [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]}],
            {"verb": "get", "group": "apps", "resource": "deployments"},
        ),
        (
            [
                {"nonResourceURLs": ["/healthz"], "verbs": ["get"]},
                {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"], "resourceNames": ["a"]},
            ],
            {"verb": "get", "group": "", "resource": "pods", "subresource": "log", "name": "a"},
        ),
        ([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}], {"verb": "*", "group": "*", "resource": "*"}),
        (None, {"verb": "get", "group": "", "resource": "namespaces"}),
    ],
)
def test_another_role_is_proven_by_one_of_its_rules(rules: Any, expected: dict[str, str]) -> None:
    [review] = rbac.reviews(SETTINGS, {"rules": rules}, attached=False)
    assert review["spec"]["resourceAttributes"] == expected


def test_the_one_command_names_the_membership_and_both_identities() -> None:
    command = rbac.admission_command("edge", "demo-fleet", ["a@x", "b@x"])
    assert command.startswith("gcloud container fleet memberships generate-gateway-rbac ")
    for part in ("--membership=edge", "--project=demo-fleet", "--users=a@x,b@x", "--apply"):
        assert part in command.split()


def test_the_agent_is_asked_about_with_its_groups() -> None:
    argocd, agent = rbac.reviews(SETTINGS, None, attached=True)
    assert "groups" not in argocd["spec"]
    assert agent["spec"]["user"] == rbac.AGENT_USER
    assert "system:serviceaccounts:gke-connect" in agent["spec"]["groups"]


def test_a_proof_is_for_one_cluster_role_identity_and_instance() -> None:
    """docs/architecture.md#proof-of-a-grant: everything that the proof depends on."""
    gke, edge = target_of(BLUE, BLUE_MEMBER), target_of(None, EDGE)
    cases = [
        (gke, SETTINGS),
        (target_of(replace(BLUE, name=replace(BLUE.name, cluster="red")), BLUE_MEMBER), SETTINGS),
        (target_of(replace(BLUE, id="b" * 64), BLUE_MEMBER), SETTINGS),
        (target_of(BLUE, replace(BLUE_MEMBER, name=EDGE.name)), SETTINGS),
        (target_of(BLUE, replace(BLUE_MEMBER, unique_id="uid-later")), SETTINGS),
        (gke, settings(ARGOCD_CLUSTER_ROLE="view")),
        (gke, settings(ARGOCD_SERVICE_ACCOUNT="other@demo-fleet.iam.gserviceaccount.com")),
        (gke, settings(INSTANCE="blue-team")),
        (edge, SETTINGS),
        (target_of(None, replace(EDGE, unique_id="uid-later")), SETTINGS),
    ]
    assert len({rbac.grant_audience(target, under) for target, under in cases}) == len(cases)
    assert rbac.grant_audience(target_of(replace(BLUE, labels={}), BLUE_MEMBER), SETTINGS) == rbac.grant_audience(
        gke, SETTINGS
    )


def made(name: str, *, created: Any = "2026-11-24T11:00:00Z", by: str = "demo-fleet", instance: str = "default") -> Any:
    """An object with our label, as the API lists it."""
    labels = {**MANAGED_BY_LABEL, "fleet-registrar/instance": instance}
    notes = {"fleet-registrar/functions-project": by}
    return {"metadata": {"name": name, "labels": labels, "annotations": notes, "creationTimestamp": created}}


OLD = "fleet-registrar:old@demo-fleet.iam.gserviceaccount.com"


@pytest.mark.parametrize(
    ("found", "identities", "removed"),
    [
        (made(OLD), (), True),
        (made(OLD, created=NOW.isoformat()), (), True),
        (made(OLD, created="2026-11-24T12:00:01Z"), (), False),
        (made(OLD, created="2026-11-24T11:00:00"), (), False),
        (made(OLD, created="yesterday"), (), False),
        (made(OLD, created=None), (), False),
        (made(OLD, by="demo-rival"), (), False),
        (made(OLD, by="demo-rival"), ("old@demo-fleet.iam.gserviceaccount.com",), True),
        (made(OLD, by="demo-rival"), ("",), False),
        (made("fleet-registrar:", by="demo-rival"), ("",), False),
        (made(OLD, instance="blue-team"), (), False),
        (made("theirs"), (), False),
    ],
)
def test_only_our_objects_of_these_functions_or_identities_are_removed(
    found: Any, identities: tuple[str, ...], removed: bool
) -> None:
    """docs/objects.md: functions of another project may serve another Argo CD under the same INSTANCE."""
    assert rbac.removable([found], SETTINGS, *identities, made_before=NOW) == ([found] if removed else [])
